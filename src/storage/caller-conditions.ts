import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import { type Caller, type Change, isChanging, type Need, permissionsFor } from './caller.ts'
import { changeDeadline, type Database, type UnixMs } from './database.ts'
import { USE_GRANULARITY_MS } from './last-use.ts'

declare const isScope: unique symbol
/**
 * SQL for a FROM clause. Its table `caller` has one row if the caller is valid, and no row otherwise. Only this file
 * can create a `Scope`.
 */
export type Scope = Sql & { readonly [isScope]: true }

/** A session ends after this time of inactivity. */
export const SESSION_REST_MS = 30 * 60_000
/** A session ends after this time, even if it is in use. */
export const SESSION_LIFETIME_MS = 12 * 60 * 60_000

/** Condition: the session has neither ended nor expired, by D1's clock. Its API key is not checked. */
export const activeSession = raw(`sessions.ended_at IS NULL
  AND sessions.last_used_at > unixepoch('subsec') * 1000 - ${SESSION_REST_MS}
  AND sessions.created_at > unixepoch('subsec') * 1000 - ${SESSION_LIFETIME_MS}
  AND (session_expires_at IS NULL OR session_expires_at > unixepoch('subsec') * 1000)`)

/** Condition: the API key is neither revoked nor expired, by D1's clock. */
export const activeKey = raw(`revoked_at IS NULL
  AND (key_expires_at IS NULL OR key_expires_at > unixepoch('subsec') * 1000)`)

/** Condition: the row of `api_keys` is the caller's API key. */
export function ownKey({ digest, apiKeyId }: Caller): Sql {
  return apiKeyId === undefined ? sql`digest = ${digest}` : sql`id = ${apiKeyId}`
}

/**
 * Condition: the API key has no IP ranges, or one of them contains the caller's IP address. `allowed_ips` has the
 * prefix of each range as a text of 0 and 1.
 */
function withinRanges({ addressBits = '' }: Caller): Sql {
  return sql`(allowed_ips IS NULL OR EXISTS (SELECT 1 FROM json_each(allowed_ips) WHERE instr(${addressBits}, value) = 1))`
}

/** Condition: the API key has the right `needs`. An unknown permission grants no right. */
function mayDo(needs: Need): Sql {
  const all = isChanging(needs) ? `permissions IS NULL AND access = 'write'` : 'permissions IS NULL'
  const some = permissionsFor(needs).map((permission) => `instr(permissions, '"${permission}"')`)
  return raw(`(${[all, ...some].join(' OR ')})`)
}

/**
 * Returns the scope of a caller. It has no rows unless the caller is active, has an allowed IP address, and has the right
 * that `needs` names. If `needs` is null, another statement of the batch must check the right. Set `inTimeOf` for the
 * statement that decides whether a change is made: after the deadline of that database, the scope has no rows.
 */
export function scopeOf(caller: Caller, needs: Need | null, inTimeOf: Database | null = null): Scope {
  const conditions = [isActive(caller)]
  if (needs) conditions.push(mayDo(needs))
  if (needs && isChanging(needs) && caller.environmentId !== undefined)
    conditions.push(sql`api_keys.environment_id = ${caller.environmentId}`)
  if (inTimeOf) conditions.push(inTime(inTimeOf))
  return scopeWhere(caller, conditions)
}

/**
 * Returns the scope for a statement that depends on the deciding statement of the batch. This scope does not check
 * again whether the caller is active, because a key that expires between two statements would then leave half of a
 * change.
 */
export function dependentScope(caller: Caller, needs: Need | null): Scope {
  return scopeWhere(caller, needs ? [mayDo(needs)] : [])
}

/**
 * Returns the scope for the verdict on a change: the caller must be active, or the change must have been made. After a
 * lost response the batch is sent again, and by then the API key may have been revoked.
 */
export function scopeOfChange(change: Change): Scope {
  return scopeWhere(change.caller, [sql`(${isActive(change.caller)} OR ${eventExists(change)})`])
}

/** Condition: the caller is active and its IP address is allowed. */
function isActive(caller: Caller): Sql {
  const session = caller.kind === 'session' ? sql` AND ${activeSession}` : empty
  return sql`${activeKey} AND ${withinRanges(caller)}${session}`
}

function scopeWhere(caller: Caller, conditions: Sql[]): Scope {
  const source =
    caller.kind === 'api_key'
      ? sql`(SELECT id, name, access, permissions, environment_id, last_used_at, NULL AS session_id, NULL AS person
          FROM api_keys WHERE ${join([ownKey(caller), ...conditions], ' AND ')}) AS caller`
      : sql`(SELECT api_keys.id, name, access, permissions, api_keys.environment_id, sessions.last_used_at, sessions.id AS session_id,
          session_person AS person
          FROM sessions JOIN api_keys ON api_keys.id = sessions.api_key_id
          WHERE ${join([sql`sessions.digest = ${caller.digest}`, ...conditions], ' AND ')}) AS caller`
  return source as Scope
}

/** Condition: `changeDeadline` has not passed by D1's clock. A batch that arrives later must change nothing. */
export function inTime(database: Database): Sql {
  return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** SQL for the ID of the caller's environment. Another part of the statement must check the caller. */
export function environmentOf(caller: Caller): Sql {
  return sql`(SELECT environment_id FROM ${dependentScope(caller, null)})`
}

/** Condition: the row belongs to the caller's environment. */
export function inEnvironmentOf(scope: Scope): Sql {
  return sql`environment_id = (SELECT environment_id FROM ${scope})`
}

/** Condition: the change was made, because its event exists. */
export function eventExists(change: Change): Sql {
  return sql`EXISTS (SELECT 1 FROM events WHERE id = ${change.eventId})`
}

/** Condition: the environment is frozen, so no credentials can be created. */
export function isFrozen(environmentId: Sql): Sql {
  return sql`EXISTS (SELECT 1 FROM environments WHERE id = ${environmentId} AND frozen_at IS NOT NULL)`
}

/**
 * Condition: the event exists, and its environment has no later event of these types. Without this condition, a retry
 * could undo a later change.
 */
export function isLatest(eventId: string, types: readonly string[]): Sql {
  return sql`EXISTS (SELECT 1 FROM events AS own WHERE own.id = ${eventId} AND NOT EXISTS (
    SELECT 1 FROM events AS later WHERE later.environment_id = own.environment_id AND later.seq > own.seq
    AND later.type IN (${raw(types.map((type) => `'${type}'`).join(', '))})))`
}

/** Condition: the event of a change to an environment exists, and no later event changed the environment. */
export function isLatestOfEnvironment(eventId: string): Sql {
  return isLatest(eventId, ['environment.updated', 'environment.frozen', 'environment.unfrozen'])
}

/** Condition: no use was recorded within the last minute, and the deadline has not passed. */
export function useDue(database: Database, now: UnixMs): Sql {
  return sql`(last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS}) AND ${inTime(database)}`
}
