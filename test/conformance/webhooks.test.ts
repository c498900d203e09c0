import type { EventResponse } from '@workos-inc/node'
import { describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { forgetOperatorEvents, newApiKey, operatorDatabase } from '../operator.ts'
import { ORGANIZATION } from '../requests.ts'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { FORMS, LeakScanner } from './leak-scanner.ts'
import { type Answer, status, type WebhookReceiver, webhookReceiver } from './webhook-receiver.ts'
import { workosAt } from './workos.ts'

/** Longer than a receiver on a busy machine takes. */
const WEBHOOK_TIMEOUT_MS = 5_000

const served = await serve({ workers: 2, vars: { WEBHOOKS_TO_LOCALHOST: 'true', WEBHOOK_TIMEOUT_MS } })
const { database, fetch, origins } = served

/** An environment of its own, with the SDK for it. */
async function newEnvironment() {
  const key = await newApiKey(database)
  return { ...key, workos: workosAt(origins[0], key.apiKey, { fetch }) }
}

async function newEndpoint(environmentId: string, answer?: Answer) {
  const receiver = await webhookReceiver(answer)
  const { plaintext: secret } = await issueCredential('whsec', '0')
  const endpoint = { id: newId('we', Date.now()), environmentId, url: receiver.url, events: [], secret, createdAt: 0 }
  await createWebhookEndpoint(operatorDatabase(database), endpoint)
  // Without the event of its creation, which other endpoints would get.
  await forgetOperatorEvents(database)
  await database.prepare('UPDATE webhook_endpoints SET cursor = cursor - 1 WHERE id = ?').bind(endpoint.id).run()
  return { ...endpoint, receiver }
}

/** The deliveries to an endpoint. */
async function deliveries(endpointId: string) {
  const statement = database.prepare(
    'SELECT event_id, state, attempts, last_outcome FROM webhook_deliveries WHERE endpoint_id = ? ORDER BY event_id',
  )
  return (await statement.bind(endpointId).all<Record<string, string | number>>()).results
}

/** Waits until an endpoint has so many deliveries, and each has had its attempts. */
const tried = (endpointId: string, count: number, attempts = 1) =>
  vi.waitFor(
    async () => {
      const rows = await deliveries(endpointId)
      expect(rows).toHaveLength(count)
      for (const row of rows) expect(row).toMatchObject({ attempts, last_outcome: expect.any(String) })
      return rows
    },
    { timeout: 30_000, interval: 50 },
  )

/** Makes all pending deliveries to an endpoint due. */
const letTimePass = (endpointId: string) =>
  database
    .prepare(`UPDATE webhook_deliveries SET next_attempt_at = 0 WHERE endpoint_id = ? AND state = 'pending'`)
    .bind(endpointId)
    .run()

const idsAt = ({ arrivals }: WebhookReceiver) => arrivals.map(({ body }) => JSON.parse(body).id as string)

/** The SDK's types list only WorkOS's own events. */
type EventName = EventResponse['event']
const names = (...events: string[]) => events as EventName[]

describe('the unmodified SDK', () => {
  test('the SDK verifies each webhook, and reads the same events from the list', async () => {
    const { environmentId, workos } = await newEnvironment()
    const { id, secret, receiver } = await newEndpoint(environmentId)
    const application = await workos.connect.createM2MApplication('Nightly – Żółw 🐢', ORGANIZATION)
    await workos.connect.createApplicationClientSecret({ id: application.id })
    await workos.connect.deleteApplication({ id: application.id })
    await tried(id, 3)
    const verified = await Promise.all(
      receiver.arrivals.map(({ headers, body }) => {
        const sigHeader = headers['workos-signature'] as string
        return workos.webhooks.constructEvent({ payload: JSON.parse(body), sigHeader, secret })
      }),
    )
    const listed = await workos.events.listEvents({ events: [] })
    expect(verified).toHaveLength(3)
    expect(verified.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(listed.data)
  })

  test('the SDK rejects a changed webhook, and one signed with another secret', async () => {
    const { environmentId, workos } = await newEnvironment()
    const { id, secret, receiver } = await newEndpoint(environmentId)
    const other = await newEndpoint(environmentId)
    await workos.connect.createM2MApplication('Nightly', ORGANIZATION)
    await tried(id, 1)
    const [{ headers, body }] = receiver.arrivals as [WebhookReceiver['arrivals'][0]]
    const sigHeader = headers['workos-signature'] as string
    const verify = (payload: object, by = secret) => workos.webhooks.verifyHeader({ payload, sigHeader, secret: by })
    expect(await verify(JSON.parse(body))).toBe(true)
    await expect(verify({ ...JSON.parse(body), id: 'event_x' })).rejects.toThrow('does not match')
    await expect(verify(JSON.parse(body), other.secret)).rejects.toThrow('does not match')
  })

  test('the SDK lists events by page, by type, by organization and by time', async () => {
    const { workos } = await newEnvironment()
    const started = Date.now()
    const created = []
    for (let i = 0; i < 25; i++) created.push(await workos.connect.createM2MApplication(`${i}`, `org_${i % 2}`))
    const { id } = created[0] as { id: string }
    await workos.connect.createApplicationClientSecret({ id })
    const read = async (options: Partial<Parameters<typeof workos.events.listEvents>[0]> = {}) => {
      const met: string[] = []
      for (let after: string | undefined | null; after !== null; ) {
        const page = await workos.events.listEvents({ events: [], limit: 10, ...options, ...(after && { after }) })
        expect(page.data.length).toBeLessThanOrEqual(10)
        met.push(...page.data.map(({ data }) => (data as unknown as { id: string }).id))
        after = page.listMetadata.after ?? null
      }
      return met
    }
    const ids = created.map((application) => application.id)
    const application = names('connect_application.created')
    expect(await read({ events: application })).toEqual(ids)
    expect(await read({ events: application, order: 'desc' })).toEqual(ids.toReversed())
    expect(await read({ events: names('connect_application.created', 'connect_application_secret.created') })).toEqual([
      ...ids,
      expect.stringMatching(/^secret_/),
    ])
    expect(await read({ events: application, organizationId: 'org_1' })).toEqual(ids.filter((_, i) => i % 2))
    const range = { rangeStart: new Date(started).toISOString(), rangeEnd: new Date(started + 600_000).toISOString() }
    expect(await read(range)).toHaveLength(26)
    expect(await read({ rangeEnd: range.rangeStart })).toEqual([])
    await expect(read({ after: 'event_x' })).rejects.toMatchObject({ status: 422 })
    expect(await read({ events: names('user.created') })).toEqual([])
    expect(await read({ events: names('user.created', 'connect_application.created') })).toEqual(ids)
  })
})

describe.concurrent('webhooks to a faulty receiver', () => {
  test.each<[string, Answer | 'down', string]>([
    ['is down', 'down', 'no connection'],
    ['answers 500', status(500), '500'],
    ['hangs up', (response) => response.socket?.destroy(), 'no connection'],
    ['does not answer', () => {}, 'timed out'],
    ['sends half of its headers', (response) => response.socket?.write('HTTP/1.1 200 OK\r\n'), 'timed out'],
  ])('events are delivered later if the receiver first %s', async (_, answer, outcome) => {
    const { environmentId, workos } = await newEnvironment()
    const { id, receiver } = await newEndpoint(environmentId, answer === 'down' ? undefined : answer)
    if (answer === 'down') await receiver.stop()
    await Promise.all(Array.from({ length: 3 }, () => workos.connect.createM2MApplication('Nightly', ORGANIZATION)))
    const expected = { state: 'pending', last_outcome: outcome }
    expect(await tried(id, 3)).toMatchObject(Array(3).fill(expected))
    receiver.answer = status(204)
    if (answer === 'down') await receiver.start()
    const before = receiver.arrivals.length
    // A connection that the receiver has closed may cost one more attempt.
    await vi.waitFor(
      async () => {
        await letTimePass(id)
        await served.runSchedule()
        expect(await deliveries(id)).toMatchObject(Array(3).fill({ state: 'delivered', last_outcome: '204' }))
      },
      { timeout: 20_000, interval: 500 },
    )
    const rows = await deliveries(id)
    expect([...new Set(idsAt(receiver).slice(before))].sort()).toEqual(rows.map(({ event_id }) => event_id))
  })

  test.each([301, 302, 303, 307, 308])(
    'a redirect with status %i is not followed, and counts as a failed attempt',
    async (code) => {
      const { environmentId, workos } = await newEnvironment()
      const elsewhere = await webhookReceiver()
      const { id, receiver } = await newEndpoint(environmentId, status(code, { Location: elsewhere.url }))
      await workos.connect.createM2MApplication('Nightly', ORGANIZATION)
      expect(await tried(id, 1)).toMatchObject([{ state: 'pending', last_outcome: String(code) }])
      receiver.answer = status(200)
      await letTimePass(id)
      await served.runSchedule(1)
      expect(await tried(id, 1, 2)).toMatchObject([{ state: 'delivered' }])
      expect(new Set(idsAt(receiver))).toHaveLength(1)
      expect(elsewhere.arrivals).toEqual([])
    },
  )

  test('a response body without an end does not delay a delivery', async () => {
    const { environmentId, workos } = await newEnvironment()
    const { id } = await newEndpoint(environmentId, (response) => response.writeHead(200).write('x'.repeat(100_000)))
    await workos.connect.createM2MApplication('Nightly', ORGANIZATION)
    expect(await tried(id, 1)).toMatchObject([{ state: 'delivered', last_outcome: '200' }])
  })
})

const MANY = size(20, 100)

test('if two Workers run the schedule at once, each event is sent once', async () => {
  const { environmentId, workos } = await newEnvironment()
  const { id, receiver } = await newEndpoint(environmentId, status(500))
  await Promise.all(Array.from({ length: MANY }, () => workos.connect.createM2MApplication('Nightly', ORGANIZATION)))
  await tried(id, MANY)
  receiver.answer = (response) => setTimeout(() => response.end(), (receiver.arrivals.length % 5) * 10)
  const before = receiver.arrivals.length
  await letTimePass(id)
  // Three regions share the statements of a run, so that it has enough for a part of many events.
  for (let i = 0; i < size(1, 5); i++) await Promise.all([0, 1, 0, 1].map((worker) => served.runSchedule(worker)))
  const rows = await tried(id, MANY, 2)
  expect(idsAt(receiver).slice(before).sort()).toEqual(rows.map(({ event_id }) => event_id))
})

test('no event, webhook or delivery contains a secret, an API key or a digest', async () => {
  const { environmentId, apiKey, digest, workos } = await newEnvironment()
  const { id, secret: signingSecret, receiver } = await newEndpoint(environmentId)
  const { connect } = workos
  const application = await connect.createM2MApplication('Nightly', ORGANIZATION)
  const first = await connect.createApplicationClientSecret({ id: application.id })
  const { data } = await workos.post<{ secret: string }, object>(
    `/connect/applications/${application.id}/client_secrets/rotate`,
    {},
    { idempotencyKey: 'named' },
  )
  await workos.post('/connect/client_secrets/verify', { client_secret: first.secret })
  await connect.deleteClientSecret({ id: first.id })
  await connect.deleteApplication({ id: application.id })
  // The event of a use is recorded after its response, and left to the schedule.
  await served.runSchedule()
  await tried(id, 6)

  const scanner = new LeakScanner()
  for (const credential of [apiKey, signingSecret, first.secret, data.secret]) scanner.addCredential(credential)
  const digests = [digest, await sha256(first.secret), await sha256(data.secret), await sha256(signingSecret)]
  for (const bytes of digests) {
    for (const [form, write] of Object.entries(FORMS)) scanner.addBytes(write(Buffer.from(bytes)), `digest, ${form}`)
  }
  const rowsOf = async (table: string) => (await database.prepare(`SELECT * FROM ${table}`).all()).results
  const scan = (value: unknown) => [...scanner.scan(Buffer.from(JSON.stringify(value)))]
  const sent = receiver.arrivals.map(({ headers, body }) => [body, headers])
  expect(sent).toHaveLength(6)
  expect(scan(sent)).toEqual([])
  expect(scan(await rowsOf('events'))).toEqual([])
  expect(scan(await rowsOf('webhook_deliveries'))).toEqual([])
  expect(scan((await workos.get('/events')).data)).toEqual([])
  expect([...scanner.scan(served.output())]).toEqual([])
  // The scanner finds them in the columns that store them.
  expect(scan(await rowsOf('webhook_endpoints'))).toEqual([signingSecret])
  expect(scan(await rowsOf('api_keys'))).toEqual([expect.stringMatching(/^digest/)])
})
