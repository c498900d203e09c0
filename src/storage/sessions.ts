import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { SESSION_REST_MS } from './api-keys.ts'
import type { Database, Row } from './database.ts'
import { type Access, admit, ask, type Caller, note, type Outcome, select } from './statements.ts'

/** Who can call, as those of the same environment see it: API keys, and the dashboard's sessions. */
export interface CallerKey {
  readonly id: string
  readonly name: string
  readonly access: Access
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms, to the minute; null until it is used. */
  readonly lastUsedAt: number | null
  /** Whether it is the caller, or the caller is a session of it. */
  readonly isOwn: boolean
}

export interface Session {
  readonly id: string
  /** Of the API key that signed in. */
  readonly keyName: string
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms, to the minute. */
  readonly lastUsedAt: number
  /** Whether it is the caller. */
  readonly isOwn: boolean
}

export interface NewSession {
  readonly id: string
  readonly digest: Bytes
  /** Unix ms. */
  readonly createdAt: number
}

/** Signs the holder of an API key in. */
export function startSession(
  database: Database,
  caller: Caller,
  { id, digest, createdAt }: NewSession,
): Promise<Outcome<null, 'service_unavailable'>> {
  const row = { id, api_key_id: sql`caller.id`, digest, created_at: createdAt, last_used_at: createdAt }
  return ask(
    database,
    caller,
    'read',
    [admit(database, caller, row), select(caller, sql`1`, 'sessions', sql`sessions.id = ${id}`)],
    ([, found]) => (found?.length === 1 ? { granted: null } : { refused: 'service_unavailable' }),
  )
}

/** Signs the calling session out. */
export function endOwnSession(database: Database, caller: Caller, now: number): Promise<Outcome<null>> {
  const isOwn = sql`digest = ${caller.digest} AND ended_at IS NULL`
  return ask(database, caller, 'read', [note(caller, 'read', 'sessions', sql`ended_at = ${now}`, isOwn)], () => ({
    granted: null,
  }))
}

/** The keys of the environment that work, oldest first, and who is signed in at `now` (unix ms), the latest first. */
export function listCallers(
  database: Database,
  caller: Caller,
  now: number,
): Promise<Outcome<{ keys: CallerKey[]; sessions: Session[] }>> {
  const isCaller = sql`digest = ${caller.digest} OR id = (SELECT api_key_id FROM sessions WHERE digest = ${caller.digest})`
  const keyName = sql`(SELECT name FROM api_keys WHERE api_keys.id = api_key_id)`
  return ask(
    database,
    caller,
    'read',
    [
      select(
        caller,
        sql`id, name, access, created_at, last_used_at, (${isCaller}) AS is_own`,
        'api_keys',
        sql`revoked_at IS NULL`,
        sql`ORDER BY created_at, id`,
      ),
      select(
        caller,
        sql`id, ${keyName} AS key_name, created_at, last_used_at, digest = ${caller.digest} AS is_own`,
        'sessions',
        isGoing(now),
        sql`ORDER BY created_at DESC, id DESC`,
      ),
    ],
    ([keys = [], sessions = []]) => ({
      granted: { keys: keys.map(keyFromRow), sessions: sessions.map(sessionFromRow) },
    }),
  )
}

/** Revokes a key of the caller's environment, and so ends its sessions. Doing it again is a success. */
export function revokeCallerKey(
  database: Database,
  caller: Caller,
  id: string,
  now: number,
): Promise<Outcome<null, 'entity_not_found'>> {
  return endCaller(database, caller, 'api_keys', 'revoked_at', id, now)
}

/** Ends a session of the caller's environment. Doing it again is a success. */
export function endSession(
  database: Database,
  caller: Caller,
  id: string,
  now: number,
): Promise<Outcome<null, 'entity_not_found'>> {
  return endCaller(database, caller, 'sessions', 'ended_at', id, now)
}

/** Asks who calls first: whoever ends itself is gone afterwards. */
function endCaller(
  database: Database,
  caller: Caller,
  table: 'api_keys' | 'sessions',
  endedAt: 'revoked_at' | 'ended_at',
  id: string,
  now: number,
): Promise<Outcome<null, 'entity_not_found'>> {
  const isIt = sql`id = ${id}`
  return ask(
    database,
    caller,
    'write',
    [
      select(caller, sql`1`, table, isIt),
      note(caller, 'write', table, sql`${raw(endedAt)} = ${now}`, sql`${isIt} AND ${raw(endedAt)} IS NULL`),
    ],
    ([found = []]) => (found.length > 0 ? { granted: null } : { refused: 'entity_not_found' }),
  )
}

/** Going on: neither ended nor at rest for too long, with a key that works. */
function isGoing(now: number): Sql {
  return sql`ended_at IS NULL AND last_used_at > ${now - SESSION_REST_MS}
    AND EXISTS (SELECT 1 FROM api_keys WHERE api_keys.id = api_key_id AND revoked_at IS NULL)`
}

function keyFromRow(row: Row): CallerKey {
  return {
    id: row.id as string,
    name: row.name as string,
    access: row.access as Access,
    createdAt: row.created_at as number,
    lastUsedAt: row.last_used_at as number | null,
    isOwn: row.is_own === 1,
  }
}

function sessionFromRow(row: Row): Session {
  return {
    id: row.id as string,
    keyName: row.key_name as string,
    createdAt: row.created_at as number,
    lastUsedAt: row.last_used_at as number,
    isOwn: row.is_own === 1,
  }
}
