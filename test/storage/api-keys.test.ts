import { env } from 'cloudflare:workers'
import sql from 'sql-template-tag'
import { describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import { createCallerKey, keyRow, renameCallerKey, revokeCallerKey } from '../../src/storage/api-keys.ts'
import type { Change } from '../../src/storage/caller.ts'
import { sendBatch } from '../../src/storage/database.ts'
import { findApiKey, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { listCallers } from '../../src/storage/sessions.ts'
import { touchCaller } from '../../src/storage/statements.ts'
import { call, newApiKey, operatorDatabase } from '../api.ts'
import { counted, failingAt } from '../faults/wrapped.ts'
import { callerOf, changeBy, type Key, rowsOf, tooLate } from './changes.ts'

const MINUTE = 60_000
const NOW = Date.now()
const lastUse = async (id: string) => (await findApiKey(operatorDatabase(), { id }))?.lastUsedAt

/** As another isolate would, which has touched nothing yet. */
async function touch(digest: Awaited<ReturnType<typeof newApiKey>>['digest'], now: number): Promise<void> {
  await sendBatch(operatorDatabase(), { touch: touchCaller(operatorDatabase(), { kind: 'api_key', digest }, now) })
}

test('the first request of an API key records the use after the response', async () => {
  const { id, apiKey } = await newApiKey({ access: 'read' })
  expect(await lastUse(id)).toBeNull()
  const before = Date.now()
  const counter = counted(env.DB)
  let atResponse = 0
  const onAnswer = () => {
    atResponse = counter.trips
  }
  await call(apiKey, 'GET', '/connect/applications', { bindings: { DB: counter.database }, onAnswer })
  expect(atResponse).toBe(1)
  expect(counter.trips).toBe(2)
  expect(await lastUse(id)).toBeGreaterThanOrEqual(before)
})

test('further requests of an API key within the minute make one D1 request each, which only reads', async () => {
  const { apiKey } = await newApiKey()
  await call(apiKey, 'GET', '/connect/applications')
  const counter = counted(env.DB)
  for (const path of ['/connect/applications', '/connect/applications/unknown']) {
    await call(apiKey, 'GET', path, { bindings: { DB: counter.database } })
  }
  expect(counter.trips).toBe(2)
  expect(counter.sql.filter((sql) => !/^\s*SELECT/.test(sql))).toEqual([])
})

test('ten concurrent first requests of an API key are recorded as one use', async () => {
  const { apiKey } = await newApiKey()
  const counter = counted(env.DB)
  const bindings = { DB: counter.database }
  await Promise.all(Array.from({ length: 10 }, () => call(apiKey, 'GET', '/connect/applications', { bindings })))
  expect(counter.sql.filter((sql) => /^\s*UPDATE/.test(sql))).toHaveLength(1)
})

test('the last use of an API key is recorded at most once a minute, and never moves back', async () => {
  const { id, digest } = await newApiKey()
  const now = Date.now()
  await touch(digest, now)
  await touch(digest, now + MINUTE - 1)
  await touch(digest, now - MINUTE)
  expect(await lastUse(id)).toBe(now)
  await touch(digest, now + MINUTE)
  expect(await lastUse(id)).toBe(now + MINUTE)
})

test('an isolate records the next use of an API key after a minute', async () => {
  const { id, apiKey } = await newApiKey()
  await call(apiKey, 'GET', '/connect/applications')
  const first = (await lastUse(id)) ?? 0
  vi.useFakeTimers({ toFake: ['Date'], now: first + MINUTE })
  await call(apiKey, 'GET', '/connect/applications')
  vi.useRealTimers()
  expect(await lastUse(id)).toBe(first + MINUTE)
})

test('a request succeeds although the use of its API key cannot be recorded, and the next request records a use', async () => {
  const { id, apiKey } = await newApiKey()
  const failing = failingAt(env.DB, /^\s*UPDATE api_keys/, new Error('D1_ERROR: Exceeded maximum DB size.'))
  const bindings = { DB: failing.database }
  expect((await call(apiKey, 'GET', '/connect/applications', { bindings })).status).toBe(200)
  expect(failing.failures).toBe(1)
  expect(await lastUse(id)).toBeNull()
  await call(apiKey, 'GET', '/connect/applications')
  expect(await lastUse(id)).not.toBeNull()
})

test('a revoked API key records no use, and a second revocation does not change the time of the first', async () => {
  const { id, digest } = await newApiKey()
  const revoked = await revokeApiKey(operatorDatabase(), id, 1_000)
  expect(revoked).toMatchObject({ id, revokedAt: 1_000, lastUsedAt: null })
  expect(await revokeApiKey(operatorDatabase(), id, 2_000)).toEqual(revoked)
  await touch(digest, Date.now())
  expect(await lastUse(id)).toBeNull()
  expect(await revokeApiKey(operatorDatabase(), 'api_key_unknown', 1_000)).toBeNull()
})

describe.each([
  ['renaming', { name: 'new', revoked_at: null }, 'api_key.updated'],
  ['revoking', { name: 'test', revoked_at: NOW }, 'api_key.revoked'],
] as const)('%s an API key', (what, changed, type) => {
  const unchanged = { name: 'test', revoked_at: null }

  const change = (caller: Key, id: string, now = NOW, database = operatorDatabase()) => {
    const made = changeBy(callerOf(caller), now)
    return what === 'renaming' ? renameCallerKey(database, made, id, 'new') : revokeCallerKey(database, made, id)
  }
  const rowOf = async ({ id }: Key) => (await rowsOf(sql`SELECT name, revoked_at FROM api_keys WHERE id = ${id}`))[0]
  const typesOf = async ({ environmentId }: Key) =>
    (await rowsOf(sql`SELECT type FROM events WHERE environment_id = ${environmentId}`)).map((row) => row.type)

  /** A key that changes another one. */
  async function newKeys() {
    const owner = await newApiKey()
    return { owner, key: await newApiKey({ environmentId: owner.environmentId }) }
  }

  test(`${what} an API key twice succeeds, records one event, and changes no other key`, async () => {
    const { owner, key } = await newKeys()
    for (const now of [NOW, NOW + 1])
      expect(await change(owner, key.id, now)).toMatchObject({ granted: null, identity: { apiKeyId: owner.id } })
    expect([await rowOf(key), await rowOf(owner)]).toEqual([changed, unchanged])
    expect(await typesOf(owner)).toEqual([type])
  })

  test(`${what} an API key after the deadline is refused, and changes nothing`, async () => {
    const { owner, key } = await newKeys()
    const late = await tooLate((database) => change(owner, key.id, NOW, database))
    expect(late).toMatchObject({ refused: 'service_unavailable' })
    expect([await rowOf(key), await typesOf(owner)]).toEqual([unchanged, []])
  })

  test(`${what} an API key is refused to a read-only key and to a key of another environment`, async () => {
    const { owner, key } = await newKeys()
    const reader = await newApiKey({ environmentId: owner.environmentId, access: 'read' })
    expect(await change(reader, key.id)).toMatchObject({ refused: 'forbidden' })
    const stranger = await newApiKey()
    for (const id of [key.id, 'api_key_unknown'])
      expect(await change(stranger, id)).toMatchObject({ refused: 'entity_not_found' })
    expect([await rowOf(key), await typesOf(owner), await typesOf(stranger)]).toEqual([unchanged, [], []])
  })
})

test('a retried renaming does not undo another one that was made in between', async () => {
  const owner = await newApiKey()
  const rename = (change: Change, name: string) => renameCallerKey(operatorDatabase(), change, owner.id, name)
  const first = changeBy(callerOf(owner), NOW)
  expect(await rename(first, 'first')).toMatchObject({ granted: null })
  expect(await rename(changeBy(callerOf(owner), NOW), 'second')).toMatchObject({ granted: null })
  expect(await rename(first, 'first')).toMatchObject({ refused: 'service_unavailable' })
  expect(await rowsOf(sql`SELECT name FROM api_keys WHERE id = ${owner.id}`)).toEqual([{ name: 'second' }])
})

describe('creating an API key', () => {
  const requestOf = async (form: string) => ({
    ...{ digest: await sha256(form), requestDigest: await sha256('request'), prefix: 'sk' },
    salt: await sha256('salt'),
  })

  async function create(owner: Key, form = crypto.randomUUID(), database = operatorDatabase()) {
    const id = newId('api_key', NOW)
    const key = { id, name: 'new', digest: await sha256(id), access: 'read' as const }
    const change = changeBy(callerOf(owner), NOW)
    return { id, outcome: await createCallerKey(database, change, key, await requestOf(form)) }
  }
  const keysOf = async ({ environmentId }: Key) =>
    (await rowsOf(sql`SELECT id FROM api_keys WHERE environment_id = ${environmentId} AND name <> 'filler'`)).map(
      ({ id }) => id,
    )

  test('a form that is sent twice creates one API key, and records one event', async () => {
    const owner = await newApiKey()
    const { id, outcome } = await create(owner, owner.id)
    expect(outcome).toMatchObject({ granted: null })
    expect((await create(owner, owner.id)).outcome).toMatchObject({ refused: 'idempotency_key_reused' })
    expect((await keysOf(owner)).toSorted()).toEqual([owner.id, id].toSorted())
    expect(await findApiKey(operatorDatabase(), { id })).toMatchObject({ name: 'new', access: 'read', createdAt: NOW })
    const events = sql`SELECT type, data ->> 'id' AS id FROM events WHERE environment_id = ${owner.environmentId}`
    expect(await rowsOf(events)).toEqual([{ type: 'api_key.created', id }])
  })

  test.each<[string, (owner: Key) => Promise<unknown>, string]>([
    [
      'the environment is frozen',
      (owner) => rowsOf(sql`UPDATE environments SET frozen_at = 1 WHERE id = ${owner.environmentId}`),
      'environment_frozen',
    ],
    [
      'the key that creates it has an expiry',
      (owner) => rowsOf(sql`UPDATE api_keys SET key_expires_at = 9e15 WHERE id = ${owner.id}`),
      'forbidden',
    ],
    [
      'the environment has 100 active keys',
      ({ environmentId }) =>
        rowsOf(sql`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
          INSERT INTO api_keys (id, environment_id, name, digest, access, created_at)
          SELECT ${environmentId} || i, ${environmentId}, 'filler', randomblob(32), 'read', 1 FROM n`),
      'api_key_limit_reached',
    ],
  ])('an API key is not created if %s', async (_, prepare, refused) => {
    const owner = await newApiKey()
    await prepare(owner)
    expect((await create(owner)).outcome).toMatchObject({ refused })
    expect(await keysOf(owner)).toEqual([owner.id])
  })
})

test('an API key with a malformed IP range is not stored', () => {
  const key = { id: 'x', name: 'x', digest: new Uint8Array(32), access: 'read' as const, createdAt: NOW }
  expect(() => keyRow({ ...key, allowedIps: ['192.0.2.1/8'] })).toThrow('an IP range is bits_after_prefix')
})

test('the list of API keys has the name, the limits and the times of each key, and says which key is the caller’s', async () => {
  const limits = { permissions: ['events:read' as const], allowedIps: ['192.0.2.0/24'], expiresAt: NOW + MINUTE }
  const owner = await newApiKey({ name: 'owner' })
  const { environmentId } = owner
  const limited = await newApiKey({ environmentId, name: 'limited', access: 'read', ...limits })
  const revoked = await newApiKey({ environmentId })
  await newApiKey()
  await revokeApiKey(operatorDatabase(), revoked.id, NOW)
  await rowsOf(sql`UPDATE api_keys SET created_at = 1, last_used_at = 2 WHERE id = ${owner.id}`)
  await rowsOf(sql`UPDATE api_keys SET created_at = 3, leak_reported_at = 4 WHERE id = ${limited.id}`)
  const none = { permissions: null, allowedIps: null, expiresAt: null }
  const times = { lastUsedAt: null, leakReportedAt: null }
  expect(await listCallers(operatorDatabase(), callerOf(owner))).toMatchObject({
    granted: {
      keys: [
        { id: owner.id, name: 'owner', access: 'write', ...none, ...times, createdAt: 1, lastUsedAt: 2, isOwn: true },
        {
          id: limited.id,
          name: 'limited',
          access: 'read',
          ...limits,
          ...times,
          createdAt: 3,
          leakReportedAt: 4,
          isOwn: false,
        },
      ],
    },
  })
})
