import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { Access, Caller, Change } from './caller.ts'
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
  AND sessions.created_at > unixepoch('subsec') * 1000 - ${SESSION_LIFETIME_MS}`)

/**
 * The caller, if it is active and has this access: with `inTimeOf`, only before that database's deadline. The statement
 * that decides a whole batch needs it.
 */
export function scopeOf(caller: Caller, needs: Access = 'read', inTimeOf: Database | null = null): Scope {
  const conditions = [sql`revoked_at IS NULL`]
  if (needs === 'write') conditions.push(sql`access = 'write'`)
  if (needs === 'write' && caller.environmentId !== undefined)
    conditions.push(sql`api_keys.environment_id = ${caller.environmentId}`)
  if (inTimeOf) conditions.push(inTime(inTimeOf))
  const where = join(conditions, ' AND ')
  const source =
    caller.kind === 'api_key'
      ? sql`(SELECT id, name, access, environment_id, last_used_at, NULL AS session_id
          FROM api_keys WHERE digest = ${caller.digest} AND ${where}) AS caller`
      : sql`(SELECT api_keys.id, name, access, api_keys.environment_id, sessions.last_used_at, sessions.id AS session_id
          FROM sessions JOIN api_keys ON api_keys.id = sessions.api_key_id
          WHERE sessions.digest = ${caller.digest} AND ${activeSession} AND ${where}) AS caller`
  return source as Scope
}

/** Condition: the deadline has not passed by D1's clock, so that a stalled batch changes nothing. */
function inTime(database: Database): Sql {
  return sql`unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** SQL for the ID of the caller's environment. */
export function environmentOf(caller: Caller): Sql {
  return sql`(SELECT environment_id FROM ${scopeOf(caller)})`
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
 * Condition: the event of a change of an environment exists, and no later change has been made, so that a retry does not
 * undo one.
 */
export function isLatestOfEnvironment(eventId: string): Sql {
  return sql`EXISTS (SELECT 1 FROM events AS own WHERE own.id = ${eventId} AND NOT EXISTS (
    SELECT 1 FROM events AS later WHERE later.environment_id = own.environment_id AND later.seq > own.seq
    AND later.type IN ('environment.updated', 'environment.frozen', 'environment.unfrozen')))`
}

/** Condition: the last use was not recorded within the last minute, and the deadline has not passed. */
export function useDue(database: Database, now: UnixMs): Sql {
  return sql`(last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS}) AND ${inTime(database)}`
}
