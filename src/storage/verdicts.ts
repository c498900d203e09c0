import sql, { empty, raw, type Sql } from 'sql-template-tag'
import type { Access, Caller, Change } from './caller.ts'
import { eventExists, type Scope, scopeOfChange } from './caller-conditions.ts'
import type { UnixMs } from './database.ts'
import { type Statement, selectCaller } from './statements.ts'

/** The columns about the caller, which every verdict has. */
export interface CallerRow {
  readonly caller_id: string
  readonly caller_name: string
  readonly access: Access
  /** JSON. */
  readonly permissions: string | null
  readonly environment_id: string
  readonly environment_name: string | null
  readonly frozen_at: UnixMs | null
  readonly session_id: string | null
  readonly caller_person: string | null
  readonly caller_last_used_at: UnixMs | null
}

/** The verdict on a change. */
export interface ChangeRow extends CallerRow {
  /** 1 if the change was made, because its event exists. */
  readonly is_done: 0 | 1
  /** 1 if a webhook endpoint is subscribed to the event. */
  readonly has_delivery: 0 | 1
}

/** A row of a LEFT JOIN. The ID is null if no row was found. */
export interface FoundRow {
  readonly id: string | null
}

/** The verdict on a change to a single row. */
export interface FoundChangeRow extends ChangeRow, FoundRow {}

/**
 * Selects the verdict: one row with the caller, and columns of the rows that `joined` joins to it. Returns no row if
 * the caller is unknown.
 */
export function selectVerdict<Columns>(
  caller: Caller,
  columns: Sql = empty,
  joined: Sql = empty,
  scope?: Scope,
): Statement<CallerRow & Columns> {
  const ofEnvironment = (column: 'name' | 'frozen_at') =>
    caller.kind === 'session'
      ? sql`(SELECT ${raw(column)} FROM environments WHERE id = caller.environment_id)`
      : sql`NULL`
  return selectCaller(
    caller,
    sql`caller.id AS caller_id, caller.name AS caller_name, caller.access, caller.permissions, caller.environment_id,
      ${ofEnvironment('name')} AS environment_name, ${ofEnvironment('frozen_at')} AS frozen_at, caller.session_id, caller.person AS caller_person,
      caller.last_used_at AS caller_last_used_at
      ${columns === empty ? empty : sql`, ${columns}`}`,
    joined,
    scope,
  )
}

/**
 * Condition: an active webhook endpoint of the environment is subscribed to events of this type. The default is the
 * caller's environment.
 */
export function wantedByWebhook(eventType: string | Sql, environmentId: Sql = raw('caller.environment_id')): Sql {
  return sql`EXISTS (SELECT 1 FROM webhook_endpoints WHERE webhook_endpoints.environment_id = ${environmentId}
    AND deleted_at IS NULL AND paused_at IS NULL AND (webhook_endpoints.events = '[]'
    OR ${eventType} IN (SELECT value FROM json_each(webhook_endpoints.events))))`
}

/** Selects the verdict on a change, with columns of the rows that `joined` joins to the caller. */
export function selectChangeVerdict<Verdict extends ChangeRow>(
  change: Change,
  eventType: string,
  columns: Sql,
  joined: Sql,
): Statement<Verdict> {
  const wanted = wantedByWebhook(eventType)
  return selectVerdict(
    change.caller,
    sql`${eventExists(change)} AS is_done, ${wanted} AND ${eventExists(change)} AS has_delivery, ${columns}`,
    joined,
    scopeOfChange(change),
  )
}
