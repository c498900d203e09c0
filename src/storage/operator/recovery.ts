import sql, { join, raw, type Sql } from 'sql-template-tag'
import { apiKeySnapshot } from '../api-keys.ts'
import { applicationMapping } from '../applications.ts'
import { clientSecretMapping } from '../client-secrets.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'
import { environmentMapping } from '../environments.ts'
import { nextSeq, organizationOfSecret } from '../event-statements.ts'
import type { EventType } from '../events.ts'
import { withEvent } from '../history.ts'
import { sessionSnapshot } from '../sessions.ts'
import { endpointSnapshot } from '../webhook-endpoints.ts'
import { gone } from '../webhooks.ts'
import type { Row } from './transfer.ts'

/**
 * The tables with changes that a recovery preserves. Restoring a database to an earlier time undoes all later changes,
 * even those that restrict access. So the recovery reads these before the restore, and applies them again afterwards:
 * revocations, disabled secrets, earlier expiries, deletions, ended sessions, leak reports, frozen environments,
 * stricter settings, and removed scopes and IP ranges.
 */
export const RECOVERED_TABLES = [
  'environments',
  'applications',
  'client_secrets',
  'api_keys',
  'sessions',
  'webhook_endpoints',
] as const
export type RecoveredTable = (typeof RECOVERED_TABLES)[number]

interface Captured {
  /** The columns that the pages are ordered by. */
  readonly key: readonly string[]
  readonly columns: Sql
  /** SQL for the time of the last change. */
  readonly changedAt: Sql
  /** True if no column has the time of each change, so that all rows must be read. */
  readonly isWhole?: true
}

/** SQL for the latest of several times. */
const latest = (...columns: string[]) => raw(`max(${columns.map((column) => `coalesce(${column}, 0)`).join(', ')})`)

const CAPTURED: Readonly<Record<RecoveredTable, Captured>> = {
  environments: {
    key: ['id'],
    columns: raw('id, id AS environment_id, name, frozen_at, leak_reaction, max_lifetime_days, max_unused_days'),
    changedAt: latest('frozen_at', 'created_at'),
    isWhole: true,
  },
  applications: {
    key: ['environment_id', 'id'],
    columns: raw('id, environment_id, name, client_id, scopes, deleted_at'),
    changedAt: raw('updated_at'),
  },
  client_secrets: {
    key: ['environment_id', 'id'],
    columns: raw(
      'id, environment_id, application_id, name, secret_hint, revoked_at, disabled_at, expires_at, retires_at, allowed_scopes, allowed_ips, leak_reported_at, leak_source',
    ),
    changedAt: raw('updated_at'),
  },
  api_keys: {
    key: ['id'],
    columns: raw('id, environment_id, name, revoked_at, leak_reported_at, leak_source'),
    changedAt: latest('revoked_at', 'leak_reported_at', 'created_at'),
  },
  sessions: { key: ['id'], columns: raw('id, environment_id, ended_at'), changedAt: raw('coalesce(ended_at, 0)') },
  // The query of a URL may contain a credential, so it is left out.
  webhook_endpoints: {
    key: ['id'],
    columns: raw(
      `id, environment_id, substr(url, 1, instr(url || '?', '?') - 1) AS url, deleted_at, leak_reported_at, leak_source`,
    ),
    changedAt: latest('deleted_at', 'leak_reported_at', 'created_at'),
  },
}

/** A row before the restore, with the times of its creation and its last change. */
export interface CapturedRow extends Row {
  readonly id: string
  readonly environment_id: string
  readonly created_at: UnixMs
  readonly changed_at: UnixMs
}

/**
 * Reads the next `limit` rows of a table. Returns the rows that were changed at `since` or later, and the key of the
 * last row that was read.
 */
export async function captureChanges(
  database: Database,
  table: RecoveredTable,
  since: UnixMs,
  after: Row | null,
  limit: number,
): Promise<{ rows: CapturedRow[]; last: Row | null }> {
  const { key, columns, changedAt, isWhole } = CAPTURED[table]
  const keys = raw(key.join(', '))
  const beyond = after ? sql`WHERE (${keys}) > (${join(key.map((name) => after[name] ?? null))})` : sql``
  const page = sql`(SELECT * FROM ${raw(table)} ${beyond} ORDER BY ${keys} LIMIT ${raw(String(limit))})`
  const { rows, last } = await sendBatch(database, {
    rows: query<CapturedRow>(sql`SELECT ${columns}, created_at, ${changedAt} AS changed_at, ${since} AS since FROM ${page}
      WHERE ${isWhole ? sql`true` : sql`${changedAt} >= ${since}`}`),
    last: query<Row>(
      sql`SELECT ${keys} FROM ${page} ORDER BY ${raw(key.map((name) => `${name} DESC`).join(', '))} LIMIT 1`,
    ),
  })
  return { rows, last: last[0] ?? null }
}

/** A captured row, and the ID of the event to record if the captured row is more restrictive than the restored row. */
export interface Restriction {
  readonly table: RecoveredTable
  readonly row: CapturedRow
  readonly eventId: string
}

/** SQL for a member of the captured row. */
const was = (name: string) => raw(`(change.value ->> '${name}')`)
/** A time later than all others, in place of NULL. */
const NEVER = raw(String(Number.MAX_SAFE_INTEGER))

interface Applied {
  /** Condition: the captured row is more restrictive than the restored row, `target`. */
  readonly restricts: Sql
  readonly set: Sql
  readonly type: Sql
  readonly data: Sql
  readonly organization: Sql
  /** True if the row stores the ID of its latest event. The event then has the row after the change. */
  readonly isStamped: boolean
}

const constant = (type: EventType) => raw(`'${type}'`)

/** Condition: the captured row has a time in this column, and the restored row has NULL. */
const hasEnded = (column: string) => sql`(${was(column)} IS NOT NULL AND target.${raw(column)} IS NULL)`

/** SQL that sets columns to the captured values if they are NULL. */
const filled = (...columns: string[]) =>
  join(columns.map((column) => sql`${raw(column)} = coalesce(${raw(column)}, ${was(column)})`))

/** SQL for the data of a leak event. If the reaction changed the row, the change has the time of the report. */
function leakData(snapshot: Sql, disabledAt: Sql, endedAt: Sql): Sql {
  const at = was('leak_reported_at')
  return sql`json_set(${snapshot}, '$.source', ${was('leak_source')}, '$.reaction',
    CASE WHEN ${endedAt} = ${at} THEN 'revoke' WHEN ${disabledAt} = ${at} THEN 'disable' ELSE 'notify' END)`
}

/** Returns the entry for a table whose rows have one column for their end, and can be reported as leaked. */
function endedOrLeaked(column: string, types: readonly [ended: EventType, leaked: EventType], data: Sql, set = sql``) {
  const at = was('leak_reported_at')
  const isLeak = sql`(${hasEnded('leak_reported_at')} AND coalesce(${was(column)}, ${at}) = ${at})`
  return {
    restricts: sql`(${hasEnded(column)} OR ${hasEnded('leak_reported_at')})`,
    set: sql`${filled(column, 'leak_reported_at', 'leak_source')}${set}`,
    type: sql`iif(${isLeak}, ${constant(types[1])}, ${constant(types[0])})`,
    data: sql`iif(${isLeak}, ${leakData(data, sql`NULL`, was(column))}, ${data})`,
    organization: raw('NULL'),
    isStamped: false,
  }
}

/** Condition: the captured limit is lower than the restored one. NULL is no limit. */
const isFewer = (column: string) =>
  sql`coalesce(${was(column)} < target.${raw(column)}, ${was(column)} IS NOT NULL AND target.${raw(column)} IS NULL)`
const rank = (reaction: Sql) => sql`instr('notify disable revoke', ${reaction})`
const STRICTER = {
  leak_reaction: sql`coalesce(${rank(was('leak_reaction'))} > ${rank(sql`target.leak_reaction`)}, false)`,
  max_lifetime_days: isFewer('max_lifetime_days'),
  max_unused_days: isFewer('max_unused_days'),
}
/** SQL for the settings of the restored environment: the stricter value of each. */
const strictest = Object.entries(STRICTER).map(
  ([column, isStricter]) => [column, sql`iif(${isStricter}, ${was(column)}, target.${raw(column)})`] as const,
)

/**
 * Condition: the restored list has an item that the captured list does not have. Equal lists are not compared item by
 * item, because that takes quadratic time.
 */
const hasOther = (column: string) =>
  sql`(target.${raw(column)} <> ${was(column)} AND EXISTS (SELECT 1 FROM json_each(target.${raw(column)})
    WHERE value NOT IN (SELECT value FROM json_each(${was(column)}))))`

/** Condition: the captured secret has a list, and the restored secret has no list or one with additional items. */
const hasMore = (column: string) =>
  sql`(${was(column)} IS NOT NULL AND (target.${raw(column)} IS NULL OR ${hasOther(column)}))`

/** Condition: the captured secret was reported as leaked after `since`, and was not revoked by a later change. */
const isReport = sql`coalesce(${was('leak_reported_at')} >= ${was('since')}
  AND coalesce(${was('revoked_at')}, ${was('leak_reported_at')}) = ${was('leak_reported_at')}, false)`

const APPLIED: Readonly<Record<RecoveredTable, Applied>> = {
  client_secrets: {
    restricts: sql`target.revoked_at IS NULL AND (${was('revoked_at')} IS NOT NULL
      OR (${was('disabled_at')} IS NOT NULL AND target.disabled_at IS NULL)
      OR ${was('expires_at')} < coalesce(target.expires_at, ${NEVER}) OR ${hasMore('allowed_scopes')} OR ${hasMore('allowed_ips')}
      OR ${hasEnded('leak_reported_at')})`,
    set: sql`revoked_at = ${was('revoked_at')}, disabled_at = coalesce(disabled_at, ${was('disabled_at')}),
      expires_at = nullif(min(coalesce(expires_at, ${NEVER}), coalesce(${was('expires_at')}, ${NEVER})), ${NEVER}),
      retires_at = iif(${was('expires_at')} < coalesce(expires_at, ${NEVER}), coalesce(${was('retires_at')}, retires_at), retires_at),
      allowed_scopes = iif(${hasMore('allowed_scopes')}, ${was('allowed_scopes')}, allowed_scopes),
      allowed_ips = iif(${hasMore('allowed_ips')}, ${was('allowed_ips')}, allowed_ips),
      ${filled('leak_reported_at', 'leak_source')}`,
    type: sql`CASE WHEN ${isReport} THEN ${constant('connect_application_secret.leaked')}
      WHEN client_secrets.revoked_at IS NULL THEN ${constant('connect_application_secret.updated')}
      ELSE ${constant('connect_application_secret.deleted')} END`,
    data: sql`iif(${isReport}, ${leakData(clientSecretMapping.snapshot, was('disabled_at'), was('revoked_at'))}, ${clientSecretMapping.snapshot})`,
    organization: organizationOfSecret,
    isStamped: true,
  },
  applications: {
    restricts: sql`target.deleted_at IS NULL AND (${was('deleted_at')} IS NOT NULL OR ${hasOther('scopes')})`,
    set: sql`deleted_at = ${was('deleted_at')}, scopes = (SELECT json_group_array(value) FROM json_each(target.scopes)
      WHERE value IN (SELECT value FROM json_each(${was('scopes')})))`,
    type: sql`iif(applications.deleted_at IS NULL, ${constant('connect_application.updated')}, ${constant('connect_application.deleted')})`,
    // Each revoked secret of the application has an event of its own.
    data: sql`iif(applications.deleted_at IS NULL, ${applicationMapping.snapshot},
      json_set(${applicationMapping.snapshot}, '$.client_secrets', json('[]')))`,
    organization: raw('applications.organization_id'),
    isStamped: true,
  },
  environments: {
    restricts: sql`(${hasEnded('frozen_at')} OR ${join(Object.values(STRICTER), ' OR ')})`,
    set: sql`${filled('frozen_at')}, ${join(strictest.map(([column, value]) => sql`${raw(column)} = ${value}`))}`,
    type: sql`iif(${hasEnded('frozen_at')}, ${constant('environment.frozen')}, ${constant('environment.updated')})`,
    data: sql`json_set(${environmentMapping.snapshot}, '$.frozen_at', coalesce(target.frozen_at, ${was('frozen_at')}),
      ${join(strictest.map(([column, value]) => sql`${raw(`'$.${column}'`)}, ${value}`))})`,
    organization: raw('NULL'),
    isStamped: false,
  },
  api_keys: endedOrLeaked('revoked_at', ['api_key.revoked', 'api_key.leaked'], apiKeySnapshot),
  sessions: {
    restricts: hasEnded('ended_at'),
    set: filled('ended_at'),
    type: constant('session.revoked'),
    data: sessionSnapshot,
    organization: raw('NULL'),
    isStamped: false,
  },
  webhook_endpoints: endedOrLeaked(
    'deleted_at',
    ['webhook_endpoint.deleted', 'webhook_endpoint.leaked'],
    endpointSnapshot,
    sql`, secret = iif(${was('deleted_at')} IS NULL, secret, '')`,
  ),
}
const APPLIED_TABLES = Object.keys(APPLIED) as RecoveredTable[]

/** SQL for a FROM clause: the restored rows that the changes refer to. */
function targets(table: RecoveredTable, changes: string, alias: string): Sql {
  const by = CAPTURED[table].key.map((name) => sql`${raw(`${alias}.${name}`)} = ${was(name)}`)
  return sql`json_each(${changes}) AS change CROSS JOIN ${raw(table)} AS ${raw(alias)} ON ${join(by, ' AND ')}`
}

/**
 * Applies restrictions to a restored database, in one batch. Each gets an event, in the given order. The batch can be
 * repeated. Returns the number of restrictions that were applied, by table. Throws if a restriction still does not
 * hold.
 */
export async function applyRestrictions(
  database: Database,
  restrictions: readonly Restriction[],
  now: UnixMs,
): Promise<Partial<Record<RecoveredTable, number>>> {
  const tables = APPLIED_TABLES.filter((table) => restrictions.some((each) => each.table === table))
  if (tables.length === 0) return {}
  const stamped = tables.filter((table) => APPLIED[table].isStamped)
  const others = tables.filter((table) => !APPLIED[table].isStamped)
  const changesOf = (table: RecoveredTable) =>
    JSON.stringify(
      restrictions.flatMap(({ row, eventId, ...each }, position) =>
        each.table === table ? [{ ...row, event_id: eventId, position }] : [],
      ),
    )
  const changes = Object.fromEntries(tables.map((table) => [table, changesOf(table)])) as Record<RecoveredTable, string>
  const update = (table: RecoveredTable): [string, Query] => [table, updateOf(table, changes[table], now)]
  // D1 allows five terms in a compound SELECT, so each table has a statement of its own.
  const events = tables.map((table): [string, Query] => [`${table} events`, recordEvents(table, changes[table], now)])
  // This counts the events of the restrictions, not the rows that change now. So a batch that is sent again also counts the
  // restrictions that its first attempt has applied.
  const applied = tables.map((table): [string, Query] => [`${table} applied`, countEvents(changes[table])])
  const left = tables.map((table): [string, Query] => [
    `${table} left`,
    query(sql`SELECT 1 FROM ${targets(table, changes[table], 'target')} WHERE ${APPLIED[table].restricts}`),
  ])
  const results = await sendBatch<Record<string, Query<unknown>>>(database, {
    ...Object.fromEntries([...stamped.map(update), ...events, ...others.map(update)]),
    ...(changes.webhook_endpoints && { deliveries: endDeliveries(changes.webhook_endpoints, now) }),
    ...Object.fromEntries([...left, ...applied]),
  })
  if (left.some(([name]) => (results[name]?.length ?? 0) > 0))
    throw new Error('A revocation could not be applied again.')
  return Object.fromEntries(tables.map((table) => [table, results[`${table} applied`]?.length ?? 0]))
}

function updateOf(table: RecoveredTable, changes: string, now: UnixMs): Query {
  const { restricts, set, isStamped } = APPLIED[table]
  const by = CAPTURED[table].key.map((name) => sql`${raw(`target.${name}`)} = ${was(name)}`)
  const history = table === 'client_secrets' ? sql`, history = ${withEvent(was('event_id'))}` : sql``
  const stamps = isStamped ? sql`, updated_at = ${now}, event_id = ${was('event_id')}${history}` : sql``
  return query(sql`UPDATE ${raw(table)} AS target SET ${set}${stamps} FROM json_each(${changes}) AS change
    WHERE ${join(by, ' AND ')} AND ${restricts}`)
}

/**
 * Records the events of a table. If the table `isStamped`, this statement follows the update. Otherwise it precedes the
 * update.
 */
function recordEvents(table: RecoveredTable, changes: string, now: UnixMs): Query {
  const { restricts, type, data, organization, isStamped } = APPLIED[table]
  const alias = isStamped ? table : 'target'
  const changed = isStamped ? sql`${raw(table)}.event_id = ${was('event_id')}` : restricts
  const environment = raw(`${alias}.${table === 'environments' ? 'id' : 'environment_id'}`)
  return query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, created_at)
    SELECT ${nextSeq(now)} - 1 + row_number() OVER (ORDER BY ${was('position')}), ${was('event_id')}, ${environment},
      ${organization}, ${type}, ${data}, 'operator', ${now}
    FROM ${targets(table, changes, alias)} WHERE ${changed} ON CONFLICT DO NOTHING`)
}

function countEvents(changes: string): Query {
  return query(sql`SELECT 1 FROM json_each(${changes}) AS change WHERE ${was('event_id')} IN (SELECT id FROM events)`)
}

function endDeliveries(changes: string, now: UnixMs): Query {
  return query(sql`UPDATE webhook_deliveries SET ${gone(now)} WHERE state = 'pending' AND endpoint_id IN (
    SELECT ${was('id')} FROM json_each(${changes}) AS change WHERE ${was('deleted_at')} IS NOT NULL)`)
}

/** Returns the captured columns of the restored rows, by ID. Rows that no longer exist are missing. */
export async function readRestored(
  database: Database,
  table: RecoveredTable,
  rows: readonly CapturedRow[],
): Promise<Map<string, Row>> {
  const { key, columns } = CAPTURED[table]
  const list = JSON.stringify(rows.map(({ id, environment_id }) => ({ id, environment_id })))
  const { found } = await sendBatch(database, {
    found: query<Row>(sql`SELECT ${columns} FROM ${raw(table)} WHERE (${raw(key.join(', '))}) IN (
      SELECT ${join(key.map((name) => was(name)))} FROM json_each(${list}) AS change)`),
  })
  return new Map(found.map((row) => [String(row.id), row]))
}
