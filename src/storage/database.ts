import type { Sql } from 'sql-template-tag'

/** What a request needs of its environment to find its database. */
export interface DatabaseBindings {
  DB: D1Database
}

/** The way of one request to its database. */
export interface Database {
  readonly binding: D1Database
  /** Unix ms. Past it the caller is told that storage did not answer. */
  readonly deadline: number
  /** Keeps a batch alive whose caller has hung up. */
  readonly waitUntil: (promise: Promise<unknown>) => void
}

export type Row = Record<string, unknown>

/** Storage could not answer, so that nothing is known: 503. `cause` is for the log. */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable'
  /** The tables are missing: the operator has something to do, and a retry is in vain. */
  readonly notMigrated: boolean

  constructor(cause: unknown, notMigrated = /no such (table|column)/.test(String(cause))) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.notMigrated = notMigrated
  }
}

/**
 * What D1 says when a batch may or may not have been carried out, and another try may find it better
 * (https://developers.cloudflare.com/d1/observability/debug-d1/). Every batch of ours may be repeated.
 */
const TRANSIENT =
  /Network connection lost|object to be reset|reset because its code was updated|due to transient issue|storage operation exceeded timeout/

const RETRY_DELAY_MS = 50

/** How long before the request's deadline a change must have begun: a commit and its way back, and clocks that differ. */
const COMMIT_MARGIN_MS = 500

/** Unix ms after which no statement of this request may change anything: its caller has been told, or is about to be. */
export function changeDeadline(database: Database): number {
  return database.deadline - COMMIT_MARGIN_MS
}

/** Chooses the database of a region; null where there is no such region. */
export function openDatabase(
  bindings: DatabaseBindings,
  region: string,
  request: Pick<Database, 'deadline' | 'waitUntil'>,
): Database | null {
  return region === '0' ? { binding: bindings.DB, ...request } : null
}

/**
 * Sends statements as one transaction and one trip, and gives the rows of each. After a transient error it tries once
 * more; at the deadline it gives up. `bookkeeping` goes ahead at the first attempt alone: what only notes a use must
 * refuse nobody, so any failure is tried again without it. Throws StorageUnavailable.
 */
export async function sendBatch(database: Database, statements: Sql[], bookkeeping: Sql[] = []): Promise<Row[][]> {
  try {
    const attempts = attempt(database, [...bookkeeping, ...statements])
      .then((rows) => rows.slice(bookkeeping.length))
      .catch((error) => {
        if (bookkeeping.length === 0 && !TRANSIENT.test(String(error))) throw error
        return retry(database, statements, error)
      })
    database.waitUntil(attempts.catch(() => {}))
    return await beforeDeadline(attempts, database.deadline)
  } catch (cause) {
    throw new StorageUnavailable(cause)
  }
}

async function attempt({ binding }: Database, statements: Sql[]): Promise<Row[][]> {
  const results = await binding.batch<Row>(statements.map(({ sql, values }) => binding.prepare(sql).bind(...values)))
  return results.map((result) => result.results)
}

async function retry(database: Database, statements: Sql[], error: unknown): Promise<Row[][]> {
  if (changeDeadline(database) - Date.now() <= RETRY_DELAY_MS) throw error
  await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS * (0.5 + Math.random())))
  return attempt(database, statements)
}

async function beforeDeadline<T>(promise: Promise<T>, deadline: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer before the deadline')), deadline - Date.now())
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    if (timer !== undefined) clearTimeout(timer)
  }
}
