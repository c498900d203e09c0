import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import type { Access, Caller, Change } from './caller.ts'
import { changeDeadline, type Database, type Query, type UnixMs } from './database.ts'

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
/** The tables whose rows record the event of their last change. */
type ChangingTable = 'applications' | 'client_secrets'
type Value = string | number | null | Bytes

export interface CallerRow {
  readonly id: string
  readonly name: string
  readonly access: Access
  readonly environment_id: string
  readonly environment_name: string
}

/** The caller itself: no row if there is none, or no longer. */
export function selectCaller({ digest }: Caller): Statement<CallerRow> {
  return new ScopedStatement(
    sql`SELECT id, name, access, environment_id, (SELECT name FROM environments WHERE id = environment_id) AS environment_name
      FROM callers WHERE digest = ${digest}`,
  )
}

/** Rows of the caller's environment. `rest` may end in ORDER BY and LIMIT. */
export function select<Row>(caller: Caller, columns: Sql, table: Table, where: Sql, rest: Sql = empty): Statement<Row> {
  const environment = sql`(SELECT environment_id FROM callers WHERE digest = ${caller.digest})`
  return new ScopedStatement(
    sql`SELECT ${columns} FROM ${raw(table)} WHERE ${raw(table)}.environment_id = ${environment} AND (${where}) ${rest}`,
  )
}

/** Inserts a row unless it exists, so that it may be repeated. `source` joins to `caller` the rows that it depends on. */
export function insert(
  database: Database,
  change: Change,
  table: ChangingTable,
  row: Record<string, Value | Sql>,
  condition: { source?: Sql; where: Sql },
): Statement {
  const stamps = { created_at: change.now, updated_at: change.now, event_id: change.eventId }
  const source = sql`${writerInTime(database, change)} AS caller ${condition.source ?? empty}`
  return insertInto(table, { ...row, ...stamps }, source, condition.where)
}

/** Updates rows once: not if the event exists already, and not after the deadline. */
export function update(database: Database, change: Change, table: ChangingTable, set: Sql[], where: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${stamped(change, set)}
      WHERE environment_id = (SELECT environment_id FROM ${writerInTime(database, change)})
      AND NOT ${eventExists(change)} AND (${where})`,
  )
}

/** Follow-up update in the same batch. `where` must depend on the leading statement, which alone checks the deadline. */
export function updateDependent(change: Change, table: ChangingTable, set: Sql[], where: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${stamped(change, set)}
      WHERE environment_id = (SELECT environment_id FROM ${writer(change)}) AND NOT ${eventExists(change)} AND (${where})`,
  )
}

/** Creates a session for the calling key. Read access is enough. No event is recorded. */
export function insertSession(database: Database, caller: Caller, session: Record<string, Value | Sql>): Statement {
  const source = sql`(SELECT id, environment_id FROM callers WHERE digest = ${caller.digest} AND ${inTime(database)})`
  return insertInto('sessions', session, sql`${source} AS caller`)
}

/** Updates rows for which no event is recorded. */
export function touch(
  caller: Caller,
  needs: Access,
  table: 'client_secrets' | 'webhook_deliveries' | 'api_keys' | 'sessions',
  set: Sql,
  where: Sql,
): Statement {
  const hasAccess = needs === 'write' ? sql`access = 'write'` : sql`true`
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${set}
      WHERE environment_id = (SELECT environment_id FROM callers WHERE digest = ${caller.digest} AND ${hasAccess}) AND (${where})`,
  )
}

/**
 * Records the event of a change from the row as the change left it, and queues it for every webhook endpoint that wants
 * it. `data` is SQL for its JSON.
 */
export function recordEvent(
  change: Change,
  type: string,
  table: ChangingTable,
  where: Sql,
  data: Sql,
): { event: Statement; deliveries: Statement } {
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
  return {
    event: insertInto('events', event, changed(change, table, where)),
    deliveries: new ScopedStatement(queueDeliveries(sql`events.id = ${change.eventId}`, change.now)),
  }
}

/** Inserts a row that belongs to a change, if the change was made. */
export function insertDependent(
  change: Change,
  into: 'idempotency_records',
  row: Record<string, Value | Sql>,
  table: ChangingTable,
  where: Sql,
): Statement {
  return insertInto(into, { ...row, created_at: change.now }, changed(change, table, where))
}

export function remove(change: Change, table: 'idempotency_records', where: Sql): Statement {
  return new ScopedStatement(
    sql`DELETE FROM ${raw(table)} WHERE environment_id = (SELECT environment_id FROM ${writer(change)}) AND (${where})`,
  )
}

/** Condition: the change was made, because its event exists. */
export function eventExists(change: Change): Sql {
  return sql`EXISTS (SELECT 1 FROM events WHERE id = ${change.eventId})`
}

/** Condition: all of them. */
export function allOf(conditions: Sql[]): Sql {
  return conditions.length === 0 ? sql`true` : join(conditions, ' AND ')
}

/** SQL for the JSON of a row, which an event keeps and the row's mapper reads back. The columns are constants of ours. */
export function snapshotOf(table: string, columns: readonly string[]): Sql {
  return raw(`json_object(${columns.map((column) => `'${column}', ${table}.${column}`).join(', ')})`)
}

/** SQL for the JSON array of the secrets that a change touched in an application, except one: data of its event. */
export function touchedSecrets(change: Change, applicationId: Sql, except = ''): Sql {
  return sql`json((SELECT json_group_array(json_object('id', touched.id, 'secret_hint', touched.secret_hint))
    FROM client_secrets AS touched
    WHERE touched.application_id = ${applicationId} AND touched.event_id = ${change.eventId} AND touched.id <> ${except}))`
}

/** Queues events for the webhook endpoints of their environment that want them. May be repeated. */
export function queueDeliveries(whereEvent: Sql, now: UnixMs): Sql {
  return sql`INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
    SELECT webhook_endpoints.id, events.id, events.environment_id, 'pending', 0, ${now}, ${now}
    FROM events JOIN webhook_endpoints ON webhook_endpoints.environment_id = events.environment_id
      AND webhook_endpoints.deleted_at IS NULL
      AND (webhook_endpoints.events = '[]' OR events.type IN (SELECT value FROM json_each(webhook_endpoints.events)))
    WHERE ${whereEvent} ON CONFLICT DO NOTHING`
}

/** What every change sets besides its own columns. */
function stamped(change: Change, set: Sql[]): Sql {
  return join([...set, sql`updated_at = ${change.now}`, sql`event_id = ${change.eventId}`], ', ')
}

function insertInto(table: Table, row: Record<string, Value | Sql>, from: Sql, where: Sql = sql`true`): Statement {
  const columns = raw(Object.keys(row).join(', '))
  // ON CONFLICT names no target: with one, repeating an insert that was committed would throw.
  return new ScopedStatement(
    sql`INSERT INTO ${raw(table)} (environment_id, ${columns})
      SELECT caller.environment_id, ${join(Object.values(row), ', ')} FROM ${from} WHERE ${where} ON CONFLICT DO NOTHING`,
  )
}

/** The caller, if it has write access. */
function writer({ caller }: Change, where: Sql = sql`true`): Sql {
  return sql`(SELECT id, name, environment_id FROM callers WHERE digest = ${caller.digest} AND access = 'write' AND ${where})`
}

/** The caller, if it has write access and the deadline has not passed: for the statement that decides the whole batch. */
function writerInTime(database: Database, change: Change): Sql {
  return writer(change, inTime(database))
}

function inTime(database: Database): Sql {
  return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** The row as a change left it, joined to its caller. */
function changed(change: Change, table: ChangingTable, where: Sql): Sql {
  const name = raw(table)
  return sql`${writer(change)} AS caller JOIN ${name} ON ${name}.environment_id = caller.environment_id
    AND ${name}.event_id = ${change.eventId} AND (${where})`
}
