import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import type { Caller, Change, Need } from './caller.ts'
import {
  activeKey,
  activeSession,
  dependentScope,
  eventExists,
  inEnvironmentOf,
  isLatestOfEnvironment,
  ownKey,
  type Scope,
  scopeOf,
  useDue,
} from './caller-conditions.ts'
import type { Database, Query, UnixMs } from './database.ts'
import { withEvent } from './history.ts'

/**
 * A statement of a caller. Only this file can create one, and always with a caller. The statement looks up the caller's
 * environment in its own transaction, so it cannot read or change rows of other environments.
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
 * A table, or a table and the index to use. D1 keeps no statistics for SQLite's query planner. If no index is named,
 * the planner may read all rows of the environment (a range of the table) instead of the few rows in the index.
 */
type Source = Table | `${Table} INDEXED BY ${string}`
/** The tables whose rows store the ID of their latest event. */
export type ChangingTable = 'applications' | 'client_secrets'
type ChangingSource = ChangingTable | `${ChangingTable} INDEXED BY ${string}`
type Value = string | number | null | Bytes

/** The right that reading each table needs. */
const READING: Readonly<Record<Table, Need>> = {
  applications: 'secrets:read',
  client_secrets: 'secrets:read',
  events: 'events:read',
  idempotency_records: 'read',
  api_keys: 'read',
  sessions: 'read',
  webhook_endpoints: 'read',
  webhook_deliveries: 'read',
}
const reading = (source: Source): Need => READING[source.split(' ', 1)[0] as Table]

/** The right that changing each table needs. */
export const CHANGING: Readonly<Record<ChangingTable, Need>> = {
  applications: 'applications:write',
  client_secrets: 'secrets:write',
}
const changing = (source: ChangingSource): Need => CHANGING[source.split(' ', 1)[0] as ChangingTable]

export const BY_APPLICATION = 'client_secrets INDEXED BY client_secrets_by_application'

/**
 * Selects the caller's row, with columns of the rows that `joined` joins to it. Returns no row if the caller is
 * unknown. The code that reads the row must call `isAllowed`, as `runBatch` does.
 */
export function selectCaller<Row>(
  caller: Caller,
  columns: Sql,
  joined: Sql,
  scope: Scope = scopeOf(caller, null),
): Statement<Row> {
  return new ScopedStatement(sql`SELECT ${columns} FROM ${scope} ${joined}`)
}

/** Selects rows of the caller's environment. `rest` can be ORDER BY and LIMIT. */
export function select<Row>(
  caller: Caller,
  columns: Sql,
  table: Source,
  where: Sql,
  rest: Sql = empty,
  needs: Need = reading(table),
): Statement<Row> {
  return new ScopedStatement(
    sql`SELECT ${columns} FROM ${raw(table)} WHERE ${inEnvironmentOf(scopeOf(caller, needs))} AND (${where}) ${rest}`,
  )
}

/**
 * Searches only those rows of the caller's environment that `first` selects. `first` can end in ORDER BY and LIMIT.
 * `rest` filters and sorts the result.
 */
export function selectFromFirst<Row>(
  caller: Caller,
  columns: Sql,
  table: Source,
  first: Sql,
  rest: Sql,
): Statement<Row> {
  return new ScopedStatement(
    sql`SELECT ${columns} FROM (SELECT * FROM ${raw(table)} WHERE ${inEnvironmentOf(scopeOf(caller, reading(table)))} AND ${first})
      AS first ${rest}`,
  )
}

/**
 * Does the same as `selectFromFirst`, for a `rest` that sorts. `columns` may read other tables, so they are computed
 * only for the rows of the result.
 */
export function selectSorted<Row>(caller: Caller, columns: Sql, table: Source, first: Sql, rest: Sql): Statement<Row> {
  const { sql: sorted } = selectFromFirst(caller, sql`*`, table, first, rest)
  return new ScopedStatement(sql`SELECT ${columns} FROM (${sorted}) AS first`)
}

/**
 * Inserts a row unless it exists, so that the statement can be repeated. `source` joins other rows to `caller`, and
 * `where` can refer to them.
 */
export function insert(
  database: Database,
  change: Change,
  table: ChangingTable,
  row: Record<string, Value | Sql>,
  source: Sql,
  where: Sql,
): Statement {
  const stamps = { created_at: change.now, updated_at: change.now, event_id: change.eventId }
  return insertInto(table, { ...row, ...stamps }, scopeOf(change.caller, changing(table), database), source, where)
}

/** Updates rows, if the event of the change does not exist yet and the deadline has not passed. */
export function update(database: Database, change: Change, table: ChangingSource, set: Sql[], where: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${stamped(change, table, set)}
      WHERE ${inEnvironmentOf(scopeOf(change.caller, changing(table), database))} AND NOT ${eventExists(change)} AND (${where})`,
  )
}

/**
 * Updates further rows in the same batch. `where` must depend on the deciding statement, because only that statement
 * checks the deadline.
 */
export function updateDependent(change: Change, needs: Need, table: ChangingSource, set: Sql[], where: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${stamped(change, table, set)}
      WHERE ${inEnvironmentOf(dependentScope(change.caller, needs))} AND NOT ${eventExists(change)} AND (${where})`,
  )
}

/**
 * Updates many secrets, each with an event of its own, if the events do not exist yet and the deadline has not passed.
 * `items` is JSON that maps each secret's ID to its event's ID.
 */
export function updateEach(database: Database, change: Change, items: string, set: Sql, where: Sql): Statement {
  const event = sql`(${items} ->> client_secrets.id)`
  return new ScopedStatement(
    sql`UPDATE client_secrets SET ${set}, history = ${withEvent(event)}, updated_at = ${change.now}, event_id = ${event}
      WHERE ${inEnvironmentOf(scopeOf(change.caller, 'secrets:write', database))} AND id IN (SELECT key FROM json_each(${items}))
      AND NOT EXISTS (SELECT 1 FROM events WHERE id = ${event}) AND (${where})`,
  )
}

/**
 * Updates the caller's environment, as `target`, if the event of the change exists and no later event changed the
 * environment.
 */
export function updateEnvironment(change: Change, set: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE environments AS target SET ${set} WHERE id = (SELECT environment_id FROM ${dependentScope(change.caller, 'write')})
      AND ${isLatestOfEnvironment(change.eventId)}`,
  )
}

/**
 * Adds `difference` to the environment's number of applications, if this change created or deleted the application that
 * `matches` selects. A repeated batch does not add it again.
 */
export function countApplications(change: Change, difference: 1 | -1, matches: Sql): Statement {
  return new ScopedStatement(
    sql`UPDATE environments SET application_count = application_count + ${difference}
      WHERE id = (SELECT environment_id FROM ${dependentScope(change.caller, 'applications:write')}) AND NOT ${eventExists(change)}
      AND EXISTS (SELECT 1 FROM applications
        WHERE environment_id = environments.id AND ${matches} AND event_id = ${change.eventId})`,
  )
}

/** Stores the idempotency record of a request, if the change was made. It overwrites a record from before `staleAt`. */
export function insertRecord(change: Change, record: Record<string, Value>, staleAt: UnixMs): Statement {
  const columns = [...Object.keys(record), 'event_id', 'created_at']
  const values = [...Object.values(record), change.eventId, change.now]
  return new ScopedStatement(
    sql`INSERT INTO idempotency_records (environment_id, ${raw(columns.join(', '))})
      SELECT environment_id, ${join(values, ', ')} FROM ${dependentScope(change.caller, null)} WHERE ${eventExists(change)}
      ON CONFLICT (digest) DO UPDATE SET ${raw(columns.map((column) => `${column} = excluded.${column}`).join(', '))}
      WHERE idempotency_records.created_at <= ${staleAt}`,
  )
}

/** The right for starting or ending one's own session. Most pages of the dashboard need the same right. */
export const SIGN_IN: Need = 'secrets:read'

/** Creates a session for the calling API key. */
export function insertSession(database: Database, caller: Caller, session: Record<string, Value | Sql>): Statement {
  return insertInto('sessions', session, scopeOf(caller, SIGN_IN, database))
}

/**
 * Updates rows that do not store the ID of their latest event. Returns a row for each updated row. Without `inTimeOf`,
 * `where` must depend on a statement that checks the caller and the deadline.
 */
export function updateUnstamped(
  caller: Caller,
  needs: Need,
  table: Exclude<Table, 'applications' | 'events' | 'idempotency_records'>,
  set: Sql,
  where: Sql,
  inTimeOf: Database | null = null,
): Statement<object> {
  const scope = inTimeOf ? scopeOf(caller, needs, inTimeOf) : dependentScope(caller, needs)
  return new ScopedStatement(
    sql`UPDATE ${raw(table)} SET ${set} WHERE ${inEnvironmentOf(scope)} AND (${where}) RETURNING 1`,
  )
}

/** Sets the `last_used_at` of an active API key or session, at most once a minute. It never sets an earlier time. */
export function touchCaller(database: Database, caller: Caller, now: UnixMs): Statement {
  const [table, own, active] =
    caller.kind === 'session'
      ? [raw('sessions'), sql`digest = ${caller.digest}`, activeSession]
      : [raw('api_keys'), ownKey(caller), activeKey]
  return new ScopedStatement(
    sql`UPDATE ${table} SET last_used_at = ${now} WHERE ${own} AND ${active} AND ${useDue(database, now)}`,
  )
}

/** Condition: all of the given conditions are true. */
export function allOf(conditions: Sql[]): Sql {
  return conditions.length === 0 ? sql`true` : join(conditions, ' AND ')
}

/** SQL for LIMIT. With a bare parameter, SQLite would compile the statement again for each new value. */
export function limitTo(rows: number): Sql {
  return sql`LIMIT ${rows} + 0`
}

/** SQL for SET: the given columns, and the columns that every change sets. */
function stamped({ now, eventId }: Change, table: ChangingSource, set: Sql[]): Sql {
  const history = table.startsWith('client_secrets') ? [sql`history = ${withEvent(eventId)}`] : []
  return join([...set, ...history, sql`updated_at = ${now}`, sql`event_id = ${eventId}`], ', ')
}

/**
 * Inserts a row for each row that `joined` joins to the caller, unless the row exists. ON CONFLICT names no constraint.
 * A repeated insert can violate several constraints, and would throw for one that is not named.
 */
export function insertInto(
  table: Table,
  row: Record<string, Value | Sql>,
  scope: Scope,
  joined: Sql = empty,
  where: Sql = sql`true`,
): Statement {
  return new ScopedStatement(
    sql`INSERT INTO ${raw(table)} (environment_id, ${raw(Object.keys(row).join(', '))})
      SELECT caller.environment_id, ${join(Object.values(row), ', ')} FROM ${scope} ${joined}
      WHERE ${where} ON CONFLICT DO NOTHING`,
  )
}
