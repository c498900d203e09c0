import type { RawValue, Sql } from 'sql-template-tag'
import { addAnswer, type Figures, newFigures } from './figures.ts'
import type { Region } from './regions.ts'

/** Unix time in milliseconds. */
export type UnixMs = number

/** The database of a request, and the limits for using it. */
export interface Database {
  /** The digit of the region. All IDs and credentials that are created in the database contain it. */
  readonly region: string
  readonly binding: D1Database
  /** The time at which an unfinished request fails with StorageUnavailable. */
  readonly deadline: UnixMs
  /** Lets work continue after the response, or after the client has disconnected. */
  readonly waitUntil: (promise: Promise<unknown>) => void
  /** The queue in which batches wait; by default `requests`. */
  readonly queue?: Queue
  /** Absent if the figures are not logged. */
  readonly figures?: Figures
}

/** A statement, and the type of the rows that it returns. */
export interface Query<Row = unknown> {
  readonly sql: Sql
  /** This member exists only in the type. */
  readonly row?: Row
}

/** The rows of named statements, by the same names. */
export type RowsOf<Queries> = {
  [Name in keyof Queries]: Queries[Name] extends Query<infer Row> ? Row[] : never
}

/** D1 returns a BLOB as an array of numbers. */
export type Blob = readonly number[]

/** The error text of a database that refuses changes during a recovery. */
export const FROZEN = 'frozen by a recovery'

/**
 * Permanent errors, recognised by their text (https://developers.cloudflare.com/d1/observability/debug-d1/,
 * https://sqlite.org/rescode.html). A retry cannot succeed before the operator has acted, or before the quota is
 * renewed.
 */
const PERMANENT = {
  frozen: new RegExp(FROZEN),
  not_migrated: /no such (table|column)|has no column named/,
  quota_exceeded: /exceeded D1's free tier/,
  full: /SQLITE_FULL|database or disk is full|Exceeded maximum (DB size|account storage)/i,
  corrupt: /SQLITE_CORRUPT|SQLITE_NOTADB|disk image is malformed|file is not a database/,
  read_only: /SQLITE_READONLY|readonly database/,
} as const

/** The kind of a database error. `unavailable` and `busy` are transient, and all others are permanent. */
export type StorageFault = 'unavailable' | 'busy' | 'newer_schema' | keyof typeof PERMANENT

/**
 * The error for a database that did not respond, failed, or returned an invalid result. The response is 503. A write
 * may have been committed. `cause` is for the log.
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
 * Transient errors (https://developers.cloudflare.com/d1/observability/debug-d1/). The batch may have been committed.
 * Another attempt may succeed, and is safe because every batch is idempotent.
 */
const TRANSIENT =
  /Network connection lost|object to be reset|reset because its code was updated|due to transient issue|storage operation exceeded timeout|client disconnected/

/** The maximum delay before the first retry. It doubles with each further retry. */
const FIRST_RETRY_DELAY_MS = 50

/**
 * A change must start at least this long before the request's deadline. The margin is for the commit, the response and
 * clock skew.
 */
const COMMIT_MARGIN_MS = 500

/** Returns the time after which no statement may change anything, because the client will get a 503. */
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

/** Returns the same database with separate figures, for work that is logged separately from the request. */
export function measuredApart<T extends Database>(database: T): T & { readonly figures: Figures } {
  return { ...database, figures: newFigures() }
}

export function query<Row = never>(sql: Sql): Query<Row> {
  return { sql }
}

/**
 * Maximum number of batches in each queue of a region, in this isolate. A database runs one query at a time. If more
 * batches waited, they would miss their deadlines, but D1 would still run them. Leak reports have queues of their own.
 * Unauthenticated reports wait for longer than requests, and must block neither requests nor the reports that GitHub
 * has signed.
 */
const MAX_WAITING = { requests: 100, leaks: 10, signedLeaks: 10 } as const
type Queue = keyof typeof MAX_WAITING

/** The number of waiting batches, by region and queue. */
const waiting = new Map<string, number>()

/**
 * Sends statements as one transaction in one D1 request, and returns the rows of each statement by its name. Transient
 * errors are retried until the deadline, with exponential backoff and full jitter. Throws StorageUnavailable.
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

/**
 * Returns the rows of a result, or throws if they are invalid. Otherwise an invalid result could look like an unknown
 * caller or a missing object.
 */
function readableRows(result: D1Result | undefined): unknown[] {
  const rows = result?.results
  if (!rows?.every((row) => row !== null && typeof row === 'object' && Object.keys(row).length > 0)) throw unreadable()
  return rows
}

export function unreadable(): StorageUnavailable {
  return new StorageUnavailable('D1 returned a result that cannot be read', 'unavailable')
}

/** Runs `task` after the response has been returned, and lets it finish. `task` must not throw. */
export function afterResponse(database: Database, task: () => Promise<void>): void {
  database.waitUntil(new Promise((resolve) => setTimeout(resolve)).then(task))
}

/** Refuses NaN and infinity, which D1 would store as NULL. */
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
      // After a retry the outcome is unknown, even if this error is permanent: an earlier attempt may have been
      // committed.
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
