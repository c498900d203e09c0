import { env } from 'cloudflare:workers'
import { expect, test, vi } from 'vitest'
import { sendBatch } from '../../src/storage/database.ts'
import { findApiKey, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { touchCaller } from '../../src/storage/statements.ts'
import { call, newApiKey, operatorDatabase } from '../api.ts'
import { counted, failingAt } from '../faults/wrapped.ts'

const MINUTE = 60_000
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
  expect(await revokeApiKey(operatorDatabase(), 'api_key_nobody', 1_000)).toBeNull()
})
