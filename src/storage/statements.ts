import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { noteKeyUse, rememberKeyUse } from './api-keys.ts'
import { changeDeadline, type Database, type Row, sendBatch } from './database.ts'
import { sendToWebhooks } from './event-data.ts'

/**
 * Identity travels with the query. Every statement below finds its environment by the caller's digest, inside the
 * transaction that it belongs to, so that none can be built for nobody, and none reaches another environment's rows.
 */
export interface Caller {
  /** SHA-256 of the API key, or of the session. */
  readonly digest: Bytes
  /** For a session of the dashboard: is told whose it is, because a page says so, and offers what that key may do. */
  readonly session?: { readonly identified: (identity: Identity) => void }
}

/** Whose a session is. */
export interface Identity {
  readonly access: Access
  /** Of the API key. */
  readonly keyName: string
  readonly environmentName: string
}

/** A statement bound to its caller. Only the functions of this file can make one. */
class Scoped {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }
  get sql(): Sql {
    return this.#sql
  }
}
export type Statement = Scoped

export type Access = 'read' | 'write'

/** What a caller is told instead of an answer, whatever it asked. */
export type CallerRefusal = 'unauthorized' | 'forbidden'

type Refused<Code extends string> = Code extends string ? { readonly refused: Code } : never

/** What a request comes to, as a value: granted, or refused for one reason. */
export type Outcome<Granted, Refusal extends string = never> =
  | { readonly granted: Granted }
  | Refused<Refusal>
  | Refused<CallerRefusal>

/** A change, fixed before its first attempt, so that repeating it is harmless. */
export interface Change {
  readonly caller: Caller
  readonly eventId: string
  readonly requestId: string
  /** Unix ms: the time it is known by. */
  readonly now: number
}

type Table =
  | 'applications'
  | 'client_secrets'
  | 'events'
  | 'idempotency_records'
  | 'api_keys'
  | 'sessions'
  | 'webhook_endpoints'
  | 'webhook_deliveries'
/** Those that note the event of their last change. */
type ChangingTable = 'applications' | 'client_secrets'
type Value = string | number | null | Bytes

/**
 * Sends a request's one batch: who called, then its statements. `read` is given the rows of each statement, and is
 * asked only when the caller may do what it asks.
 */
export async function ask<T, Refusal extends string>(
  database: Database,
  caller: Caller,
  needs: Access,
  statements: Statement[],
  read: (rows: Row[][]) => Outcome<T, Refusal>,
  bookkeeping: Statement[] = [],
): Promise<Outcome<T, Refusal>> {
  const now = Date.now()
  const keyUse = noteKeyUse(database, caller, now)
  const [callers, ...rows] = await sendBatch(
    database,
    [identityOf(caller), ...statements.map((statement) => statement.sql)],
    [...(keyUse ? [keyUse] : []), ...bookkeeping.map((statement) => statement.sql)],
  )
  const identity = callers?.[0]
  if (!identity) return { refused: 'unauthorized' }
  if (keyUse) rememberKeyUse(caller, now)
  caller.session?.identified({
    access: identity.access as Access,
    keyName: identity.name as string,
    environmentName: identity.environment_name as string,
  })
  if (needs === 'write' && identity.access !== 'write') return { refused: 'forbidden' }
  return read(rows)
}

function identityOf({ digest, session }: Caller): Sql {
  const more = sql`, name, (SELECT name FROM environments WHERE id = environment_id) AS environment_name`
  return sql`SELECT access ${session ? more : empty} FROM callers WHERE digest = ${digest}`
}

/** Asks only who calls: for a request that is refused for another reason, which 401 and 403 outrank. */
export function identify(database: Database, caller: Caller, needs: Access): Promise<Outcome<null>> {
  return ask(database, caller, needs, [], () => ({ granted: null }))
}

/** Rows of the caller's environment. `rest` may end in ORDER BY and LIMIT. */
export function select(caller: Caller, columns: Sql, table: Table, where: Sql, rest: Sql = empty): Statement {
  const environment = sql`(SELECT environment_id FROM callers WHERE digest = ${caller.digest})`
  return new Scoped(
    sql`SELECT ${columns} FROM ${raw(table)} WHERE ${raw(table)}.environment_id = ${environment} AND (${where}) ${rest}`,
  )
}

/**
 * Makes a row, unless it is there: the statement may be repeated. `source` joins what the row depends on; the table
 * `caller` is there to join it to.
 */
export function insert(
  database: Database,
  change: Change,
  table: ChangingTable,
  row: Record<string, Value | Sql>,
  condition: { source?: Sql; where: Sql },
): Statement {
  const stamps = { created_at: change.now, updated_at: change.now, event_id: change.eventId }
  return insertInto(
    table,
    { ...row, ...stamps },
    sql`${leading(database, change)} AS caller ${condition.source ?? empty}`,
    condition.where,
  )
}

/** Changes rows, once: not when its event says that it has been done, and not past its time. */
export function update(database: Database, change: Change, table: ChangingTable, set: Sql[], where: Sql): Statement {
  return new Scoped(
    sql`UPDATE ${raw(table)} SET ${stamped(change, set)}
      WHERE environment_id = (SELECT environment_id FROM ${leading(database, change)})
      AND NOT ${isDone(change)} AND (${where})`,
  )
}

/**
 * Changes more rows, because an earlier statement of the batch has changed one, which `where` must ask for. It asks for
 * no deadline of its own: whether the change is in time has been decided once.
 */
export function updateAlong(change: Change, table: ChangingTable, set: Sql[], where: Sql): Statement {
  return new Scoped(
    sql`UPDATE ${raw(table)} SET ${stamped(change, set)}
      WHERE environment_id = (SELECT environment_id FROM ${following(change)}) AND NOT ${isDone(change)} AND (${where})`,
  )
}

/** Lets in under another digest who is known already. No event tells of it, and whoever may read may do it. */
export function admit(database: Database, caller: Caller, session: Record<string, Value | Sql>): Statement {
  const known = sql`(SELECT id, environment_id FROM callers WHERE digest = ${caller.digest} AND ${isInTime(database)})`
  return insertInto('sessions', session, sql`${known} AS caller`)
}

/** Notes something on rows that no event tells of. */
export function note(
  caller: Caller,
  needs: Access,
  table: 'client_secrets' | 'webhook_deliveries' | 'api_keys' | 'sessions',
  set: Sql,
  where: Sql,
): Statement {
  const mayDo = needs === 'write' ? sql`access = 'write'` : sql`true`
  return new Scoped(
    sql`UPDATE ${raw(table)} SET ${set}
      WHERE environment_id = (SELECT environment_id FROM callers WHERE digest = ${caller.digest} AND ${mayDo}) AND (${where})`,
  )
}

/**
 * Records the event of a change, from the row that the change has just left, and puts it on its way to every webhook
 * that wants it. `data` is SQL that gives its JSON.
 */
export function recordEvent(change: Change, type: string, table: ChangingTable, where: Sql, data: Sql): Statement[] {
  const event = {
    id: change.eventId,
    organization_id:
      table === 'applications'
        ? sql`applications.organization_id`
        : sql`(SELECT organization_id FROM applications WHERE id = client_secrets.application_id)`,
    type,
    data,
    caller_id: sql`caller.id`,
    caller_name: sql`caller.name`,
    request_id: change.requestId,
    created_at: change.now,
  }
  const isIt = sql`events.id = ${change.eventId}`
  return [insertInto('events', event, changed(change, table, where)), new Scoped(sendToWebhooks(isIt, change.now))]
}

/** Makes a row that goes with a change, where the change was made. */
export function insertAlong(
  change: Change,
  into: 'idempotency_records',
  row: Record<string, Value | Sql>,
  table: ChangingTable,
  where: Sql,
): Statement {
  return insertInto(into, { ...row, created_at: change.now }, changed(change, table, where))
}

/** Removes rows. */
export function remove(change: Change, table: 'idempotency_records', where: Sql): Statement {
  return new Scoped(
    sql`DELETE FROM ${raw(table)} WHERE environment_id = (SELECT environment_id FROM ${following(change)}) AND (${where})`,
  )
}

/** Whether a change was made: its event is there. */
export function isDone(change: Change): Sql {
  return sql`EXISTS (SELECT 1 FROM events WHERE id = ${change.eventId})`
}

/** What every change sets besides its own. */
function stamped(change: Change, set: Sql[]): Sql {
  return join([...set, sql`updated_at = ${change.now}`, sql`event_id = ${change.eventId}`], ', ')
}

function insertInto(table: Table, row: Record<string, Value | Sql>, from: Sql, where: Sql = sql`true`): Statement {
  const columns = raw(Object.keys(row).join(', '))
  // ON CONFLICT names no target: with one, repeating an insert that was committed would throw.
  return new Scoped(
    sql`INSERT INTO ${raw(table)} (environment_id, ${columns})
      SELECT caller.environment_id, ${join(Object.values(row), ', ')} FROM ${from} WHERE ${where} ON CONFLICT DO NOTHING`,
  )
}

/** The caller, if it may write and its time is not over: for the statement of a batch that decides whether all happens. */
function leading(database: Database, change: Change): Sql {
  return sql`(SELECT id, name, environment_id FROM callers
    WHERE digest = ${change.caller.digest} AND access = 'write' AND ${isInTime(database)})`
}

function isInTime(database: Database): Sql {
  return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** The caller, if it may write: for the statements that follow. */
function following(change: Change): Sql {
  return sql`(SELECT id, name, environment_id FROM callers WHERE digest = ${change.caller.digest} AND access = 'write')`
}

/** The row that a change has just left, joined to its caller. */
function changed(change: Change, table: ChangingTable, where: Sql): Sql {
  const name = raw(table)
  return sql`${following(change)} AS caller JOIN ${name} ON ${name}.environment_id = caller.environment_id
    AND ${name}.event_id = ${change.eventId} AND (${where})`
}
