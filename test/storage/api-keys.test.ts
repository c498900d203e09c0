import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { sendBatch } from '../../src/storage/database.ts'
import { rememberUse, touchCaller } from '../../src/storage/last-use.ts'
import { findApiKey, revokeApiKey } from '../../src/storage/operator/api-keys.ts'
import { call, newApiKey, operatorDatabase } from '../api.ts'
import { counted, withBatch } from '../faults/wrapped.ts'

const MINUTE = 60_000
const lastUse = async (id: string) => (await findApiKey(operatorDatabase(), { id }))?.lastUsedAt

type Digest = Awaited<ReturnType<typeof newApiKey>>['digest']
const caller = (digest: Digest) => ({ kind: 'api_key' as const, digest })

/** As another isolate would, which has recorded nothing yet. */
async function use(digest: Digest, now: number): Promise<void> {
  const touch = touchCaller(operatorDatabase(), caller(digest), now)
  if (touch) await sendBatch(operatorDatabase(), { touch })
}

test('the first request of a key notes its use, along with it', async () => {
  const { id, apiKey } = await newApiKey({ access: 'read' })
  expect(await lastUse(id)).toBeNull()
  const before = Date.now()
  const counter = counted(env.DB)
  await call(apiKey, 'GET', '/connect/applications', { bindings: { DB: counter.database } })
  expect(counter.trips).toBe(1)
  expect(await lastUse(id)).toBeGreaterThanOrEqual(before)
})

test('what follows within the minute is a batch that only reads', async () => {
  const { apiKey } = await newApiKey()
  await call(apiKey, 'GET', '/connect/applications')
  const counter = counted(env.DB)
  for (const path of ['/connect/applications', '/connect/applications/nobody']) {
    await call(apiKey, 'GET', path, { bindings: { DB: counter.database } })
  }
  expect(counter.sql.filter((sql) => !/^\s*SELECT/.test(sql))).toEqual([])
})

test('a use is noted at most once a minute, and never backwards, whoever notes it', async () => {
  const { id, digest } = await newApiKey()
  const now = Date.now()
  await use(digest, now)
  await use(digest, now + MINUTE - 1)
  await use(digest, now - MINUTE)
  expect(await lastUse(id)).toBe(now)
  await use(digest, now + MINUTE)
  expect(await lastUse(id)).toBe(now + MINUTE)
})

test('an isolate that has noted a use does so again after a minute', async () => {
  const { digest } = await newApiKey()
  const now = Date.now()
  rememberUse(caller(digest), now)
  expect(touchCaller(operatorDatabase(), caller(digest), now + MINUTE - 1)).toBeNull()
  expect(touchCaller(operatorDatabase(), caller(digest), now + MINUTE)).not.toBeNull()
})

test('a use that cannot be noted refuses nobody', async () => {
  const { id, apiKey } = await newApiKey()
  const DB = withBatch(env.DB, (real, statements) => {
    // Where it stands, only the first attempt has it.
    if (statements.length > 4) throw new Error('D1_ERROR: Exceeded maximum DB size.')
    return real(statements)
  })
  expect((await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })).status).toBe(200)
  expect(await lastUse(id)).toBeNull()
})

test('a revoked key is not used, and stays revoked as it was', async () => {
  const { id, digest } = await newApiKey()
  const revoked = await revokeApiKey(operatorDatabase(), id, 1_000)
  expect(revoked).toMatchObject({ id, revokedAt: 1_000, lastUsedAt: null })
  expect(await revokeApiKey(operatorDatabase(), id, 2_000)).toEqual(revoked)
  await use(digest, Date.now())
  expect(await lastUse(id)).toBeNull()
  expect(await revokeApiKey(operatorDatabase(), 'api_key_nobody', 1_000)).toBeNull()
})
