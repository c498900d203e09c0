import sql, { raw } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type CallerKey, callerKeyMapping, MAX_LISTED_CALLERS, selectCallerKeys } from './api-keys.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { flag, mapping } from './mapping.ts'
import { activeSession, environmentOf, insertSession, select, selectVerdict, updateQuietly } from './statements.ts'

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

const { fromRow } = mapping<Session>('sessions', {
  id: 'id',
  keyName: 'key_name',
  createdAt: 'created_at',
  lastUsedAt: 'last_used_at',
  isOwn: ['is_own', flag],
})

/** An API key has at most this many sessions: a new one ends the oldest. */
const MAX_SESSIONS_PER_KEY = 10

/** Starts a session of the calling API key. It replaces the session with the digest `replaces`, of whatever key. */
export function startSession(
  database: Database,
  caller: Caller,
  { id, digest, createdAt }: NewSession,
  replaces: Bytes | null,
): Promise<Outcome<null, 'service_unavailable'>> {
  const row = { id, api_key_id: sql`caller.id`, digest, created_at: createdAt, last_used_at: createdAt }
  const ofKey = sql`api_key_id = (SELECT api_key_id FROM sessions WHERE id = ${id}) AND ended_at IS NULL`
  const newest = sql`SELECT id FROM sessions WHERE environment_id = ${environmentOf(caller)} AND ${ofKey}
    ORDER BY created_at DESC, id DESC LIMIT ${raw(`${MAX_SESSIONS_PER_KEY}`)}`
  const ended = sql`ended_at = ${createdAt}`
  return runBatch(
    database,
    caller,
    'read',
    {
      started: insertSession(database, caller, row),
      limited: updateQuietly(caller, 'read', 'sessions', ended, sql`${ofKey} AND id NOT IN (${newest})`),
      ...(replaces && {
        replaced: updateQuietly(
          { kind: 'session', digest: replaces },
          'read',
          'sessions',
          ended,
          sql`digest = ${replaces} AND EXISTS (SELECT 1 FROM sessions WHERE id = ${id})`,
        ),
      }),
      verdict: selectVerdict<{ is_started: 0 | 1 }>(
        caller,
        sql`EXISTS (SELECT 1 FROM sessions WHERE id = ${id} AND environment_id = caller.environment_id) AS is_started`,
      ),
    },
    ({ verdict }) => (verdict.is_started ? { granted: null } : { refused: 'service_unavailable' }),
  )
}

/** Ends the calling session. */
export function endOwnSession(database: Database, caller: Caller, now: UnixMs): Promise<Outcome<null>> {
  const ended = updateQuietly(caller, 'read', 'sessions', sql`ended_at = ${now}`, sql`digest = ${caller.digest}`)
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
  const where = sql`id = ${id} AND ended_at IS NULL`
  const ended = updateQuietly(caller, 'write', 'sessions', sql`ended_at = ${now}`, where)
  return runBatch(database, caller, 'write', { found, ended }, ({ found }) =>
    found.length > 0 ? { granted: null } : { refused: 'entity_not_found' },
  )
}

/** The callers of the environment: its active API keys, oldest first, and its active sessions, newest first. */
export function listCallers(
  database: Database,
  caller: Caller,
): Promise<Outcome<{ keys: CallerKey[]; sessions: Session[] }>> {
  const columns = sql`id, (SELECT name FROM api_keys WHERE api_keys.id = api_key_id) AS key_name,
    created_at, last_used_at, digest = ${caller.digest} AS is_own`
  const active = sql`${activeSession} AND EXISTS (SELECT 1 FROM api_keys WHERE api_keys.id = api_key_id AND revoked_at IS NULL)`
  const newestFirst = sql`ORDER BY created_at DESC, id DESC LIMIT ${raw(`${MAX_LISTED_CALLERS}`)}`
  return runBatch(
    database,
    caller,
    'read',
    {
      keys: selectCallerKeys(caller),
      sessions: select<object>(caller, columns, 'sessions', active, newestFirst),
    },
    ({ keys, sessions }) => ({
      granted: { keys: keys.map(callerKeyMapping.fromRow), sessions: sessions.map(fromRow) },
    }),
  )
}
