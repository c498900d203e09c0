import type { Database } from '../storage/database.ts'

/** The database as the operator holds it: no request stands behind it. */
export interface OpenDatabase {
  readonly database: Database
  readonly close: () => Promise<void>
}

/** How long one statement of an operator's may take, and be tried again while another process writes. */
const PATIENCE_MS = 10_000
const BUSY_DELAY_MS = 50

export function operatorDatabase(binding: D1Database): Database {
  return {
    binding: patient(binding),
    get deadline() {
      return Date.now() + PATIENCE_MS
    },
    waitUntil: () => {},
  }
}

/** What is said when another process, such as a running `dev`, holds the file: before a batch, and after it. */
const BUSY = /SQLITE_BUSY|Failed to get session commit token/

/** Waits while another process holds the file, and tries again: every batch may be repeated. */
function patient(binding: D1Database): D1Database {
  const batch = async <T>(
    statements: D1PreparedStatement[],
    end = Date.now() + PATIENCE_MS,
  ): Promise<D1Result<T>[]> => {
    try {
      return await binding.batch<T>(statements)
    } catch (error) {
      if (!BUSY.test(String(error)) || Date.now() > end - BUSY_DELAY_MS * 2) throw error
      await new Promise((resolve) => setTimeout(resolve, BUSY_DELAY_MS * (0.5 + Math.random())))
      return batch(statements, end)
    }
  }
  return Object.assign(Object.create(binding), {
    prepare: (sql: string) => binding.prepare(sql),
    batch: (statements: D1PreparedStatement[]) => batch(statements),
  })
}
