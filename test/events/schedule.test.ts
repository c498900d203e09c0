import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { listWebhookEndpointsOf, reviveDeliveries } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, m2mApplication, newApiKey, operatorDatabase } from '../api.ts'
import { failingAt } from '../faults/wrapped.ts'
import { deliveries, listenToWebhooks, newReceiver, type Receiver, runSchedule, setClock } from './receivers.ts'

listenToWebhooks()

/** The retries of a webhook after a failed first attempt. */

const SECOND_MS = 1000
const HOUR_MS = 60 * 60 * SECOND_MS

let key: Awaited<ReturnType<typeof newApiKey>>
beforeEach(async () => {
  key = await newApiKey()
})

const down = () => new Response('', { status: 503 })
const up = () => new Response()

/** Makes an event, and gives its id. */
async function change(): Promise<string> {
  const { json } = await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication })
  const { results } = await env.DB.prepare(`SELECT id FROM events WHERE data ->> 'id' = ?`).bind(json.id).all()
  return results[0]?.id as string
}

/** Lets time pass until something is due, and runs the schedule. */
async function runWhenDue(): Promise<void> {
  const pending = (await deliveries()).filter(({ state }) => state === 'pending')
  setClock(Math.max(Date.now(), Math.min(...pending.map((row) => row.next_attempt_at))))
  await runSchedule()
}

const idsAt = ({ arrivals }: Receiver) => arrivals.map(({ event }) => event.id)
const listed = async () => (await listWebhookEndpointsOf(operatorDatabase(), key.environmentId))[0]?.deliveries

describe('the backoff of a delivery', () => {
  /** The waits between the attempts at one event, in ms, until it is dead. */
  async function waitsUntilDead(): Promise<number[]> {
    setClock(Date.now())
    const receiver = await newReceiver({ ...key, answer: down })
    await change()
    const waits: number[] = []
    for (;;) {
      const [row] = await deliveries(receiver)
      if (row?.state !== 'pending') break
      waits.push(row.next_attempt_at - Date.now())
      await runWhenDue()
    }
    expect(receiver.arrivals).toHaveLength(waits.length + 1)
    return waits
  }
  const sum = (waits: number[]) => waits.reduce((total, wait) => total + wait, 0)

  test.each([0, 0.999999])(
    'the waits between attempts grow from ten seconds, add up to at least 72 hours, and then the delivery fails (jitter %d)',
    async (jitter) => {
      vi.spyOn(Math, 'random').mockReturnValue(jitter)
      const waits = await waitsUntilDead()
      expect(waits[0]).toBeGreaterThanOrEqual(10 * SECOND_MS)
      expect(waits[0]).toBeLessThanOrEqual(11 * SECOND_MS)
      expect(waits).toEqual(waits.toSorted((a, b) => a - b))
      expect(sum(waits)).toBeGreaterThanOrEqual(72 * HOUR_MS)
      expect(sum(waits)).toBeLessThan(80 * HOUR_MS)
      expect(await deliveries()).toMatchObject([{ state: 'dead', last_outcome: '503', settled_at: Date.now() }])
    },
  )

  test('events that failed together are retried at different times', async () => {
    setClock(Date.now())
    let draws = 0
    vi.spyOn(Math, 'random').mockImplementation(() => (draws++ % 8) / 8)
    const receiver = await newReceiver({ ...key, answer: down })
    for (let i = 0; i < 8; i++) await change()
    const times = (await deliveries(receiver)).map((row) => row.next_attempt_at)
    expect(new Set(times).size).toBeGreaterThan(4)
  })

  test('an event is not sent again before its next attempt is due', async () => {
    const receiver = await newReceiver({ ...key, answer: down })
    await change()
    const [row] = await deliveries(receiver)
    setClock((row?.next_attempt_at ?? 0) - 1)
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(1)
    setClock(row?.next_attempt_at ?? 0)
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(2)
  })
})

describe('a receiver influences the retries', () => {
  const answerWith = (status: number, retryAfter: string) => () =>
    new Response('', { status, headers: { 'Retry-After': retryAfter } })

  /** The wait after the first attempt, in ms. */
  async function firstWait(answer: Receiver['answer']): Promise<number> {
    setClock(Date.now())
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const receiver = await newReceiver({ ...key, answer })
    await change()
    const [row] = await deliveries(receiver)
    return (row?.next_attempt_at ?? 0) - Date.now()
  }

  test('a response with status 410 ends the retries of an event, and later events are still sent', async () => {
    const receiver = await newReceiver({ ...key, answer: () => new Response('', { status: 410 }) })
    await change()
    const ended = { state: 'dead', attempts: 1, last_outcome: '410: the receiver wants no retries' }
    expect(await deliveries(receiver)).toMatchObject([ended])
    receiver.answer = up
    setClock(Date.now() + 80 * HOUR_MS)
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(1)
    await change()
    expect(receiver.arrivals).toHaveLength(2)
  })

  test.each([429, 503, 500])('Retry-After delays the next attempt after a response with status %i', async (status) => {
    expect(await firstWait(answerWith(status, '3600'))).toBe(HOUR_MS)
  })

  test('Retry-After may be a date', async () => {
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2 * HOUR_MS)
    const wait = await firstWait(answerWith(503, date.toUTCString()))
    expect(wait).toBe(date.getTime() - Date.now())
  })

  test.each(['0', '5', '-5', 'soon', 'Thu, 01 Jan 1970 00:00:00 GMT', '', '1e9'])(
    'Retry-After: %s does not shorten the backoff',
    async (value) => expect(await firstWait(answerWith(503, value))).toBe(10 * SECOND_MS),
  )

  test.each(['86401', '999999999999999', 'Fri, 31 Dec 9999 23:59:59 GMT'])(
    'Retry-After: %s counts as one day, the maximum wait',
    async (value) => expect(await firstWait(answerWith(503, value))).toBe(24 * HOUR_MS),
  )
})

describe('each event is delivered when the receiver works again', () => {
  test.each<[string, Receiver['answer'], string]>([
    ['500', () => new Response('', { status: 500 }), '500'],
    ['404', () => new Response('', { status: 404 }), '404'],
    ['429', () => new Response('', { status: 429 }), '429'],
    ['a redirect', () => Response.redirect('https://elsewhere.example.com/', 307), '307'],
    ['304', () => new Response(null, { status: 304 }), '304'],
    ['a broken connection', () => Promise.reject(new TypeError('Network connection lost.')), 'no connection'],
  ])('after a receiver has failed and works again, each event is delivered: %s', async (_, answer, outcome) => {
    const receiver = await newReceiver({ ...key, answer })
    const ids = [await change(), await change(), await change()]
    expect((await deliveries(receiver)).map((row) => row.last_outcome)).toEqual(Array(3).fill(outcome))
    expect(await listed()).toEqual({ pending: 3, delivered: 0, dead: 0 })
    await runWhenDue()
    receiver.answer = up
    while ((await listed())?.pending) await runWhenDue()
    expect([...new Set(idsAt(receiver))].sort()).toEqual(ids.sort())
    expect(await listed()).toEqual({ pending: 0, delivered: 3, dead: 0 })
    const sent = receiver.arrivals.length
    setClock(Date.now() + 24 * HOUR_MS)
    await runSchedule()
    expect(receiver.arrivals).toHaveLength(sent)
  })

  test.each([200, 201, 204, 299])('an event is delivered if the receiver responds with status %i', async (status) => {
    const receiver = await newReceiver({ ...key, answer: () => ({ status, body: null }) as Response })
    await change()
    expect(await deliveries(receiver)).toMatchObject([{ state: 'delivered', last_outcome: String(status) }])
  })

  test('an attempt without a response within 10 s is retried', async () => {
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => {
      return AbortSignal.abort(new DOMException('', 'TimeoutError'))
    })
    const receiver = await newReceiver({ ...key, answer: ({ init }) => Promise.reject(init.signal?.reason) })
    await change()
    expect(timeout.mock.calls).toEqual([[10_000]])
    expect(await deliveries(receiver)).toMatchObject([{ state: 'pending', last_outcome: 'timed out' }])
    timeout.mockRestore()
    receiver.answer = up
    await runWhenDue()
    expect(await listed()).toEqual({ pending: 0, delivered: 1, dead: 0 })
  })

  test('each attempt of a delivery has a signature with the time of this attempt', async () => {
    const receiver = await newReceiver({ ...key, answer: down })
    await change()
    await runWhenDue()
    const [first, second] = receiver.arrivals
    expect(second?.body).toBe(first?.body)
    const time = (header: string | null | undefined) => Number(/^t=(\d+),/.exec(header ?? '')?.[1])
    const times = [first, second].map((arrival) => time(arrival?.headers.get('WorkOS-Signature')))
    expect(times[1]).toBe(Date.now())
    expect(times[1]).toBeGreaterThan((times[0] as number) + 4 * SECOND_MS)
  })

  test('an event is sent again if the outcome of its first attempt could not be recorded', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    const receiver = await newReceiver(key)
    const overloaded = new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')
    const { database: DB } = failingAt(env.DB, /^UPDATE webhook_deliveries SET state = \?/, overloaded)
    await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings: { DB } })
    expect(receiver.arrivals).toHaveLength(1)
    expect(logged).toHaveBeenCalledWith(expect.objectContaining({ message: 'webhook attempt not recorded' }))
    await runWhenDue()
    expect(idsAt(receiver)).toEqual(Array(2).fill(receiver.arrivals[0]?.event.id))
    expect(await listed()).toEqual({ pending: 0, delivered: 1, dead: 0 })
  })
})

test('failed deliveries are counted, and resending them starts their attempts from the beginning', async () => {
  const receiver = await newReceiver({ ...key, answer: down })
  const ids = [await change(), await change()]
  while ((await listed())?.pending) await runWhenDue()
  expect(await listed()).toEqual({ pending: 0, delivered: 0, dead: 2 })
  expect(await reviveDeliveries(operatorDatabase(), receiver.id, Date.now())).toBe(2)
  await runSchedule()
  expect(await deliveries(receiver)).toMatchObject([
    { attempts: 1, state: 'pending' },
    { attempts: 1, state: 'pending' },
  ])
  receiver.answer = up
  const before = receiver.arrivals.length
  while ((await listed())?.pending) await runWhenDue()
  expect(idsAt(receiver).slice(before).sort()).toEqual(ids.sort())
  expect(await listed()).toEqual({ pending: 0, delivered: 2, dead: 0 })
  expect(await reviveDeliveries(operatorDatabase(), receiver.id, Date.now())).toBe(0)
})
