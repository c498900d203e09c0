import type { RawValue, Sql } from 'sql-template-tag'
import { addAnswer, type Figures, newFigures } from './figures.ts'
import type { Region } from './regions.ts'

/** Unix time in milliseconds. */
export type UnixMs = number

/** A request's access to its database. */
export interface Database {
  /** The digit of its region: IDs and credentials that are created in the database carry it. */
  readonly region: string
  readonly binding: D1Database
  /** The time after which the request fails with StorageUnavailable. */
  readonly deadline: UnixMs
  /** Keeps work alive after the response, or after its client has disconnected. */
  readonly waitUntil: (promise: Promise<unknown>) => void
  /** Where the work waits: by default with the requests. */
  readonly queue?: Queue
  /** Absent if the figures are not logged. */
  readonly figures?: Figures
}

/** A statement, and the shape of the rows that it returns. */
export interface Query<Row = unknown> {
  readonly sql: Sql
  /** This member exists in the type only. */
  readonly row?: Row
}

/** The rows of named statements, by the same names. */
export type RowsOf<Queries> = {
  [Name in keyof Queries]: Queries[Name] extends Query<infer Row> ? Row[] : never
}

/** D1 returns BLOBs as arrays of numbers. */
export type Blob = readonly number[]

/** The text with which a database refuses changes during a recovery. */
export const FROZEN = 'frozen by a recovery'

/**
 * Permanent faults by the text of their errors (https://developers.cloudflare.com/d1/observability/debug-d1/,
 * https://sqlite.org/rescode.html): a retry cannot succeed before the operator has acted.
 */
const PERMANENT = {
  frozen: new RegExp(FROZEN),
  not_migrated: /no such (table|column)|has no column named/,
  quota_exceeded: /exceeded D1's free tier/,
  full: /SQLITE_FULL|database or disk is full|Exceeded maximum (DB size|account storage)/i,
  corrupt: /SQLITE_CORRUPT|SQLITE_NOTADB|disk image is malformed|file is not a database/,
  read_only: /SQLITE_READONLY|readonly database/,
} as const

/** Why the database failed. `unavailable` and `busy` are transient; the others last until the operator acts. */
export type StorageFault = 'unavailable' | 'busy' | 'newer_schema' | keyof typeof PERMANENT

/**
 * The database did not respond, failed, or responded with what cannot be read: 503. A write may have been committed.
 * `cause` is for the log.
 */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable'
  readonly fault: StorageFault

  constructor(cause: unknown, fault: StorageFault = faultOf(String(cause))) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.fault = fault
  }
}

function faultOf(text: string): StorageFault {
  const found = Object.entries(PERMANENT).find(([, pattern]) => pattern.test(text))
  return found ? (found[0] as StorageFault) : 'unavailable'
}

/**
 * Errors after which the batch may or may not have been committed, and another attempt may succeed
 * (https://developers.cloudflare.com/d1/observability/debug-d1/). Every batch may be repeated.
 */
const TRANSIENT =
  /Network connection lost|object to be reset|reset because its code was updated|due to transient issue|storage operation exceeded timeout|client disconnected/

/** The first wait before a retry. It doubles for each further retry. */
const FIRST_RETRY_DELAY_MS = 50

/** A change must begin this long before the request's deadline: time for the commit, the reply and clock skew. */
const COMMIT_MARGIN_MS = 500

/** The time after which no statement of this request changes anything, because the client gets a 503. */
export function changeDeadline(database: Database): UnixMs {
  return database.deadline - COMMIT_MARGIN_MS
}

/** Opens the database of a region. */
export function openDatabase(
  bindings: object,
  { digit, binding }: Region,
  request: Pick<Database, 'deadline' | 'waitUntil' | 'queue'>,
): Database {
  const database = (bindings as Record<string, D1Database>)[binding] as D1Database
  return { region: digit, binding: database, figures: newFigures(), ...request }
}

/** The same database with figures of its own: for work after the response, whose log entry has been written. */
export function measuredApart<T extends Database>(database: T): T & { readonly figures: Figures } {
  return { ...database, figures: newFigures() }
}

export function query<Row = never>(sql: Sql): Query<Row> {
  return { sql }
}

/**
 * Maximum number of batches that wait for one region in this isolate. A database runs one query at a time. With more of
 * them, each would wait until its deadline, and D1 would still run all of them. Anyone can report leaks, and these wait
 * for longer than a request: a flood of them takes no place of a request or of a report that GitHub has signed.
 */
const MAX_WAITING = { requests: 100, leaks: 10, signedLeaks: 10 } as const
type Queue = keyof typeof MAX_WAITING

/** How many batches wait, by region and queue. */
const waiting = new Map<string, number>()

/**
 * Sends statements as one transaction in one D1 request, and returns the rows of each by its name. After transient
 * errors it retries, with exponential backoff and full jitter, until the deadline. Throws StorageUnavailable.
 */
export async function sendBatch<Queries extends Record<string, Query>>(
  database: Database,
  queries: Queries,
): Promise<RowsOf<Queries>> {
  const statements = Object.values(queries).map(({ sql }) =>
    database.binding.prepare(sql.sql).bind(...sql.values.map(bindable)),
  )
  const sentAt = Date.now()
  const { region, queue = 'requests' } = database
  const place = `${region} ${queue}`
  const before = waiting.get(place) ?? 0
  if (before >= MAX_WAITING[queue]) throw new StorageUnavailable('too many requests wait for the database', 'busy')
  waiting.set(place, before + 1)
  try {
    const attempts = attempt(database, statements)
    database.waitUntil(attempts.catch(() => {}))
    const results = await beforeDeadline(attempts, database.deadline)
    if (database.figures) addAnswer(database.figures, results)
    return Object.fromEntries(
      Object.keys(queries).map((name, i) => [name, readableRows(results[i])]),
    ) as RowsOf<Queries>
  } catch (cause) {
    throw cause instanceof StorageUnavailable ? cause : new StorageUnavailable(cause)
  } finally {
    waiting.set(place, (waiting.get(place) ?? 1) - 1)
    if (database.figures) database.figures.waited += Date.now() - sentAt
  }
}

/** The rows of a result. Without this check, a damaged result would look like an unknown caller or a missing object. */
function readableRows(result: D1Result | undefined): unknown[] {
  const rows = result?.results
  if (!rows?.every((row) => row !== null && typeof row === 'object' && Object.keys(row).length > 0)) throw unreadable()
  return rows
}

export function unreadable(): StorageUnavailable {
  return new StorageUnavailable('D1 returned a result that cannot be read', 'unavailable')
}

/** Runs `task` once the response has been returned, and keeps it alive. It must not throw. */
export function afterResponse(database: Database, task: () => Promise<void>): void {
  database.waitUntil(new Promise((resolve) => setTimeout(resolve)).then(task))
}

/** D1 would store NaN and the infinities as NULL. */
function bindable(value: RawValue): RawValue {
  if (value === undefined || (typeof value === 'number' && !Number.isFinite(value))) {
    throw new TypeError(`${value} cannot be stored`)
  }
  return value
}

async function attempt(database: Database, statements: D1PreparedStatement[], retries = 0): Promise<D1Result[]> {
  if (database.figures) database.figures.requests++
  try {
    return await database.binding.batch(statements)
  } catch (error) {
    const delay = Math.random() * FIRST_RETRY_DELAY_MS * 2 ** retries
    if (!TRANSIENT.test(String(error)) || Date.now() + delay >= changeDeadline(database)) {
      // An earlier attempt may have been committed, so that even a lasting fault leaves the outcome unknown.
      throw retries > 0 ? new StorageUnavailable(error, 'unavailable') : error
    }
    await new Promise((resolve) => setTimeout(resolve, delay))
    return attempt(database, statements, retries + 1)
  }
}

async function beforeDeadline<T>(promise: Promise<T>, deadline: UnixMs): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | null = null
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no response before the deadline')), deadline - Date.now())
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
