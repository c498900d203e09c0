import type { Sql } from 'sql-template-tag'

/** The bindings that hold databases. */
export interface DatabaseBindings {
  DB: D1Database
}

/** Unix time in milliseconds. */
export type UnixMs = number

/** One request's access to its database. */
export interface Database {
  readonly binding: D1Database
  /** After this the request fails with StorageUnavailable. */
  readonly deadline: UnixMs
  /** Keeps a batch alive after its client has disconnected. */
  readonly waitUntil: (promise: Promise<unknown>) => void
}

/** A statement, and the shape of the rows that it returns. */
export interface Query<Row = unknown> {
  readonly sql: Sql
  /** Exists in the type only. */
  readonly row?: Row
}

/** The rows of named statements, by the same names. */
export type RowsOf<Queries> = {
  [Name in keyof Queries]: Queries[Name] extends Query<infer Row> ? Row[] : never
}

/** The database did not respond, so the outcome is unknown: 503. `cause` is for the log. */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable'
  /** Tables or columns are missing: the operator must migrate, and a retry cannot succeed. */
  readonly notMigrated: boolean

  constructor(cause: unknown, notMigrated = /no such (table|column)/.test(String(cause))) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.notMigrated = notMigrated
  }
}

/**
 * Errors after which the batch may or may not have been committed, and another attempt may succeed
 * (https://developers.cloudflare.com/d1/observability/debug-d1/). Every batch may be repeated.
 */
const TRANSIENT =
  /Network connection lost|object to be reset|reset because its code was updated|due to transient issue|storage operation exceeded timeout/

const RETRY_DELAY_MS = 50

/** A change must begin this long before the request's deadline: time for the commit, the reply and clock skew. */
const COMMIT_MARGIN_MS = 500

/** No statement of this request changes anything after this: the client has received a 503, or is about to. */
export function changeDeadline(database: Database): UnixMs {
  return database.deadline - COMMIT_MARGIN_MS
}

/** Opens the database of a region; null if there is no such region. */
export function openDatabase(
  bindings: DatabaseBindings,
  region: string,
  request: Pick<Database, 'deadline' | 'waitUntil'>,
): Database | null {
  return region === '0' ? { binding: bindings.DB, ...request } : null
}

export function query<Row = never>(sql: Sql): Query<Row> {
  return { sql }
}

/**
 * Sends statements as one transaction in one D1 request, and returns the rows of each by its name. Retries once after a
 * transient error; gives up at the deadline. `touches` are sent with the first attempt only: recording a use must not
 * fail a request, so after any error the batch is retried without them. Throws StorageUnavailable.
 */
export async function sendBatch<Queries extends Record<string, Query>>(
  database: Database,
  queries: Queries,
  touches: Query[] = [],
): Promise<RowsOf<Queries>> {
  const statements = Object.values(queries)
  try {
    const attempts = attempt(database, [...touches, ...statements])
      .then((rows) => rows.slice(touches.length))
      .catch((error) => {
        if (touches.length === 0 && !TRANSIENT.test(String(error))) throw error
        return retry(database, statements, error)
      })
    database.waitUntil(attempts.catch(() => {}))
    const rows = await beforeDeadline(attempts, database.deadline)
    return Object.fromEntries(Object.keys(queries).map((name, i) => [name, rows[i] ?? []])) as RowsOf<Queries>
  } catch (cause) {
    throw new StorageUnavailable(cause)
  }
}

async function attempt({ binding }: Database, queries: Query[]): Promise<unknown[][]> {
  const statements = queries.map(({ sql }) => binding.prepare(sql.sql).bind(...sql.values))
  const results = await binding.batch<unknown>(statements)
  return results.map((result) => result.results)
}

async function retry(database: Database, queries: Query[], error: unknown): Promise<unknown[][]> {
  if (changeDeadline(database) - Date.now() <= RETRY_DELAY_MS) throw error
  await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS * (0.5 + Math.random())))
  return attempt(database, queries)
}

async function beforeDeadline<T>(promise: Promise<T>, deadline: UnixMs): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer before the deadline')), deadline - Date.now())
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
