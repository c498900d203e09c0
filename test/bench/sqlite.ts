import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import type { SentStatement } from './workers/counted.ts'

/** SQLite's own time for a statement, in microseconds: to compile it, and to run it once compiled. */
export interface SqliteTime {
  readonly compile: number
  readonly run: number
}

const REPETITIONS = 200

/** Copies a database that is in use, with what is not yet in its main file. */
export async function copyDatabase(file: string): Promise<{ file: string; remove: () => Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'oncekey-bench-sqlite-'))
  const copy = join(directory, 'database.sqlite')
  await copyFile(file, copy)
  await copyFile(`${file}-wal`, `${copy}-wal`)
  return { file: copy, remove: () => rm(directory, { recursive: true }) }
}

/** Runs the statements of one request over and over, each time in a transaction that is rolled back. */
export function replay(file: string, statements: readonly SentStatement[]): SqliteTime[] {
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: true })
  try {
    const prepared = statements.map(({ sql }) => database.prepare(sql))
    const values = statements.map((one) => one.values.map(toSqlite))
    const runs = statements.map(() => 0)
    for (let i = 0; i < REPETITIONS; i++) {
      database.exec('BEGIN')
      for (const [at, statement] of prepared.entries()) {
        const start = performance.now()
        statement.all(...(values[at] ?? []))
        runs[at] = (runs[at] ?? 0) + performance.now() - start
      }
      database.exec('ROLLBACK')
    }
    return statements.map(({ sql }, at) => {
      const start = performance.now()
      for (let i = 0; i < REPETITIONS; i++) database.prepare(sql)
      return { compile: perRepetition(performance.now() - start), run: perRepetition(runs[at] ?? 0) }
    })
  } finally {
    database.close()
  }
}

function perRepetition(milliseconds: number): number {
  return (milliseconds / REPETITIONS) * 1000
}

/** BLOBs travel as arrays of numbers. */
function toSqlite(value: unknown): SQLInputValue {
  return Array.isArray(value) ? new Uint8Array(value) : (value as SQLInputValue)
}
