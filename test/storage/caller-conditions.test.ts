import { env } from 'cloudflare:workers'
import sql, { join, raw, type Sql } from 'sql-template-tag'
import { expect, test } from 'vitest'
import { type Bytes, sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import { addressBits } from '../../src/credential/ip-ranges.ts'
import type { Caller, Change, Need } from '../../src/storage/caller.ts'
import {
  activeKey,
  activeSession,
  dependentScope,
  environmentOf,
  eventExists,
  inEnvironmentOf,
  inTime,
  isFrozen,
  isLatest,
  isLatestOfEnvironment,
  scopeOf,
  scopeOfChange,
  useDue,
} from '../../src/storage/caller-conditions.ts'
import type { Database } from '../../src/storage/database.ts'
import { newApiKey, operatorDatabase } from '../api.ts'

/** The conditions about callers, each on rows that differ in one column. D1's clock stands still within a statement. */

async function rowsOf<Row>(query: Sql): Promise<Row[]> {
  const { results } = await env.DB.prepare(query.sql)
    .bind(...query.values)
    .all<Row>()
  return results
}

/** Whether a condition is true for a row of `table` with these columns. */
async function holds(condition: Sql, table: string, columns: Record<string, Sql>): Promise<boolean> {
  const row = join(Object.entries(columns).map(([name, value]) => sql`${value} AS ${raw(name)}`))
  const rows = await rowsOf(sql`SELECT * FROM (SELECT ${row}) AS ${raw(table)} WHERE ${condition}`)
  return rows.length === 1
}

const NULL = sql`NULL`
/** Milliseconds before D1's time; after it if they are negative. */
const ago = (ms: number) => sql`unixepoch('subsec') * 1000 - ${raw(String(ms))}`
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

const inFuture = (): Database => operatorDatabase()
const inPast = (): Database => ({ ...operatorDatabase(), deadline: 0 })

/** The callers that a scope has. */
const callersOf = (caller: Caller, needs: Need | null, inTimeOf: Database | null = null) =>
  rowsOf<{ id: string; session_id: string | null }>(sql`SELECT * FROM ${scopeOf(caller, needs, inTimeOf)}`)
const finds = async (caller: Caller, needs: Need | null, inTimeOf: Database | null = null) =>
  (await callersOf(caller, needs, inTimeOf)).length === 1

const apiKey = (digest: Bytes): Caller => ({ kind: 'api_key', digest })

async function newSession(key: { id: string; environmentId: string }) {
  const id = newId('session', Date.now())
  const digest = await sha256(id)
  await env.DB.prepare(
    `INSERT INTO sessions (environment_id, id, api_key_id, digest, created_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?)`,
  )
    .bind(key.environmentId, id, key.id, digest, Date.now(), Date.now())
    .run()
  return { id, caller: { kind: 'session', digest } as Caller }
}

const noExpiry = { session_expires_at: NULL }
test.each([
  ['just started', { ...noExpiry, ended_at: NULL, last_used_at: ago(0), created_at: ago(0) }, true],
  [
    'last used a moment less than 30 minutes ago',
    { ...noExpiry, ended_at: NULL, last_used_at: ago(30 * MINUTE_MS - 1), created_at: ago(HOUR_MS) },
    true,
  ],
  [
    'last used 30 minutes ago',
    { ...noExpiry, ended_at: NULL, last_used_at: ago(30 * MINUTE_MS), created_at: ago(HOUR_MS) },
    false,
  ],
  [
    'started a moment less than 12 hours ago',
    { ...noExpiry, ended_at: NULL, last_used_at: ago(0), created_at: ago(12 * HOUR_MS - 1) },
    true,
  ],
  ['started 12 hours ago', { ...noExpiry, ended_at: NULL, last_used_at: ago(0), created_at: ago(12 * HOUR_MS) }, false],
  ['ended', { ...noExpiry, ended_at: ago(1), last_used_at: ago(0), created_at: ago(0) }, false],
  [
    'expires in a moment',
    { session_expires_at: ago(-1), ended_at: NULL, last_used_at: ago(0), created_at: ago(0) },
    true,
  ],
  ['expires now', { session_expires_at: ago(0), ended_at: NULL, last_used_at: ago(0), created_at: ago(0) }, false],
])(
  'a session is active until it ends, expires, is unused for 30 minutes, or is 12 hours old: %s',
  async (_, columns, expected) => {
    expect(await holds(activeSession, 'sessions', columns)).toBe(expected)
  },
)

test.each([
  ['neither revoked nor with an expiry', { revoked_at: NULL, key_expires_at: NULL }, true],
  ['expires in a moment', { revoked_at: NULL, key_expires_at: ago(-1) }, true],
  ['expires now', { revoked_at: NULL, key_expires_at: ago(0) }, false],
  ['revoked', { revoked_at: ago(1), key_expires_at: NULL }, false],
  ['revoked before its expiry', { revoked_at: ago(1), key_expires_at: ago(-1) }, false],
])('an API key is active until it is revoked or expires: %s', async (_, columns, expected) => {
  expect(await holds(activeKey, 'api_keys', columns)).toBe(expected)
})

test.each([
  ['never used', NULL, true],
  ['used a minute ago', sql`${1_000_000 - MINUTE_MS}`, true],
  ['used a moment less than a minute ago', sql`${1_000_000 - MINUTE_MS + 1}`, false],
])(
  'before the deadline, a use is recorded if the credential was not used in the last minute: %s',
  async (_, lastUsedAt, expected) => {
    expect(await holds(useDue(inFuture(), 1_000_000), 'api_keys', { last_used_at: lastUsedAt })).toBe(expected)
    expect(await holds(useDue(inPast(), 1_000_000), 'api_keys', { last_used_at: lastUsedAt })).toBe(false)
  },
)

test('the condition for the deadline of a request is true before the deadline, and false after it', async () => {
  expect(await holds(inTime(inFuture()), 'anything', { a: NULL })).toBe(true)
  expect(await holds(inTime(inPast()), 'anything', { a: NULL })).toBe(false)
})

test('the digest of an API key finds the key, and the digest of a session finds the session with its API key', async () => {
  const key = await newApiKey()
  const session = await newSession(key)
  await newSession(await newApiKey())
  expect(await callersOf(apiKey(key.digest), null)).toMatchObject([{ id: key.id, session_id: null }])
  expect(await callersOf(session.caller, null)).toMatchObject([{ id: key.id, session_id: session.id }])
  expect(await callersOf({ ...session.caller, kind: 'api_key' }, null)).toEqual([])
  expect(await callersOf({ ...apiKey(key.digest), kind: 'session' }, null)).toEqual([])
  const unknown = await sha256('unknown')
  expect(await callersOf(apiKey(unknown), null)).toEqual([])
  expect(await callersOf({ kind: 'session', digest: unknown }, null)).toEqual([])
})

test('for a person, an active API key is found by its ID, and the digest of the caller is not compared', async () => {
  const [key, other] = [await newApiKey(), await newApiKey()]
  const caller: Caller = { ...apiKey(await sha256('assertion')), apiKeyId: key.id }
  const found = [{ id: key.id, session_id: null }]
  expect(await callersOf(caller, 'write')).toMatchObject(found)
  expect(await callersOf({ ...caller, digest: other.digest }, 'write')).toMatchObject(found)
  expect(await callersOf({ ...caller, apiKeyId: newId('api_key', 0) }, 'write')).toEqual([])
  await env.DB.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(key.id).run()
  expect(await callersOf(caller, 'write')).toEqual([])
})

test.each([
  'api_keys SET revoked_at = 1',
  'api_keys SET key_expires_at = 1',
  'sessions SET ended_at = 1',
  'sessions SET last_used_at = 1',
])('a session is not found after UPDATE %s', async (change) => {
  const key = await newApiKey()
  const { caller } = await newSession(key)
  expect(await finds(caller, null)).toBe(true)
  await env.DB.prepare(`UPDATE ${change} WHERE environment_id = ?`).bind(key.environmentId).run()
  expect(await finds(caller, null)).toBe(false)
  expect(await finds(apiKey(key.digest), null)).toBe(change.startsWith('sessions'))
})

test('a key with IP ranges and its session are found only from an IP address in one of the ranges', async () => {
  const key = await newApiKey({ allowedIps: ['192.0.2.0/24', '2001:db8::/32'] } as Parameters<typeof newApiKey>[0])
  for (const caller of [apiKey(key.digest), (await newSession(key)).caller]) {
    for (const [address, expected] of [
      ['192.0.2.1', true],
      ['2001:db8::1', true],
      ['192.0.3.1', false],
      ['2001:db9::1', false],
      [null, false],
    ] as const)
      expect(await finds({ ...caller, addressBits: addressBits(address) }, null), `${address}`).toBe(expected)
    expect(await finds(caller, null), 'no address').toBe(false)
  }
})

test.each<[KeyRights: object, allowed: readonly Need[]]>([
  [{ access: 'read' }, ['read', 'secrets:read', 'secrets:verify', 'events:read']],
  [
    { access: 'write' },
    ['read', 'write', 'secrets:read', 'applications:write', 'secrets:write', 'secrets:verify', 'events:read'],
  ],
  [{ permissions: ['secrets:verify'] }, ['secrets:verify']],
  [{ permissions: ['events:read'] }, ['events:read']],
  [{ permissions: ['applications:write'] }, ['secrets:read', 'applications:write']],
  [{ permissions: ['secrets:write', 'events:read'] }, ['secrets:read', 'secrets:write', 'events:read']],
])('a key with %j is found for statements that need one of %j, and for no others', async (rights, allowed) => {
  const key = await newApiKey(rights as Parameters<typeof newApiKey>[0])
  const all: Need[] = [
    'read',
    'write',
    'secrets:read',
    'applications:write',
    'secrets:write',
    'secrets:verify',
    'events:read',
  ]
  const found: Need[] = []
  for (const needs of all) if (await finds(apiKey(key.digest), needs)) found.push(needs)
  expect(found).toEqual(all.filter((needs) => allowed.includes(needs)))
  expect(await finds(apiKey(key.digest), null)).toBe(true)
})

test('a caller is not found for a change by a form of another environment, but is found for a read', async () => {
  const key = await newApiKey()
  const own = { ...apiKey(key.digest), environmentId: key.environmentId }
  const other = { ...own, environmentId: (await newApiKey()).environmentId }
  expect([await finds(own, 'write'), await finds(own, 'read'), await finds(own, null)]).toEqual([true, true, true])
  expect([await finds(other, 'write'), await finds(other, 'read'), await finds(other, null)]).toEqual([
    false,
    true,
    true,
  ])
})

test('the deciding statement of a batch finds no caller after the deadline', async () => {
  const caller = apiKey((await newApiKey()).digest)
  expect(await finds(caller, 'write', inFuture())).toBe(true)
  expect(await finds(caller, 'write', inPast())).toBe(false)
})

test('a dependent statement finds a caller that has expired since the deciding statement, and checks the caller’s permission', async () => {
  const key = await newApiKey({ access: 'read', permissions: ['secrets:write'], allowedIps: ['203.0.113.0/24'] })
  const session = await newSession(key)
  await env.DB.batch([
    env.DB.prepare('UPDATE api_keys SET key_expires_at = 1 WHERE id = ?').bind(key.id),
    env.DB.prepare('UPDATE sessions SET last_used_at = 1 WHERE id = ?').bind(session.id),
  ])
  const found = async (caller: Caller, needs: Need | null) =>
    (await rowsOf<{ id: string; session_id: string | null }>(sql`SELECT * FROM ${dependentScope(caller, needs)}`)).map(
      ({ id, session_id }) => [id, session_id],
    )
  for (const [caller, sessionId] of [
    [apiKey(key.digest), null],
    [session.caller, session.id],
  ] as const) {
    expect(await finds(caller, null)).toBe(false)
    expect(await found(caller, null)).toEqual([[key.id, sessionId]])
    expect(await found(caller, 'secrets:write')).toEqual([[key.id, sessionId]])
    expect(await found(caller, 'applications:write')).toEqual([])
  }
  expect(await found(apiKey(await sha256('unknown')), null)).toEqual([])
})

test('the verdict on a change finds its caller while the caller is active, and afterwards if the change was made', async () => {
  const key = await newApiKey({ allowedIps: ['203.0.113.0/24'] })
  const session = await newSession(key)
  const [made = ''] = await newEvents(key.environmentId, ['a'])
  const notMade = newId('event', 0)
  const found = async (caller: Caller, eventId: string) =>
    (await rowsOf(sql`SELECT id FROM ${scopeOfChange({ caller, eventId } as Change)}`)).length === 1
  const bits = addressBits('203.0.113.7')
  const [ofKey, ofSession] = [apiKey(key.digest), session.caller].map((caller) => ({ ...caller, addressBits: bits }))
  const expectFound = async (isKeyActive: boolean, isSessionActive: boolean) => {
    for (const [caller, isActive] of [
      [ofKey, isKeyActive],
      [ofSession, isSessionActive],
    ] as [Caller, boolean][]) {
      expect(await found(caller, notMade)).toBe(isActive)
      expect(await found(caller, made)).toBe(true)
      const elsewhere = { ...caller, addressBits: addressBits('192.0.2.1') }
      expect([await found(elsewhere, notMade), await found(elsewhere, made)]).toEqual([false, true])
    }
  }
  await expectFound(true, true)
  await env.DB.prepare('UPDATE sessions SET ended_at = 1 WHERE id = ?').bind(session.id).run()
  await expectFound(true, false)
  await env.DB.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(key.id).run()
  await expectFound(false, false)
  expect(await found(apiKey(await sha256('unknown')), made)).toBe(false)
})

test("the condition for the caller's environment is false for rows of another environment", async () => {
  const key = await newApiKey()
  const other = await newApiKey()
  const caller = apiKey(key.digest)
  expect(await rowsOf(sql`SELECT ${environmentOf(caller)} AS id`)).toEqual([{ id: key.environmentId }])
  const rows = sql`SELECT id FROM api_keys WHERE ${inEnvironmentOf(scopeOf(caller, 'read'))}`
  expect(await rowsOf(rows)).toEqual([{ id: key.id }])
  expect(other.environmentId).not.toBe(key.environmentId)
})

test('the condition for a frozen environment is true only for an environment whose frozen_at is set', async () => {
  const { environmentId } = await newApiKey()
  const { environmentId: other } = await newApiKey()
  await env.DB.prepare('UPDATE environments SET frozen_at = 1 WHERE id = ?').bind(other).run()
  expect(await holds(isFrozen(sql`${environmentId}`), 'anything', { a: NULL })).toBe(false)
  expect(await holds(isFrozen(sql`${other}`), 'anything', { a: NULL })).toBe(true)
})

/** Stores events of these types, in their order, and returns their IDs. */
async function newEvents(environmentId: string, types: readonly string[]): Promise<string[]> {
  const ids: string[] = []
  for (const type of types) {
    const id = newId('event', Date.now())
    ids.push(id)
    await env.DB.prepare(
      `INSERT INTO events (environment_id, id, type, data, created_at, request_id) VALUES (?, ?, ?, '{}', ?, 'r')`,
    )
      .bind(environmentId, id, type, Date.now())
      .run()
  }
  return ids
}

test('the condition for the latest event is false if a later event of the environment has one of the given types', async () => {
  const { environmentId } = await newApiKey()
  const { environmentId: other } = await newApiKey()
  const isTrue = (condition: Sql) => holds(condition, 'anything', { a: NULL })
  const [first = '', second = '', third = ''] = await newEvents(environmentId, ['a', 'b', 'c'])
  const ofOther = await newEvents(other, ['a', 'b'])
  expect(await isTrue(isLatest(first, ['a']))).toBe(true)
  expect(await isTrue(isLatest(first, ['a', 'b']))).toBe(false)
  expect(await isTrue(isLatest(first, ['a', 'c']))).toBe(false)
  expect(await isTrue(isLatest(second, ['a', 'b']))).toBe(true)
  expect(await isTrue(isLatest(third, ['a', 'b', 'c']))).toBe(true)
  expect(await isTrue(isLatest(newId('event', 0), ['a']))).toBe(false)
  expect(await isTrue(isLatest(ofOther[0] ?? '', ['b']))).toBe(false)
  const change = { eventId: first } as Parameters<typeof eventExists>[0]
  expect(await isTrue(eventExists(change))).toBe(true)
  expect(await isTrue(eventExists({ ...change, eventId: newId('event', 0) }))).toBe(false)
})

test.each(['environment.updated', 'environment.frozen', 'environment.unfrozen'])(
  'the condition for the latest change of an environment is false after a later event %s',
  async (later) => {
    const { environmentId } = await newApiKey()
    const [id = ''] = await newEvents(environmentId, ['environment.updated', 'api_key.created'])
    const condition = isLatestOfEnvironment(id)
    expect(await holds(condition, 'anything', { a: NULL })).toBe(true)
    await newEvents(environmentId, [later])
    expect(await holds(condition, 'anything', { a: NULL })).toBe(false)
  },
)
