import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { pauseWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { Visitor } from '../dashboard/pages.ts'
import { listenToWebhooks, newReceiver, runSchedule } from './receivers.ts'

listenToWebhooks()

const WEBHOOKS = '/dashboard/webhooks'

async function setUp() {
  const key = await newApiKey()
  const visitor = new Visitor()
  await visitor.signIn(key.apiKey)
  const receiver = await newReceiver(key)
  const set = (verb: 'pause' | 'resume') => visitor.post(`${WEBHOOKS}/${receiver.id}/${verb}`)
  const eventsOf = async (type: string) =>
    (await call(key.apiKey, 'GET', `/events?events=${type}&limit=100`)).json.data as { id: string; data: object }[]
  return { key, visitor, receiver, set, eventsOf }
}

test('a paused endpoint receives nothing, and receives all waiting events in their order after it is resumed', async () => {
  const { key, visitor, receiver, set, eventsOf } = await setUp()
  expect((await set('pause')).status).toBe(303)
  expect((await visitor.get(WEBHOOKS)).html).toContain('Paused')
  const before = receiver.arrivals.length
  for (let i = 0; i < 5; i++) await newApplication(key.apiKey)
  await runSchedule()
  expect(receiver.arrivals).toHaveLength(before)
  expect((await set('resume')).status).toBe(303)
  await runSchedule()
  const created = await eventsOf('connect_application.created')
  const arrived = receiver.arrivals.map(({ event }) => event)
  expect(arrived.filter(({ event }) => event === 'connect_application.created').map(({ id }) => id)).toEqual(
    created.map(({ id }) => id),
  )
  const types = arrived.slice(before).map(({ event }) => event)
  expect([types[0], types.at(-1)]).toEqual(['webhook_endpoint.paused', 'webhook_endpoint.resumed'])
})

test('a delivery that is due for a retry is not sent while the endpoint is paused', async () => {
  const { key, receiver, set } = await setUp()
  await set('pause')
  await env.DB.prepare(
    `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
    SELECT ?, id, environment_id, 'pending', 1, 1, 1 FROM events WHERE environment_id = ? ORDER BY seq LIMIT 1`,
  )
    .bind(receiver.id, key.environmentId)
    .run()
  const before = receiver.arrivals.length
  await runSchedule()
  expect(receiver.arrivals).toHaveLength(before)
  await set('resume')
  await runSchedule()
  expect(receiver.arrivals.length).toBeGreaterThan(before)
})

test('pausing a paused endpoint again, in the dashboard or as the operator, records no second event', async () => {
  const { receiver, set, eventsOf } = await setUp()
  await set('pause')
  await set('pause')
  expect(await pauseWebhookEndpoint(operatorDatabase(), receiver.id, true, Date.now())).toBe(true)
  expect(await eventsOf('webhook_endpoint.paused')).toMatchObject([{ data: { id: receiver.id } }])
  expect(await pauseWebhookEndpoint(operatorDatabase(), receiver.id, false, Date.now())).toBe(true)
  expect(await eventsOf('webhook_endpoint.resumed')).toHaveLength(1)
  expect(await pauseWebhookEndpoint(operatorDatabase(), 'we_unknown', true, Date.now())).toBe(false)
})

test("a key of another environment and a read-only key can't pause an endpoint", async () => {
  const { key, receiver } = await setUp()
  for (const [options, status] of [
    [{}, 404],
    [{ environmentId: key.environmentId, access: 'read' as const }, 403],
  ] as const) {
    const visitor = new Visitor()
    await visitor.signIn((await newApiKey(options)).apiKey)
    await visitor.get(WEBHOOKS)
    for (const verb of ['pause', 'resume', 'resend'])
      expect((await visitor.post(`${WEBHOOKS}/${receiver.id}/${verb}`)).status).toBe(status)
  }
  const paused = 'SELECT paused_at FROM webhook_endpoints WHERE id = ?'
  expect(await env.DB.prepare(paused).bind(receiver.id).first('paused_at')).toBeNull()
})

test('one button queues all failed deliveries of an endpoint again', async () => {
  const { key, visitor, receiver, set } = await setUp()
  await set('pause')
  for (let i = 0; i < 3; i++) await newApplication(key.apiKey)
  await env.DB.prepare(
    `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at, settled_at)
    SELECT ?, id, environment_id, 'dead', 11, 1, 1, 1 FROM events
    WHERE environment_id = ? AND type = 'connect_application.created'`,
  )
    .bind(receiver.id, key.environmentId)
    .run()
  expect((await visitor.get(WEBHOOKS)).html).toContain('Resend all failed')
  expect((await visitor.post(`${WEBHOOKS}/${receiver.id}/resend`)).status).toBe(303)
  expect((await visitor.get(WEBHOOKS)).html).not.toContain('Resend all failed')
  const states = 'SELECT DISTINCT state FROM webhook_deliveries WHERE endpoint_id = ? AND attempts = 0'
  expect(await env.DB.prepare(states).bind(receiver.id).first('state')).toBe('pending')
})
