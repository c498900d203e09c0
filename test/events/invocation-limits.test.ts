import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { call, m2mApplication, newApiKey } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { deliveries, listenToWebhooks, newReceiver, type Receiver, runSchedule } from './receivers.ts'

listenToWebhooks()

/** Cloudflare ends an invocation that sends more statements to D1 than its plan allows: 50, or 1,000. */

let key: Awaited<ReturnType<typeof newApiKey>>
beforeEach(async () => {
  key = await newApiKey()
  // Its event is copied below.
  await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication })
})

/** Queues deliveries for a receiver, due since `minutes` ago, without sending them. */
async function queue({ id }: Receiver, count: number, minutes: number): Promise<void> {
  const dueAt = Date.now() - minutes * 60_000
  await env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
    INSERT INTO events (seq, id, environment_id, type, data, actor_type, created_at)
    SELECT (SELECT max(seq) FROM events) + i, 'event_' || ?1 || i, environment_id, type, data, 'system', created_at
    FROM n JOIN events ON environment_id = ?3 AND type = 'connect_application.created'
      AND id NOT LIKE 'event_we%'`,
  )
    .bind(id, count, key.environmentId)
    .run()
  await env.DB.prepare(
    `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
    SELECT ?1, id, ?2, 'pending', 0, ?3, ?3 FROM events WHERE id LIKE 'event_' || ?1 || '%'`,
  )
    .bind(id, key.environmentId, dueAt)
    .run()
  await env.DB.exec('UPDATE webhook_endpoints SET cursor = (SELECT max(seq) FROM events)')
}

/** Runs the schedule on a plan. Gives the statements that it sent. */
async function runOn(plan: number): Promise<number> {
  const counter = counted(env.DB)
  await runSchedule({ DB: counter.database, D1_QUERIES_PER_INVOCATION: plan })
  return counter.statements
}

const unfinished = async () => (await deliveries()).filter(({ state }) => state !== 'delivered')

describe('a run of the schedule', () => {
  test.each([
    [50, 40],
    [1_000, 600],
  ])(
    'a run of the schedule with a limit of %i D1 statements and %i due events per endpoint stays within the limit, and records each attempt',
    async (plan, count) => {
      const receivers = await Promise.all([1, 2, 3].map(() => newReceiver(key)))
      for (const receiver of receivers) await queue(receiver, count, 5)
      expect(await runOn(plan)).toBeLessThanOrEqual(plan)
      const attempts = receivers.flatMap(({ arrivals }) => arrivals).length
      expect(attempts).toBeGreaterThan(plan / 10)
      const left = await unfinished()
      expect(left).toHaveLength(3 * count - attempts)
      expect(left.every(({ attempts, lease }) => attempts === 0 && lease === null)).toBe(true)
    },
  )

  test('a run of the schedule sends at least one event to each endpoint, even if older deliveries to other endpoints are due', async () => {
    const flooded = await Promise.all([1, 2, 3].map(() => newReceiver(key)))
    const quiet = await Promise.all([1, 2, 3].map(() => newReceiver(key)))
    for (const receiver of flooded) await queue(receiver, 50, 60)
    for (const receiver of quiet) await queue(receiver, 1, 1)
    await runOn(50)
    expect([...flooded, ...quiet].every(({ arrivals }) => arrivals.length > 0)).toBe(true)
  })

  test('a run of the schedule leaves the remaining deliveries to the next runs, which send each event once', async () => {
    const receiver = await newReceiver(key)
    await queue(receiver, 30, 5)
    for (let run = 0; run < 30 && (await unfinished()).length > 0; run++) await runOn(50)
    expect(new Set(receiver.arrivals.map(({ event }) => event.id)).size).toBe(30)
    expect(receiver.arrivals).toHaveLength(30)
  })
})

test('on the Free plan, a change and its webhooks send at most 50 D1 statements, and the schedule sends the remaining webhooks', async () => {
  const receivers = await Promise.all(Array.from({ length: 40 }, () => newReceiver(key)))
  const counter = counted(env.DB)
  const bindings = { DB: counter.database, D1_QUERIES_PER_INVOCATION: 50 }
  await call(key.apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings })
  expect(counter.statements).toBeLessThanOrEqual(50)
  const reached = () => receivers.filter(({ arrivals }) => arrivals.length === 1).length
  expect(reached()).toBeGreaterThan(4)
  for (let run = 0; run < 10 && reached() < 40; run++) await runOn(50)
  expect(reached()).toBe(40)
})
