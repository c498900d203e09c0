import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { cleanUp } from '../../src/storage/cleanup.ts'
import { sendBatch } from '../../src/storage/database.ts'
import { claimDeliveries, queueEvents, settleDelivery } from '../../src/storage/deliveries.ts'
import { deleteWebhookEndpoint, reviveDeliveries } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, m2mApplication, newApiKey, operatorDatabase } from '../api.ts'
import { failingAt, withBatch } from '../faults/wrapped.ts'
import { PATIENCE } from '../sizes.ts'
import { deliveries, gate, listenToWebhooks, newReceiver, type Receiver, runSchedule, setClock } from './receivers.ts'

listenToWebhooks()

/** Several deliverers over one database, and what stands in their way. */

const LEASE_MS = 30_000

let key: Awaited<ReturnType<typeof newApiKey>>
beforeEach(async () => {
  key = await newApiKey()
})

/** Makes events without an attempt. */
async function backlog(count: number, apiKey = key.apiKey): Promise<void> {
  const overloaded = new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')
  const { database: DB } = failingAt(env.DB, /^UPDATE webhook_deliveries/, overloaded)
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
  const create = () => call(apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings: { DB } })
  for (let i = 0; i < count; i++) await create()
  logged.mockRestore()
  await sendBatch(operatorDatabase(), queueEvents(Date.now()))
}

const idsAt = ({ arrivals }: Receiver) => arrivals.map(({ event }) => event.id)
const all = { limit: 100, event: null, except: [] }

describe('the lease of a delivery', () => {
  test('four concurrent runs of the schedule send each event once to each endpoint', async () => {
    let answers = 0
    // Of different length, so that the deliverers overtake each other.
    const answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, (answers++ * 7) % 20))
      return new Response()
    }
    const receivers = await Promise.all(Array.from({ length: 3 }, () => newReceiver({ ...key, answer })))
    await backlog(20)
    await Promise.all(Array.from({ length: 4 }, () => runSchedule()))
    for (const receiver of receivers) {
      expect(receiver.arrivals).toHaveLength(20)
      expect(new Set(idsAt(receiver))).toHaveLength(20)
    }
    expect((await deliveries()).map(({ attempts }) => attempts)).toEqual(Array(60).fill(1))
  })

  test('after the lease of an interrupted run of the schedule has ended, the next run sends the event', async () => {
    const receiver = await newReceiver(key)
    await backlog(1)
    const start = Date.now()
    setClock(start)
    const {
      deliveries: [delivery],
    } = await claimDeliveries(operatorDatabase(), 'of-the-dead', start, all)
    setClock(start + LEASE_MS - 1)
    await runSchedule()
    expect(receiver.arrivals).toEqual([])
    setClock(start + LEASE_MS)
    await runSchedule()
    expect(idsAt(receiver)).toEqual([delivery?.event.id])
    expect(await deliveries(receiver)).toMatchObject([{ state: 'delivered', attempts: 2 }])
  })

  test('a run of the schedule whose lease has ended cannot record an outcome', async () => {
    const { promise, resolve } = gate()
    const receiver = await newReceiver({ ...key, answer: () => promise })
    await backlog(1)
    const start = Date.now()
    const {
      deliveries: [delivery],
    } = await claimDeliveries(operatorDatabase(), 'of-the-late', start, all)
    if (!delivery) throw new Error('nothing was due')
    setClock(start + LEASE_MS)
    const second = runSchedule()
    await vi.waitFor(() => expect(receiver.arrivals).toHaveLength(1), PATIENCE)
    const settlement = { delivery, outcome: '500', nextAttemptAt: start, isDelivered: false }
    await settleDelivery(operatorDatabase(), 'of-the-late', Date.now(), settlement)
    expect(await deliveries(receiver)).toMatchObject([{ state: 'pending', last_outcome: null }])
    resolve(new Response())
    await second
    expect(await deliveries(receiver)).toMatchObject([{ state: 'delivered', last_outcome: '200', lease: null }])
  })

  test('each event is sent once although responses of the database are lost when leases are taken', async () => {
    const receiver = await newReceiver(key)
    await backlog(3)
    let claims = 0
    const DB = withBatch(env.DB, async (real, statements) => {
      const results = await real(statements)
      if (statements.length === 5 && claims++ % 2 === 0) throw new Error('D1_ERROR: Network connection lost.')
      return results
    })
    await runSchedule({ DB })
    expect(claims).toBeGreaterThan(3)
    expect(receiver.arrivals).toHaveLength(3)
    expect(new Set(idsAt(receiver))).toHaveLength(3)
    expect(await deliveries(receiver)).toMatchObject(Array(3).fill({ state: 'delivered', attempts: 1 }))
  })
})

describe('deliveries do not block each other', () => {
  test('an endpoint that does not respond does not delay the deliveries of other endpoints', async () => {
    const hanging: PromiseWithResolvers<Response>[] = []
    const answer = () => {
      const held = gate()
      hanging.push(held)
      return held.promise
    }
    const slow = await newReceiver({ ...key, answer })
    await backlog(20)
    const quick = await newReceiver(key)
    await backlog(20)
    const running = runSchedule()
    await vi.waitFor(() => expect(quick.arrivals).toHaveLength(20), PATIENCE)
    expect(slow.arrivals.length).toBeLessThan(6)
    for (const held of hanging) held.reject(new DOMException('', 'TimeoutError'))
    await running
    // A run does not wait for it a second time.
    expect(slow.arrivals.length).toBeLessThan(6)
    expect(quick.arrivals).toHaveLength(20)
  })

  test('an event that its receiver refuses does not delay other events to the endpoint', async () => {
    const receiver = await newReceiver(key)
    await backlog(10)
    const [poisoned] = await deliveries(receiver)
    receiver.answer = ({ event }) => new Response('', { status: event.id === poisoned?.event_id ? 500 : 200 })
    await runSchedule()
    const rows = await deliveries(receiver)
    expect(rows.filter(({ state }) => state === 'delivered')).toHaveLength(9)
    expect(rows.filter(({ state }) => state === 'pending')).toMatchObject([{ event_id: poisoned?.event_id }])
  })

  test('an event whose stored data is damaged does not stop other events', async () => {
    const receiver = await newReceiver(key)
    await backlog(5)
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    const [broken] = await deliveries(receiver)
    await env.DB.prepare(`UPDATE events SET data = '{}' WHERE id = ?`).bind(broken?.event_id).run()
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(4)
    expect(logged).toHaveBeenCalledWith(expect.objectContaining({ event_id: broken?.event_id }))
  })

  test('a run of the schedule with too many deliveries ends at its deadline, and the next run continues', async () => {
    const receiver = await newReceiver(key)
    await backlog(10)
    setClock(Date.now())
    // Each takes four seconds, so that the last one begun before 15 s may take another 10.
    receiver.answer = async () => {
      await Promise.resolve()
      setClock(Date.now() + 4_000)
      return new Response()
    }
    await runSchedule()
    const first = receiver.arrivals.length
    expect(first).toBeGreaterThan(2)
    expect(first).toBeLessThan(7)
    for (const { state, lease } of await deliveries(receiver)) expect(lease === null || state === 'pending').toBe(true)
    receiver.answer = () => new Response()
    setClock(Date.now() + LEASE_MS)
    await runSchedule()
    expect(new Set(idsAt(receiver))).toHaveLength(10)
  })
})

describe('a delivery fails when it can no longer be sent', () => {
  test('deliveries to a deleted endpoint fail without being sent', async () => {
    const receiver = await newReceiver({ ...key, answer: () => new Response('', { status: 500 }) })
    await backlog(2)
    await runSchedule()
    await backlog(1)
    const sent = receiver.arrivals.length
    expect(await deleteWebhookEndpoint(operatorDatabase(), receiver.id, Date.now())).toBe(true)
    await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication })
    setClock(Date.now() + LEASE_MS)
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(sent)
    expect(await deliveries(receiver)).toMatchObject(Array(3).fill({ state: 'dead', last_outcome: 'gone' }))
    const { results } = await env.DB.prepare('SELECT secret FROM webhook_endpoints WHERE id = ?')
      .bind(receiver.id)
      .all()
    expect(results).toEqual([{ secret: '' }])
  })

  test('the delivery of an event that cleanup has removed fails, and other deliveries continue', async () => {
    const receiver = await newReceiver(key)
    await backlog(3)
    const [pruned] = await deliveries(receiver)
    await env.DB.prepare('DELETE FROM events WHERE id = ?').bind(pruned?.event_id).run()
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(2)
    expect((await deliveries(receiver))[0]).toMatchObject({ state: 'dead', last_outcome: 'gone', attempts: 0 })
    await reviveDeliveries(operatorDatabase(), receiver.id, Date.now())
    await runSchedule()
    expect((await deliveries(receiver))[0]).toMatchObject({ state: 'dead', last_outcome: 'gone' })
  })

  test('cleanup removes a delivery 30 days after its event was delivered', async () => {
    const receiver = await newReceiver(key)
    await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication })
    const DAY_MS = 24 * 60 * 60 * 1000
    const [row] = await deliveries(receiver)
    const after = (days: number) => cleanUp(operatorDatabase(), (row?.settled_at ?? 0) + days * DAY_MS, 365)
    await after(29)
    expect(await deliveries(receiver)).toHaveLength(1)
    await after(30)
    expect(await deliveries(receiver)).toHaveLength(0)
  })
})
