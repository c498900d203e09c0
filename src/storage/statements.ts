import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import type { Access, Caller, Change } from './caller.ts'
import { changeDeadline, type Database, type Query, type UnixMs } from './database.ts'
import { USE_GRANULARITY_MS } from './last-use.ts'

/**
 * A statement of a caller. Each finds its environment by the caller's digest within its own transaction, so that no
 * statement can be built without a caller, and none reaches another environment's rows. Only this file can make one.
 */
class ScopedStatement<Row> implements Query<Row> {
  declare readonly row?: Row
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }
  get sql(): Sql {
    return this.#sql
  }
}
export type Statement<Row = never> = ScopedStatement<Row>

type Table =
  | 'applications'
  | 'client_secrets'
  | 'events'
  | 'idempotency_records'
  | 'api_keys'
  | 'sessions'
  | 'webhook_endpoints'
  | 'webhook_deliveries'
/**
 * A table, and the index to use. SQLite has no statistics here, so it would rather read all rows of an environment, which
 * are a range of the table, than look up the few that an index finds.
 */
type Source = Table | `${Table} INDEXED BY ${string}`
/** The tables whose rows record the event of their last change. */
export type ChangingTable = 'applications' | 'client_secrets'
type ChangingSource = ChangingTable | `${ChangingTable} INDEXED BY ${string}`
type Value = string | number | null | Bytes

export const BY_APPLICATION = 'client_secrets INDEXED BY client_secrets_by_application'

/** Every verdict names the caller. */
export interface CallerRow {
  readonly caller_id: string
  readonly caller_name: string
  readonly access: Access
  readonly environment_id: string
  readonly environment_name: string | null
  readonly session_id: string | null
  readonly caller_last_used_at: UnixMs | null
}

/** The verdict on a change. */
export interface ChangeRow extends CallerRow {
  /** The change was made: its event exists. */
  readonly is_done: 0 | 1
  /** A webhook endpoint wants the event. */
  readonly has_delivery: 0 | 1
}

/** A row that LEFT JOIN found; its ID is null if it did not. */
export interface FoundRow {
  readonly id: string | null
}

/** The verdict on a change of a row. */
export interface FoundChangeRow extends ChangeRow, FoundRow {}

/** A session without use ends after this. */
export const SESSION_REST_MS = 30 * 60_000
/** A session in use ends after this. */
export const SESSION_LIFETIME_MS = 12 * 60 * 60_000

/** Condition: the session is active, as far as its own row tells. The clock is the database's. */
export const activeSession = raw(`sessions.ended_at IS NULL
  AND sessions.last_used_at > unixepoch('subsec') * 1000 - ${SESSION_REST_MS}
  AND sessions.created_at > unixepoch('subsec') * 1000 - ${SESSION_LIFETIME_MS}`)

/** The caller as a source of rows: one, or none if there is no such caller or if it lacks what `where` asks for. */
function callerWhere({ kind, digest }: Caller, where: Sql = sql`true`): Sql {
  return kind === 'api_key'
    ? sql`(SELECT id, name, access, environment_id, last_used_at, NULL AS session_id
        FROM api_keys WHERE digest = ${digest} AND revoked_at IS NULL AND ${where}) AS caller`
    : sql`(SELECT api_keys.id, name, access, api_keys.environment_id, sessions.last_used_at, sessions.id AS session_id
        FROM sessions JOIN api_keys ON api_keys.id = sessions.api_key_id
        WHERE sessions.digest = ${digest} AND ${activeSession} AND revoked_at IS NULL AND ${where}) AS caller`
}

/** Condition: the caller has write access, and to the environment that it names if it names one. */
function writeAccess({ environmentId }: Caller): Sql {
  return environmentId === undefined
    ? sql`access = 'write'`
    : sql`access = 'write' AND api_keys.environment_id = ${environmentId}`
}

/** The caller, if it has write access. */
function writer({ caller }: Change): Sql {
  return callerWhere(caller, writeAccess(caller))
}

/** The caller, if it has write access and the deadline has not passed: for the statement that decides the whole batch. */
function writerInTime(database: Database, { caller }: Change): Sql {
  return callerWhere(caller, sql`${writeAccess(caller)} AND ${inTime(database)}`)
}

/** The clock is the database's: a batch that was stalled on its way changes nothing when it arrives. */
function inTime(database: Database): Sql {
  return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** SQL for the ID of the caller's environment. */
export function environmentOf(caller: Caller): Sql {
  return sql`(SELECT environment_id FROM ${callerWhere(caller)})`
}

function ofEnvironment(caller: Sql): Sql {
  return sql`environment_id = (SELECT environment_id FROM ${caller})`
}

/** One row: the caller, and columns of what `joined` joins to it. No row if there is no such caller. */
export function selectVerdict<Columns>(
  caller: Caller,
  columns: Sql = empty,
  joined: Sql = empty,
): Statement<CallerRow & Columns> {
  const environmentName =
    caller.kind === 'session' ? sql`(SELECT name FROM environments WHERE id = caller.environment_id)` : sql`NULL`
  return new ScopedStatement(
    sql`SELECT caller.id AS caller_id, caller.name AS caller_name, caller.access, caller.environment_id,
      ${environmentName} AS environment_name, caller.session_id, caller.last_used_at AS caller_last_used_at
      ${columns === empty ? empty : sql`, ${columns}`}
      FROM ${callerWhere(caller)} ${joined}`,
  )
}

/** The verdict on a change, and columns of what `joined` joins to the caller. */
export function selectChangeVerdict<Verdict extends ChangeRow>(
  change: Change,
  eventType: string,
  columns: Sql,
  joined: Sql,
): Statement<Verdict> {
  const wanted = sql`EXISTS (SELECT 1 FROM webhook_endpoints WHERE environment_id = caller.environment_id
    AND deleted_at IS NULL AND (events = '[]' OR ${eventType} IN (SELECT value FROM json_each(events))))`
  return selectVerdict(
    change.caller,
    sql`${eventExists(change)} AS is_done, ${wanted} AND ${eventExists(change)} AS has_delivery, ${columns}`,
    joined,
  )
}

/** Rows of the caller's environment. `rest` may end in ORDER BY and LIMIT. */
export function select<Row>(
  caller: Caller,
  columns: Sql,
  table: Source,
  where: Sql,
  rest: Sql = empty,
): Statement<Row> {
  return new ScopedStatement(
    sql`SELECT ${columns} FROM ${raw(table)} WHERE ${ofEnvironment(callerWhere(caller))} AND (${where}) ${rest}`,
  )
}

/** Rows among the first ones of the caller's environment that `first` selects: a search that reads no more than these. */
export function selectFromFirst<Row>(
  caller: Caller,
  columns: Sql,
  table: Source,
  first: Sql,
  rest: Sql,
): Statement<Row> {
  return new ScopedStatement(
    sql`SELECT ${columns} FROM (SELECT * FROM ${raw(table)} WHERE ${ofEnvironment(callerWhere(caller))} AND ${first})
      AS first ${rest}`,
  )
}

/** Inserts a row unless it exists, so that it may be repeated. `source` joins to `caller` the rows that it depends on. */
export function insert(
  database: Database,
  change: Change,
  table: ChangingTable,
  row: Record<string, Value | Sql>,
  source: Sql,
  where: Sql,
): Statement {
  const stamps = { created_at: change.now, updated_at: change.now, event_id: change.eventId }
  return insertInto(table, { ...row, ...stamps }, sql`${writerInTime(database, change)} ${source}`, where)
}

/** Updates rows once: not if the event exists already, and not after the deadline. */
export function update(database: Database, change: Change, table: ChangingSource, set: Sql[], where: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${stamped(change, set)}
      WHERE ${ofEnvironment(writerInTime(database, change))} AND NOT ${eventExists(change)} AND (${where})`,
  )
}

/** Follow-up update in the same batch. `where` must depend on the leading statement, which alone checks the deadline. */
export function updateDependent(change: Change, table: ChangingSource, set: Sql[], where: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${stamped(change, set)}
      WHERE ${ofEnvironment(writer(change))} AND NOT ${eventExists(change)} AND (${where})`,
  )
}

/** Adds to the environment's count of applications, once, if the change was made to the one that `matches`. */
export function countApplications(change: Change, difference: 1 | -1, matches: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE environments SET application_count = application_count + ${difference}
      WHERE id = (SELECT environment_id FROM ${writer(change)}) AND NOT ${eventExists(change)}
      AND EXISTS (SELECT 1 FROM applications
        WHERE environment_id = environments.id AND ${matches} AND event_id = ${change.eventId})`,
  )
}

/** SQL for the organization of the application of a row of `client_secrets`. */
export const organizationOfSecret = sql`(SELECT organization_id FROM applications
  WHERE environment_id = client_secrets.environment_id AND id = client_secrets.application_id)`

/**
 * Records the event of a change to an application or a secret, from the row as the change left it. `data` is SQL for its
 * JSON.
 */
export function recordEvent(change: Change, type: string, table: ChangingTable, where: Sql, data: Sql): Statement {
  const name = raw(table)
  const organization = table === 'applications' ? sql`applications.organization_id` : organizationOfSecret
  return insertInto(
    'events',
    eventRow(change, type, data, organization),
    sql`${writer(change)} JOIN ${name} ON ${name}.environment_id = caller.environment_id
      AND ${name}.event_id = ${change.eventId} AND (${where})`,
  )
}

/**
 * Records the event of a change to anything else, if `joined` finds the row that is to change. The statements that make
 * the change come after it, and depend on `eventExists`.
 */
export function recordAuditEvent(
  database: Database,
  change: Change,
  needs: Access,
  type: string,
  data: Sql,
  joined: Sql,
  organizationId: Sql | null = null,
): Statement {
  const caller = needs === 'write' ? writerInTime(database, change) : callerWhere(change.caller, inTime(database))
  return insertInto('events', eventRow(change, type, data, organizationId), sql`${caller} ${joined}`)
}

/** `seq` is later than that of every earlier event and at least the time in microseconds, so that none is used twice. */
export function nextSeq(now: UnixMs): Sql {
  return sql`max((SELECT coalesce(max(seq), 0) FROM events) + 1, ${now * 1000})`
}

function eventRow(change: Change, type: string, data: Sql, organizationId: Sql | null) {
  const { caller, origin } = change
  return {
    seq: nextSeq(change.now),
    id: change.eventId,
    organization_id: organizationId,
    type,
    data,
    actor_type: caller.kind,
    caller_id: sql`caller.id`,
    caller_name: sql`caller.name`,
    session_id: sql`caller.session_id`,
    request_id: change.requestId,
    client_request_id: origin?.clientRequestId ?? null,
    address: origin?.address ?? null,
    country: origin?.country ?? null,
    user_agent: origin?.userAgent ?? null,
    created_at: change.now,
  }
}

/** Stores the record of a keyed request, if the change was made. It replaces one from before `staleAt`. */
export function insertRecord(change: Change, record: Record<string, Value>, staleAt: UnixMs): Statement {
  const columns = [...Object.keys(record), 'event_id', 'created_at']
  const values = [...Object.values(record), change.eventId, change.now]
  return new ScopedStatement(
    sql`INSERT INTO idempotency_records (environment_id, ${raw(columns.join(', '))})
      SELECT environment_id, ${join(values, ', ')} FROM ${writer(change)} WHERE ${eventExists(change)}
      ON CONFLICT (digest) DO UPDATE SET ${raw(columns.map((column) => `${column} = excluded.${column}`).join(', '))}
      WHERE idempotency_records.created_at <= ${staleAt}`,
  )
}

/** Creates a session for the calling key. Read access is enough. */
export function insertSession(database: Database, caller: Caller, session: Record<string, Value | Sql>): Statement {
  return insertInto('sessions', session, callerWhere(caller, inTime(database)))
}

/** Updates rows that do not record the event of their last change. Returns a row for each that it updated. */
export function updateUnstamped(
  caller: Caller,
  needs: Access,
  table: 'client_secrets' | 'webhook_deliveries' | 'api_keys' | 'sessions',
  set: Sql,
  where: Sql,
): Statement<object> {
  const source = callerWhere(caller, needs === 'write' ? writeAccess(caller) : sql`true`)
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${set} WHERE ${ofEnvironment(source)} AND (${where}) RETURNING 1`,
  )
}

/** Sets `last_used_at` of an API key or session: never backwards, at most once a minute, not if it is no longer active. */
export function touchCaller(database: Database, { kind, digest }: Caller, now: UnixMs): Statement {
  const table = kind === 'session' ? 'sessions' : 'api_keys'
  const active = kind === 'session' ? activeSession : sql`revoked_at IS NULL`
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET last_used_at = ${now} WHERE digest = ${digest} AND ${active} AND ${useDue(database, now)}`,
  )
}

/** Condition: the last use was not recorded within the last minute, and the deadline has not passed. */
export function useDue(database: Database, now: UnixMs): Sql {
  return sql`(last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS}) AND ${inTime(database)}`
}

/** Condition: the change was made, because its event exists. */
export function eventExists(change: Change): Sql {
  return sql`EXISTS (SELECT 1 FROM events WHERE id = ${change.eventId})`
}

/** Condition: all of them. */
export function allOf(conditions: Sql[]): Sql {
  return conditions.length === 0 ? sql`true` : join(conditions, ' AND ')
}

/**
 * SQL for the JSON array of the secrets that a change touched in the application of the changed row, except one: data of
 * its event. `applicationId` is a column of `table`. What the change has ended, it has ended now.
 */
export function touchedSecrets(change: Change, table: ChangingTable, applicationId: string, except = ''): Sql {
  return sql`json((SELECT json_group_array(json_object('id', touched.id, 'secret_hint', touched.secret_hint))
    FROM client_secrets AS touched INDEXED BY client_secrets_by_application
    WHERE touched.environment_id = ${raw(table)}.environment_id
    AND touched.application_id = ${raw(table)}.${raw(applicationId)} AND touched.ended_at IN (0, ${change.now})
    AND touched.event_id = ${change.eventId} AND touched.id <> ${except}))`
}

/** SQL for LIMIT. As a bare parameter it would make SQLite compile the statement again for every value. */
export function limitTo(rows: number): Sql {
  return sql`LIMIT ${rows} + 0`
}

/** The columns that every change sets besides its own. */
function stamped(change: Change, set: Sql[]): Sql {
  return join([...set, sql`updated_at = ${change.now}`, sql`event_id = ${change.eventId}`], ', ')
}

function insertInto(table: Table, row: Record<string, Value | Sql>, from: Sql, where: Sql = sql`true`): Statement {
  // ON CONFLICT names no target: with one, repeating an insert that was committed would throw.
  return new ScopedStatement(
    sql`INSERT INTO ${raw(table)} (environment_id, ${raw(Object.keys(row).join(', '))})
      SELECT caller.environment_id, ${join(Object.values(row), ', ')} FROM ${from} WHERE ${where} ON CONFLICT DO NOTHING`,
  )
}
