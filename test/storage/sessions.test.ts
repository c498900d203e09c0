import { env } from 'cloudflare:workers'
import sql from 'sql-template-tag'
import { describe, expect, test } from 'vitest'
import { type Bytes, sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import type { Caller, Origin } from '../../src/storage/caller.ts'
import type { Database } from '../../src/storage/database.ts'
import {
  endOwnSession,
  endSession,
  listCallers,
  type NewSession,
  type Session,
  startSession,
} from '../../src/storage/sessions.ts'
import { newApiKey, operatorDatabase } from '../api.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

/** Sessions of API keys and of people, beside those of others. */

const NOW = Date.now()
const MINUTE_MS = 60_000
const PERSON = { email: 'ada@example.com', expiresAt: NOW + 60 * MINUTE_MS }

interface Options {
  readonly now?: number
  readonly person?: NewSession['person']
  readonly replaces?: Bytes | null
  readonly origin?: Origin | null
  readonly database?: Database
}

async function start(
  key: Key,
  { now = NOW, person = null, replaces = null, origin = null, database = operatorDatabase() }: Options = {},
) {
  const id = newId('session', now)
  const digest = await sha256(id)
  const change = changeBy(callerOf(key), now, origin)
  const outcome = await startSession(database, change, { id, digest, person }, replaces)
  return { id, digest, outcome, eventId: change.eventId, caller: { kind: 'session', digest } as Caller }
}

interface Row {
  readonly createdAt: number
  readonly person?: string
  readonly endedAt?: number
}

/** Stores sessions of a key, with IDs in their order. */
async function store(key: Key, rows: readonly Row[]): Promise<string[]> {
  const ids = rows.map((_, i) => `session_${key.id}_${String(i).padStart(2, '0')}_${crypto.randomUUID()}`)
  await env.DB.batch(
    rows.map(({ createdAt, person = null, endedAt = null }, i) =>
      env.DB.prepare(
        `INSERT INTO sessions (environment_id, id, api_key_id, digest, session_person, created_at, last_used_at, ended_at)
         VALUES (?, ?, ?, randomblob(32), ?, ?, ?, ?)`,
      ).bind(key.environmentId, ids[i], key.id, person, createdAt, createdAt, endedAt),
    ),
  )
  return ids
}

const several = (count: number, row: (i: number) => Row) => Array.from({ length: count }, (_, i) => row(i))

/** The ends of an environment's sessions, by their IDs. */
async function endsOf({ environmentId }: Key): Promise<Record<string, number | null>> {
  const rows = await rowsOf<{ id: string; ended_at: number | null }>(
    sql`SELECT id, ended_at FROM sessions WHERE environment_id = ${environmentId}`,
  )
  return Object.fromEntries(rows.map(({ id, ended_at }) => [id, ended_at]))
}

async function eventsOf({ environmentId }: Key) {
  const rows = await rowsOf<{ data: string }>(
    sql`SELECT id, type, data, actor_type, caller_id, session_id, actor_person FROM events
      WHERE environment_id = ${environmentId} ORDER BY seq`,
  )
  return rows.map((row) => ({ ...row, data: JSON.parse(row.data) }))
}

async function listed(caller: Caller): Promise<readonly Session[]> {
  const outcome = await listCallers(operatorDatabase(), caller)
  return outcome.refused === undefined ? outcome.granted.sessions : expect.unreachable()
}

/** Gives a key a name of its own. */
async function rename({ id }: Key): Promise<string> {
  await rowsOf(sql`UPDATE api_keys SET name = ${`name of ${id}`} WHERE id = ${id}`)
  return `name of ${id}`
}

describe('starting a session', () => {
  test('the eleventh session of an API key ends the oldest session of this key, and no session of another key or of a person', async () => {
    const key = await newApiKey()
    const colleague = await newApiKey({ environmentId: key.environmentId })
    const own = await store(
      key,
      several(10, (i) => ({ createdAt: NOW - 100 + i })),
    )
    const [ended = ''] = await store(key, [{ createdAt: NOW - 1, endedAt: 5 }])
    await store(
      key,
      several(10, (i) => ({ createdAt: NOW - 200 + i, person: 'ada@example.com' })),
    )
    await store(
      key,
      several(10, (i) => ({ createdAt: NOW - 50 + i, person: 'bob@example.com' })),
    )
    await store(
      colleague,
      several(10, (i) => ({ createdAt: NOW - 50 + i })),
    )
    const before = await endsOf(key)
    const { id } = await start(key)
    expect(await endsOf(key)).toEqual({ ...before, [id]: null, [own[0] ?? '']: NOW, [ended]: 5 })
  })

  test('the eleventh session of a person ends the oldest session of this person and API key', async () => {
    const key = await newApiKey()
    const colleague = await newApiKey({ environmentId: key.environmentId })
    const person = PERSON.email
    const own = await store(
      key,
      several(10, (i) => ({ createdAt: NOW - 100 + i, person })),
    )
    await store(
      key,
      several(10, (i) => ({ createdAt: NOW - 200 + i })),
    )
    await store(
      colleague,
      several(10, (i) => ({ createdAt: NOW - 200 + i, person })),
    )
    const before = await endsOf(key)
    const { id } = await start(key, { person: PERSON })
    expect(await endsOf(key)).toEqual({ ...before, [id]: null, [own[0] ?? '']: NOW })
  })

  test('among sessions that started in the same millisecond, the session with the lowest ID ends first', async () => {
    const key = await newApiKey()
    const ids = await store(
      key,
      several(10, () => ({ createdAt: NOW - 100 })),
    )
    const before = await endsOf(key)
    const { id } = await start(key)
    expect(await endsOf(key)).toEqual({ ...before, [id]: null, [ids[0] ?? '']: NOW })
  })

  test('a new session ends only the session that it replaces, even if the replaced session is in another environment', async () => {
    const key = await newApiKey()
    const other = await newApiKey()
    const replaced = await start(other)
    const kept = await start(other)
    const { id, outcome } = await start(key, { replaces: replaced.digest })
    expect(outcome).toMatchObject({ granted: null, identity: { apiKeyId: key.id } })
    expect(await endsOf(other)).toEqual({ [replaced.id]: NOW, [kept.id]: null })
    expect(await endsOf(key)).toEqual({ [id]: null })
  })

  test('a sign-in after its deadline starts no session, ends no session, and records no event', async () => {
    const key = await newApiKey()
    const first = await start(key)
    const [before, events] = [await endsOf(key), await eventsOf(key)]
    const late = await tooLate((database) => start(key, { database, replaces: first.digest }))
    expect(late.outcome).toMatchObject({ refused: 'service_unavailable' })
    expect([await endsOf(key), await eventsOf(key)]).toEqual([before, events])
  })

  test('a key without the permission to read applications cannot start a session', async () => {
    const key = await newApiKey({ access: 'read', permissions: ['events:read'] })
    expect((await start(key)).outcome).toMatchObject({ refused: 'forbidden' })
    expect([await endsOf(key), await eventsOf(key)]).toEqual([{}, []])
  })

  test('a key with only the permission secrets:write can start a session', async () => {
    const key = await newApiKey({ access: 'read', permissions: ['secrets:write'] })
    const { id, outcome } = await start(key)
    expect(outcome).toMatchObject({ granted: null })
    expect(await endsOf(key)).toEqual({ [id]: null })
  })

  test('the actor of a sign-in event is the API key, or the session of the person who signs in', async () => {
    const key = await newApiKey()
    await newApiKey({ environmentId: key.environmentId })
    const name = await rename(key)
    const [byKey, byPerson] = [await start(key), await start(key, { person: PERSON })]
    const event = (session: { id: string; eventId: string }) => ({
      id: session.eventId,
      type: 'session.created',
      data: { object: 'session', id: session.id, api_key: { id: key.id, name } },
      caller_id: key.id,
    })
    expect(await eventsOf(key)).toEqual([
      { ...event(byKey), actor_type: 'api_key', session_id: null, actor_person: null },
      { ...event(byPerson), actor_type: 'session', session_id: byPerson.id, actor_person: PERSON.email },
    ])
  })
})

describe('ending a session', () => {
  /** An environment with a session that ends, and one that does not. */
  async function newSessions() {
    const key = await newApiKey()
    const [ending, kept] = [await start(key), await start(key)]
    return { key, ending, kept, events: await eventsOf(key) }
  }

  test('a session can end itself, with one event, and ends no other session', async () => {
    const { key, ending, kept, events } = await newSessions()
    const name = await rename(key)
    const change = changeBy(ending.caller, NOW + 1)
    expect(await endOwnSession(operatorDatabase(), change)).toMatchObject({ granted: null })
    expect(await endsOf(key)).toEqual({ [ending.id]: NOW + 1, [kept.id]: null })
    expect((await eventsOf(key)).slice(events.length)).toMatchObject([
      {
        id: change.eventId,
        type: 'session.revoked',
        data: { object: 'session', id: ending.id, api_key: { id: key.id, name } },
        session_id: ending.id,
      },
    ])
    expect(await endOwnSession(operatorDatabase(), changeBy(ending.caller, NOW + 2))).toEqual({
      refused: 'unauthorized',
    })
  })

  test('a session that tries to end itself after the deadline continues, and records no event', async () => {
    const { key, ending, kept, events } = await newSessions()
    const outcome = await tooLate((database) => endOwnSession(database, changeBy(ending.caller, NOW)))
    expect(outcome).toMatchObject({ refused: 'service_unavailable' })
    expect(await endsOf(key)).toEqual({ [ending.id]: null, [kept.id]: null })
    expect(await eventsOf(key)).toEqual(events)
  })

  test('another session of the same key can end a session, and a second try records no event', async () => {
    const { key, ending, kept, events } = await newSessions()
    const end = (now: number) => endSession(operatorDatabase(), changeBy(kept.caller, now), ending.id)
    for (const now of [NOW + 1, NOW + 2]) expect(await end(now)).toMatchObject({ granted: null })
    expect(await endsOf(key)).toEqual({ [ending.id]: NOW + 1, [kept.id]: null })
    expect((await eventsOf(key)).slice(events.length)).toMatchObject([
      { type: 'session.revoked', data: { id: ending.id }, session_id: kept.id },
    ])
  })

  test('a session can end itself by its ID', async () => {
    const { key, ending, kept } = await newSessions()
    const outcome = await endSession(operatorDatabase(), changeBy(ending.caller, NOW + 1), ending.id)
    expect(outcome).toMatchObject({ granted: null })
    expect(await endsOf(key)).toEqual({ [ending.id]: NOW + 1, [kept.id]: null })
  })

  test('an attempt to end an unknown session, or one of another environment, finds and changes nothing', async () => {
    const { key, ending, kept, events } = await newSessions()
    const stranger = await newApiKey()
    await start(stranger)
    const before = [await endsOf(stranger), await eventsOf(stranger)]
    for (const id of [ending.id, 'session_unknown']) {
      const outcome = await endSession(operatorDatabase(), changeBy(callerOf(stranger), NOW), id)
      expect(outcome).toMatchObject({ refused: 'entity_not_found' })
    }
    expect([await endsOf(key), await eventsOf(key)]).toEqual([{ [ending.id]: null, [kept.id]: null }, events])
    expect([await endsOf(stranger), await eventsOf(stranger)]).toEqual(before)
  })

  test('a read-only key cannot end a session of another key', async () => {
    const { key, ending, kept, events } = await newSessions()
    const reader = await newApiKey({ environmentId: key.environmentId, access: 'read' })
    const outcome = await endSession(operatorDatabase(), changeBy(callerOf(reader), NOW), ending.id)
    expect(outcome).toMatchObject({ refused: 'forbidden' })
    expect([await endsOf(key), await eventsOf(key)]).toEqual([{ [ending.id]: null, [kept.id]: null }, events])
  })

  test('a session that another caller tries to end after the deadline continues, and no event is recorded', async () => {
    const { key, ending, kept, events } = await newSessions()
    const outcome = await tooLate((database) => endSession(database, changeBy(kept.caller, NOW), ending.id))
    expect(outcome).toMatchObject({ refused: 'service_unavailable' })
    expect([await endsOf(key), await eventsOf(key)]).toEqual([{ [ending.id]: null, [kept.id]: null }, events])
  })
})

describe('the list of sessions', () => {
  test('each session in the list has its API key, its person, its times and the origin of its sign-in', async () => {
    const key = await newApiKey()
    const colleague = await newApiKey({ environmentId: key.environmentId })
    const [name, nameOfColleague] = [await rename(key), await rename(colleague)]
    const origin = { address: '192.0.2.1', country: 'AT', userAgent: 'browser', clientRequestId: null }
    const own = await start(key, { origin })
    const other = await start(colleague, { now: NOW - 1, person: PERSON })
    expect(await listed(own.caller)).toEqual([
      {
        id: own.id,
        keyName: name,
        person: null,
        createdAt: NOW,
        lastUsedAt: NOW,
        expiresAt: null,
        isOwn: true,
        address: '192.0.2.1',
        country: 'AT',
        userAgent: 'browser',
      },
      {
        id: other.id,
        keyName: nameOfColleague,
        person: PERSON.email,
        createdAt: NOW - 1,
        lastUsedAt: NOW - 1,
        expiresAt: PERSON.expiresAt,
        isOwn: false,
        address: null,
        country: null,
        userAgent: null,
      },
    ])
  })

  test('the list has the origin of a sign-in even among 60 other events of the same milliseconds', async () => {
    const key = await newApiKey()
    // Later than every event so far, so that the event of the sign-in has this time.
    const [latest] = await rowsOf<{ seq: number }>(sql`SELECT coalesce(max(seq), 0) AS seq FROM events`)
    const now = Math.max(NOW, Math.ceil((latest?.seq ?? 0) / 1000)) + 1000
    await rowsOf(sql`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
      INSERT INTO events (seq, environment_id, id, type, data, created_at)
      SELECT ${now * 1000} - i, ${key.environmentId}, ${key.id} || i, iif(i % 2, 'session.created', 'other'), '{}', ${now} FROM n`)
    const origin = { address: '192.0.2.1', country: 'AT', userAgent: 'browser', clientRequestId: null }
    const { caller, eventId } = await start(key, { now, origin })
    expect(await rowsOf(sql`SELECT seq FROM events WHERE id = ${eventId}`)).toEqual([{ seq: now * 1000 }])
    expect(await listed(caller)).toMatchObject([{ address: '192.0.2.1', country: 'AT', userAgent: 'browser' }])
  })

  test('the list has the active sessions of active keys of the environment, newest first', async () => {
    const key = await newApiKey()
    const { environmentId } = key
    const [revoked, expired] = [await newApiKey({ environmentId }), await newApiKey({ environmentId })]
    await rowsOf(sql`UPDATE api_keys SET revoked_at = 1 WHERE id = ${revoked.id}`)
    await rowsOf(sql`UPDATE api_keys SET key_expires_at = 1 WHERE id = ${expired.id}`)
    const [first, second, third] = await store(key, [
      { createdAt: NOW - 2 },
      { createdAt: NOW - 1 },
      { createdAt: NOW - 1 },
      { createdAt: NOW - 1, endedAt: NOW },
      { createdAt: NOW - 31 * MINUTE_MS },
    ])
    for (const gone of [revoked, expired, await newApiKey()]) await store(gone, [{ createdAt: NOW - 1 }])
    expect((await listed(callerOf(key))).map(({ id }) => id)).toEqual([third, second, first])
  })
})
