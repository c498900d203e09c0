import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import { type Caller, type Change, isChanging, type Need, permissionsFor } from './caller.ts'
import { changeDeadline, type Database, type UnixMs } from './database.ts'
import { USE_GRANULARITY_MS } from './last-use.ts'

declare const isScope: unique symbol
/** SQL for the caller as a source of rows, named `caller`: one row, or none. Only this file can make one. */
export type Scope = Sql & { readonly [isScope]: true }

/** A session ends after this time without a use. */
export const SESSION_REST_MS = 30 * 60_000
/** A session ends after this time, even in use. */
export const SESSION_LIFETIME_MS = 12 * 60 * 60_000

/** Condition: the session's own row says that it is active. The clock is the database's. */
export const activeSession = raw(`sessions.ended_at IS NULL
  AND sessions.last_used_at > unixepoch('subsec') * 1000 - ${SESSION_REST_MS}
  AND sessions.created_at > unixepoch('subsec') * 1000 - ${SESSION_LIFETIME_MS}
  AND (session_expires_at IS NULL OR session_expires_at > unixepoch('subsec') * 1000)`)

/** Condition: the key is neither revoked nor expired. The clock is the database's. */
export const activeKey = raw(`revoked_at IS NULL
  AND (key_expires_at IS NULL OR key_expires_at > unixepoch('subsec') * 1000)`)

/** Condition: the row of `api_keys` is the caller's. */
export function ownKey({ digest, apiKeyId }: Caller): Sql {
  return apiKeyId === undefined ? sql`digest = ${digest}` : sql`id = ${apiKeyId}`
}

/**
 * Condition: the key has no IP ranges, or one of them has the caller's address. `allowed_ips` has the bits of each
 * range.
 */
function withinRanges({ addressBits = '' }: Caller): Sql {
  return sql`(allowed_ips IS NULL OR EXISTS (SELECT 1 FROM json_each(allowed_ips) WHERE instr(${addressBits}, value) = 1))`
}

/** Condition: the key has the right `needs`. An unknown permission allows nothing. */
function mayDo(needs: Need): Sql {
  const all = isChanging(needs) ? `permissions IS NULL AND access = 'write'` : 'permissions IS NULL'
  const some = permissionsFor(needs).map((permission) => `instr(permissions, '"${permission}"')`)
  return raw(`(${[all, ...some].join(' OR ')})`)
}

/**
 * SQL for the caller: one row if the caller is active, calls from an allowed address and has the right `needs`. Pass null
 * as `needs` if another statement of the batch checks the right. The statement that decides a batch passes `inTimeOf`, so
 * that it has no effect after that database's deadline.
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
 * SQL for the caller, for a statement whose own condition depends on the statement that decides the batch. It reads no
 * clock, because a key that expires between two statements must not leave half of a change.
 */
export function dependentScope(caller: Caller, needs: Need | null): Scope {
  return scopeWhere(caller, needs ? [mayDo(needs)] : [])
}

/**
 * SQL for the caller of a change: one row if the caller is active, or if the change has been made. After a lost response
 * the batch is sent again, and the key may have been revoked since.
 */
export function scopeOfChange(change: Change): Scope {
  return scopeWhere(change.caller, [sql`(${isActive(change.caller)} OR ${eventExists(change)})`])
}

/** Condition: the caller is active and calls from an allowed address. */
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

/** Condition: the deadline has not passed by D1's clock, so that a stalled batch changes nothing. */
export function inTime(database: Database): Sql {
  return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** SQL for the ID of the caller's environment, within a statement that checks the caller. */
export function environmentOf(caller: Caller): Sql {
  return sql`(SELECT environment_id FROM ${dependentScope(caller, null)})`
}

/** Condition: the row is of the caller's environment. */
export function inEnvironmentOf(scope: Scope): Sql {
  return sql`environment_id = (SELECT environment_id FROM ${scope})`
}

/** Condition: the change was made, because its event exists. */
export function eventExists(change: Change): Sql {
  return sql`EXISTS (SELECT 1 FROM events WHERE id = ${change.eventId})`
}

/** Condition: the environment is frozen, so that it issues no credentials. */
export function isFrozen(environmentId: Sql): Sql {
  return sql`EXISTS (SELECT 1 FROM environments WHERE id = ${environmentId} AND frozen_at IS NOT NULL)`
}

/**
 * Condition: the event exists, and no later one of these types in its environment, so that a retry does not undo a later
 * change.
 */
export function isLatest(eventId: string, types: readonly string[]): Sql {
  return sql`EXISTS (SELECT 1 FROM events AS own WHERE own.id = ${eventId} AND NOT EXISTS (
    SELECT 1 FROM events AS later WHERE later.environment_id = own.environment_id AND later.seq > own.seq
    AND later.type IN (${raw(types.map((type) => `'${type}'`).join(', '))})))`
}

/** Condition: the event of a change of an environment exists, and no later change has been made. */
export function isLatestOfEnvironment(eventId: string): Sql {
  return isLatest(eventId, ['environment.updated', 'environment.frozen', 'environment.unfrozen'])
}

/** Condition: the last use was not recorded within the last minute, and the deadline has not passed. */
export function useDue(database: Database, now: UnixMs): Sql {
  return sql`(last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS}) AND ${inTime(database)}`
}
