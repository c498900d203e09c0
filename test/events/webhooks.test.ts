import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { sendBatch } from '../../src/storage/database.ts'
import { queueEvents } from '../../src/storage/deliveries.ts'
import { call, m2mApplication, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { counted, failingAt, withBatch } from '../faults/wrapped.ts'
import { deliveries, gate, listenToWebhooks, newReceiver, runSchedule, setClock } from './receivers.ts'

listenToWebhooks()

/** The first delivery right after a change. The caller does not notice it. */

let key: Awaited<ReturnType<typeof newApiKey>>
beforeEach(async () => {
  key = await newApiKey()
})

const create = (options = {}) => call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication, ...options })
const events = async () => (await call(key.apiKey, 'GET', '/events?limit=100')).json.data

describe('the webhooks of a change', () => {
  test('each webhook has the same content as the event in the event list', async () => {
    const receiver = await newReceiver(key)
    const { id } = await newApplication(key.apiKey)
    await call(key.apiKey, 'PUT', `/connect/applications/${id}`, { body: { name: 'Żółw 🐢' } })
    const secret = await call(key.apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    await call(key.apiKey, 'PATCH', `/connect/client_secrets/${secret.json.id}`, { body: { disabled: true } })
    await call(key.apiKey, 'POST', `/connect/applications/${id}/client_secrets/rotate`)
    await call(key.apiKey, 'DELETE', `/connect/client_secrets/${secret.json.id}`)
    await call(key.apiKey, 'DELETE', `/connect/applications/${id}`)
    expect(receiver.arrivals).toHaveLength(7)
    expect(receiver.arrivals.map(({ event }) => event)).toEqual(await events())
    const states = (await deliveries(receiver)).map(({ state, attempts }) => ({ state, attempts }))
    expect(states).toEqual(Array(7).fill({ state: 'delivered', attempts: 1 }))
  })

  test('the webhook is a POST with JSON, and is signed in WorkOS’s format with the endpoint’s secret', async () => {
    const receiver = await newReceiver(key)
    const other = await newReceiver(key)
    await create()
    const [arrival] = receiver.arrivals
    expect(arrival?.init).toMatchObject({ method: 'POST', redirect: 'manual' })
    expect(arrival?.headers.get('Content-Type')).toBe('application/json')
    expect(arrival?.headers.get('User-Agent')).toBe('Oncekey-Webhooks')
    expect([...(arrival?.headers.keys() ?? [])]).toEqual(['content-type', 'user-agent', 'workos-signature'])
    const signature = /^t=(\d{13}), v1=([0-9a-f]{64})$/.exec(arrival?.headers.get('WorkOS-Signature') ?? '')
    expect(Math.abs(Date.now() - Number(signature?.[1]))).toBeLessThan(10_000)
    const isSignedWith = async (secret: string) => {
      const bytes = (text: string) => new TextEncoder().encode(text)
      const hmac = { name: 'HMAC', hash: 'SHA-256' }
      const verifier = await crypto.subtle.importKey('raw', bytes(secret), hmac, false, ['verify'])
      const mac = Uint8Array.from(signature?.[2]?.match(/../g) ?? [], (hex) => Number.parseInt(hex, 16))
      return crypto.subtle.verify('HMAC', verifier, mac, bytes(`${signature?.[1]}.${arrival?.body}`))
    }
    expect(await isSignedWith(receiver.secret)).toBe(true)
    expect(await isSignedWith(other.secret)).toBe(false)
  })

  test('the webhook is sent to the endpoints of the environment that subscribe to its event type', async () => {
    const all = await newReceiver(key)
    const secrets = await newReceiver({ ...key, events: ['connect_application_secret.created'] })
    const both = await newReceiver({
      ...key,
      events: ['connect_application_secret.created', 'connect_application.created'],
    })
    const elsewhere = await newReceiver(await newApiKey())
    const { id } = await newApplication(key.apiKey)
    const late = await newReceiver(key)
    await call(key.apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    await runSchedule()
    const types = ['connect_application.created', 'connect_application_secret.created']
    const typesAt = ({ arrivals }: typeof all) => arrivals.map(({ event }) => event.event)
    expect([all, secrets, both, elsewhere, late].map(typesAt)).toEqual([types, [types[1]], types, [], [types[1]]])
  })

  test('each of 15 endpoints gets the event once, although fewer are called at the same time', async () => {
    const receivers = await Promise.all(Array.from({ length: 15 }, () => newReceiver(key)))
    await create()
    expect(receivers.map(({ arrivals }) => arrivals.length)).toEqual(Array(15).fill(1))
  })

  test('the run of the schedule that records an expiry also sends the event', async () => {
    const { id } = await newApplication(key.apiKey)
    const soon = Date.now() + 60_000
    const body = { expires_at: new Date(soon).toISOString() }
    const secret = await call(key.apiKey, 'POST', `/connect/applications/${id}/client_secrets`, { body })
    const receiver = await newReceiver(key)
    setClock(soon)
    await runSchedule()
    await runSchedule()
    expect(receiver.arrivals.map(({ event }) => [event.event, event.data.id])).toEqual([
      ['connect_application_secret.expired', secret.json.id],
    ])
  })

  test('replays, reads and refused requests send no webhook, and make no D1 request for webhooks', async () => {
    const headers = { 'Idempotency-Key': 'k' }
    const { id } = (await create({ headers })).json
    const receiver = await newReceiver(key)
    const counter = counted(env.DB)
    const bindings = { DB: counter.database }
    await call(key.apiKey, 'GET', `/connect/applications/${id}`, { bindings })
    await call(key.apiKey, 'GET', '/events', { bindings })
    await call(key.apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: 'x' }, bindings })
    await call(key.apiKey, 'PUT', `/connect/applications/${id}`, { body: { name: '' }, bindings })
    await call(key.apiKey, 'DELETE', '/connect/client_secrets/unknown', { bindings })
    expect(counter.trips).toBe(5)
    expect((await create({ headers })).headers.get('Idempotent-Replayed')).toBe('true')
    expect(receiver.arrivals).toEqual([])
  })
})

describe('a webhook does not affect the response to the caller', () => {
  test('the response is sent before the webhook', async () => {
    const { promise, resolve } = gate()
    const receiver = await newReceiver({ ...key, answer: () => promise })
    let arrivalsAtAnswer = -1
    const { status } = await create({
      onAnswer: () => {
        arrivalsAtAnswer = receiver.arrivals.length
        resolve(new Response())
      },
    })
    expect(status).toBe(201)
    expect(arrivalsAtAnswer).toBe(0)
    expect(receiver.arrivals).toHaveLength(1)
  })

  test.each([
    ['500', () => new Response('', { status: 500 })],
    ['a broken connection', () => Promise.reject(new TypeError('Network connection lost.'))],
    ['a rejection without an error', () => Promise.reject(undefined)],
    ['a body that breaks', () => new Response(new ReadableStream({ cancel: () => Promise.reject(new Error('x')) }))],
  ])('a receiver that answers with %s does not affect the response', async (_, answer) => {
    const receiver = await newReceiver({ ...key, answer })
    expect((await create()).status).toBe(201)
    expect(receiver.arrivals).toHaveLength(1)
    expect(await deliveries(receiver)).toMatchObject([{ attempts: 1, lease: null }])
    expect(await events()).toHaveLength(1)
  })

  test.each([
    ['immediately', () => Promise.reject(new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.'))],
    ['at each retry', () => Promise.reject(new Error('D1_ERROR: Network connection lost.'))],
    ['without an error object', () => Promise.reject(undefined)],
  ])('if the database fails %s after the change, the schedule sends the event', async (_, fail) => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    const receiver = await newReceiver(key)
    let batches = 0
    const DB = withBatch(env.DB, (real, statements) => {
      if (batches++ === 0) return real(statements)
      // Two attempts later the time for deliveries after a change is over.
      setClock(Date.now() + 15_000)
      return fail()
    })
    expect((await create({ bindings: { DB } })).status).toBe(201)
    expect(batches).toBeGreaterThan(1)
    expect(receiver.arrivals).toEqual([])
    expect(logged).toHaveBeenCalledWith(expect.objectContaining({ message: 'webhooks left to the schedule' }))
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(1)
  })
})

test('a change sends its own event, and no other due events', async () => {
  const backlogged = await newApiKey()
  const receiver = await newReceiver({ ...backlogged, answer: () => new Promise(() => {}) })
  // As if each isolate had vanished behind its first batch.
  const overloaded = new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')
  const { database: DB } = failingAt(env.DB, /^UPDATE webhook_deliveries/, overloaded)
  for (let i = 0; i < 10; i++) {
    await call(backlogged.apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings: { DB } })
  }
  await sendBatch(operatorDatabase(), queueEvents(Date.now()))
  expect((await deliveries()).map(({ attempts }) => attempts)).toEqual(Array(10).fill(0))
  const mine = await newReceiver(key)
  await create()
  expect(mine.arrivals).toHaveLength(1)
  expect(receiver.arrivals).toEqual([])
})
