import sql from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type CallerKey, callerKeyFromRow, selectCallerKeys } from './api-keys.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { SESSION_REST_MS } from './last-use.ts'
import { insertSession, select, touch } from './statements.ts'

/** A dashboard session. */
export interface Session {
  readonly id: string
  /** Of the API key that signed in. */
  readonly keyName: string
  readonly createdAt: UnixMs
  /** Accurate to the minute. */
  readonly lastUsedAt: UnixMs
  /** Whether it is the caller. */
  readonly isOwn: boolean
}

export interface NewSession {
  readonly id: string
  readonly digest: Bytes
  readonly createdAt: UnixMs
}

interface SessionRow {
  readonly id: string
  readonly key_name: string
  readonly created_at: UnixMs
  readonly last_used_at: UnixMs
  readonly is_own: 0 | 1
}

/** Starts a session of the calling API key. */
export function startSession(
  database: Database,
  caller: Caller,
  { id, digest, createdAt }: NewSession,
): Promise<Outcome<null, 'service_unavailable'>> {
  const row = { id, api_key_id: sql`caller.id`, digest, created_at: createdAt, last_used_at: createdAt }
  const started = insertSession(database, caller, row)
  const found = select(caller, sql`1`, 'sessions', sql`sessions.id = ${id}`)
  return runBatch(database, caller, 'read', { started, found }, ({ found }) =>
    found.length > 0 ? { granted: null } : { refused: 'service_unavailable' },
  )
}

/** Ends the calling session. */
export function endOwnSession(database: Database, caller: Caller, now: UnixMs): Promise<Outcome<null>> {
  const own = sql`digest = ${caller.digest} AND ended_at IS NULL`
  const ended = touch(caller, 'read', 'sessions', sql`ended_at = ${now}`, own)
  return runBatch(database, caller, 'read', { ended }, () => ({ granted: null }))
}

/** Ends a session of the caller's environment. Idempotent. */
export function endSession(
  database: Database,
  caller: Caller,
  id: string,
  now: UnixMs,
): Promise<Outcome<null, 'entity_not_found'>> {
  const found = select(caller, sql`1`, 'sessions', sql`id = ${id}`)
  const ended = touch(caller, 'write', 'sessions', sql`ended_at = ${now}`, sql`id = ${id} AND ended_at IS NULL`)
  return runBatch(database, caller, 'write', { found, ended }, ({ found }) =>
    found.length > 0 ? { granted: null } : { refused: 'entity_not_found' },
  )
}

/** The callers of the environment: its active API keys, oldest first, and its active sessions, newest first. */
export function listCallers(
  database: Database,
  caller: Caller,
  now: UnixMs,
): Promise<Outcome<{ keys: CallerKey[]; sessions: Session[] }>> {
  const columns = sql`id, (SELECT name FROM api_keys WHERE api_keys.id = api_key_id) AS key_name,
    created_at, last_used_at, digest = ${caller.digest} AS is_own`
  const active = sql`ended_at IS NULL AND last_used_at > ${now - SESSION_REST_MS}
    AND EXISTS (SELECT 1 FROM api_keys WHERE api_keys.id = api_key_id AND revoked_at IS NULL)`
  const newestFirst = sql`ORDER BY created_at DESC, id DESC`
  return runBatch(
    database,
    caller,
    'read',
    {
      keys: selectCallerKeys(caller),
      sessions: select<SessionRow>(caller, columns, 'sessions', active, newestFirst),
    },
    ({ keys, sessions }) => ({
      granted: { keys: keys.map(callerKeyFromRow), sessions: sessions.map(sessionFromRow) },
    }),
  )
}

function sessionFromRow(row: SessionRow): Session {
  return {
    id: row.id,
    keyName: row.key_name,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
    isOwn: row.is_own === 1,
  }
}
