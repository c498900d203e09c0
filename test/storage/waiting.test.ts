import { env } from 'cloudflare:workers'
import { expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, newApiKey, newApplication, send } from '../api.ts'
import { counted, withBatch } from '../faults/wrapped.ts'
import { secretsOf } from '../requests.ts'

/** As `MAX_WAITING`. */
const MAX_WAITING = 100

test('while a hundred requests wait for the database, another request is refused immediately, and succeeds afterwards', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {})
  const { apiKey } = await newApiKey()
  const { id, client_id } = await newApplication(apiKey)
  const created = (await call(apiKey, 'POST', secretsOf(id))).json
  const released = Promise.withResolvers<void>()
  let arrived = 0
  const allArrived = Promise.withResolvers<void>()
  const slow = withBatch(env.DB, async (real, statements) => {
    if (++arrived === MAX_WAITING) allArrived.resolve()
    await released.promise
    return real(statements)
  })
  const waiting = Array.from({ length: MAX_WAITING }, () =>
    call(apiKey, 'GET', '/events', { bindings: { DB: slow, REQUEST_BUDGET_MS: 30_000 } }),
  )
  await allArrived.promise

  const counter = counted(env.DB)
  const bindings = { DB: counter.database }
  const create = await call(apiKey, 'POST', secretsOf(id), { bindings })
  expect([create.status, create.headers.get('Retry-After')]).toEqual([503, '1'])
  expect(create.json.message).toBe('Too many requests wait for the database. Nothing was changed. Try again.')
  const list = await call(apiKey, 'GET', secretsOf(id), { bindings })
  expect([list.status, list.json.code]).toEqual([503, 'service_unavailable'])
  const token = new Request('https://oncekey.test/oauth2/token', {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret: created.secret }),
  })
  const refused = await send(token, bindings)
  expect([refused.status, refused.json.error]).toEqual([503, 'temporarily_unavailable'])
  expect(counter.trips).toBe(0)

  released.resolve()
  expect(new Set((await Promise.all(waiting)).map(({ status }) => status))).toEqual(new Set([200]))
  expect((await call(apiKey, 'POST', secretsOf(id))).status).toBe(201)
  expect((await call(apiKey, 'GET', secretsOf(id))).json).toHaveLength(2)
})

test('a flood of leak reports that wait for the database does not cause other requests to be refused', async () => {
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
  const { apiKey } = await newApiKey()
  const { id, client_id } = await newApplication(apiKey)
  const { secret: client_secret } = (await call(apiKey, 'POST', secretsOf(id))).json
  const unknown = (await issueCredential('cs', '0')).plaintext
  const released = Promise.withResolvers<void>()
  let reached = 0
  const slow = withBatch(env.DB, async (real, statements) => {
    reached++
    await released.promise
    return real(statements)
  })
  const answered: Promise<void>[] = []
  const reports = Array.from({ length: MAX_WAITING + 1 }, (_, i) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    answered.push(promise)
    const headers = { 'Content-Type': 'application/json', 'CF-Connecting-IP': `203.0.113.${i}` }
    const init = { method: 'POST', headers, body: JSON.stringify({ credential: unknown }) }
    return send(new Request('https://oncekey.test/leaks', init), { DB: slow }, resolve)
  })
  await Promise.all(answered)
  await vi.waitUntil(() => reached + logged.mock.calls.length === MAX_WAITING + 1)

  expect((await call(apiKey, 'POST', secretsOf(id))).status).toBe(201)
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret })
  expect((await send(new Request('https://oncekey.test/oauth2/token', { method: 'POST', body }))).status).toBe(200)
  expect(reached).toBe(10)
  const entry = { message: 'leaks not handled', error: expect.stringContaining('too many requests wait') }
  expect(logged).toHaveBeenCalledWith(expect.objectContaining(entry))

  released.resolve()
  expect(new Set((await Promise.all(reports)).map(({ status }) => status))).toEqual(new Set([202]))
})
