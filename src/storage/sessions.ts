import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type CallerKey, callerKeyMapping, MAX_LISTED_CALLERS, selectCallerKeys } from './api-keys.ts'
import { runBatch } from './batch.ts'
import type { Caller, Change, Need, Outcome } from './caller.ts'
import { activeKey, activeSession, environmentOf, eventExists } from './caller-conditions.ts'
import type { Database, UnixMs } from './database.ts'
import { recordAuditEvent } from './event-statements.ts'
import { flag, mapping } from './mapping.ts'
import { insertSession, SIGN_IN, type Statement, select, updateUnstamped } from './statements.ts'
import { selectVerdict } from './verdicts.ts'

/** A dashboard session. */
export interface Session {
  readonly id: string
  /** The name of the API key that signed in, or that the person uses. */
  readonly keyName: string
  /** The email address of a person who signed in through Cloudflare Access; null otherwise. */
  readonly person: string | null
  readonly createdAt: UnixMs
  /** The time of the last use, accurate to the minute. */
  readonly lastUsedAt: UnixMs
  /** The time when the sign-in at Cloudflare Access ends; null for other sessions. */
  readonly expiresAt: UnixMs | null
  /** True if the caller uses this session. */
  readonly isOwn: boolean
  /** The IP address, country and user agent of the sign-in. Each is null if it is unknown. */
  readonly address: string | null
  readonly country: string | null
  readonly userAgent: string | null
}

export interface NewSession {
  readonly id: string
  readonly digest: Bytes
  /** A person who signed in through Cloudflare Access. Absent or null if the session was started with an API key. */
  readonly person?: { readonly email: string; readonly expiresAt: UnixMs } | null
}

const { fromRow } = mapping<Session>('sessions', {
  id: 'id',
  keyName: 'key_name',
  person: 'session_person',
  createdAt: 'created_at',
  lastUsedAt: 'last_used_at',
  expiresAt: 'session_expires_at',
  isOwn: ['is_own', flag],
  address: 'address',
  country: 'country',
  userAgent: 'user_agent',
})

/**
 * Maximum number of events that are read to find the event of a sign-in. Several sessions can start in the same
 * millisecond.
 */
const MAX_SIGN_INS = 20

/** SQL for a column of the event that recorded a session's sign-in. */
const ofSignIn = (column: 'address' | 'country' | 'user_agent') => sql`(SELECT ${raw(column)} FROM (
  SELECT ${raw(column)}, data FROM events WHERE environment_id = sessions.environment_id AND type = 'session.created'
  AND seq >= sessions.created_at * 1000 ORDER BY seq LIMIT ${raw(`${MAX_SIGN_INS}`)}) WHERE data ->> 'id' = sessions.id)
  AS ${raw(column)}`

/** Maximum number of sessions of an API key, and of each person who uses the key. A new session ends the oldest one. */
const MAX_SESSIONS = 10

/** SQL for the JSON that represents a session in the data of its events. */
export const sessionSnapshot = sql`json_object('object', 'session', 'id', target.id,
  'api_key', (SELECT json_object('id', id, 'name', name) FROM api_keys WHERE id = target.api_key_id))`

/** SQL that joins a session, as `target`, to the row `caller`: of the same environment, not ended, and matching `where`. */
const joinSession = (where: Sql) =>
  sql`JOIN sessions AS target ON target.environment_id = caller.environment_id AND target.ended_at IS NULL AND ${where}`

/**
 * Starts a session for the calling API key, or for a person who uses the key. It also ends the session with the digest
 * `replaces`, even if that session belongs to a different key.
 */
export function startSession(
  database: Database,
  change: Change,
  { id, digest, person }: NewSession,
  replaces: Bytes | null,
): Promise<Outcome<null, 'service_unavailable'>> {
  const { caller, now } = change
  const row = {
    id,
    api_key_id: sql`caller.id`,
    digest,
    session_person: person?.email ?? null,
    session_expires_at: person?.expiresAt ?? null,
    created_at: now,
    last_used_at: now,
  }
  const ofSame = sql`api_key_id = (SELECT api_key_id FROM sessions WHERE id = ${id})
    AND session_person IS ${row.session_person} AND ended_at IS NULL`
  const newest = sql`SELECT id FROM sessions WHERE environment_id = ${environmentOf(caller)} AND ${ofSame}
    ORDER BY created_at DESC, id DESC LIMIT ${raw(`${MAX_SESSIONS}`)}`
  const ended = sql`ended_at = ${now}`
  // A person does not hold the API key. So the session is the actor of the event, which then names the person.
  const actor = person ? { ...change, caller: { ...caller, kind: 'session' as const, digest } } : change
  return runBatch(
    database,
    caller,
    SIGN_IN,
    {
      started: insertSession(database, caller, row),
      event: recordAuditEvent(
        null,
        actor,
        SIGN_IN,
        'session.created',
        sessionSnapshot,
        joinSession(sql`target.id = ${id}`),
      ),
      limited: updateUnstamped(caller, SIGN_IN, 'sessions', ended, sql`${ofSame} AND id NOT IN (${newest})`),
      ...(replaces && {
        replaced: updateUnstamped(
          { ...caller, kind: 'session', digest: replaces },
          SIGN_IN,
          'sessions',
          ended,
          sql`digest = ${replaces} AND ended_at IS NULL AND EXISTS (SELECT 1 FROM sessions WHERE id = ${id})`,
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
export function endOwnSession(database: Database, change: Change): Promise<Outcome<null, 'service_unavailable'>> {
  const { caller } = change
  const own = sql`target.digest = ${caller.digest}`
  return runBatch(
    database,
    caller,
    SIGN_IN,
    {
      event: recordAuditEvent(database, change, SIGN_IN, 'session.revoked', sessionSnapshot, joinSession(own)),
      ended: endIfRecorded(change, SIGN_IN, sql`digest = ${caller.digest}`),
    },
    ({ ended }) => (ended.length > 0 ? { granted: null } : { refused: 'service_unavailable' }),
  )
}

/** Ends a session of the caller's environment. Idempotent. */
export function endSession(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const { caller } = change
  const target = joinSession(sql`target.id = ${id}`)
  return runBatch(
    database,
    caller,
    'write',
    {
      // `found` is read before the change. A session that ends itself could not read it afterwards.
      found: select<{ ended_at: UnixMs | null }>(caller, sql`ended_at`, 'sessions', sql`id = ${id}`),
      event: recordAuditEvent(database, change, 'write', 'session.revoked', sessionSnapshot, target),
      ended: endIfRecorded(change, 'write', sql`id = ${id}`),
    },
    ({ found, ended }) => {
      if (!found[0]) return { refused: 'entity_not_found' }
      return found[0].ended_at === null && ended.length === 0 ? { refused: 'service_unavailable' } : { granted: null }
    },
  )
}

function endIfRecorded(change: Change, needs: Need, where: Sql): Statement<object> {
  const condition = sql`${where} AND ended_at IS NULL AND ${eventExists(change)}`
  return updateUnstamped(change.caller, needs, 'sessions', sql`ended_at = ${change.now}`, condition)
}

/** Returns the callers of the environment: its API keys, oldest first, and its active sessions, newest first. */
export function listCallers(
  database: Database,
  caller: Caller,
): Promise<Outcome<{ keys: CallerKey[]; sessions: Session[] }>> {
  const columns = sql`id, (SELECT name FROM api_keys WHERE api_keys.id = api_key_id) AS key_name,
    session_person, session_expires_at, created_at, last_used_at, digest = ${caller.digest} AS is_own,
    ${ofSignIn('address')}, ${ofSignIn('country')}, ${ofSignIn('user_agent')}`
  const active = sql`${activeSession} AND EXISTS (SELECT 1 FROM api_keys WHERE api_keys.id = api_key_id AND ${activeKey})`
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
