import { env } from 'cloudflare:workers'
import { expect, inject, test } from 'vitest'
import { call, m2mApplication, newApiKey } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'

const WRITERS = 50
const CHANGES_EACH = 4

/** Between 0 and 1, the same for the same seed (mulberry32). */
let state = inject('seed')
function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

/** The reader polls as often as it can. */
const UNLIMITED = { MANAGEMENT_CALLS: { limit: async () => ({ success: true }) } }

/** Those who wait for a number of polls, so that writers are late by what the reader does and not by the clock. */
const waiting: { until: number; go: () => void }[] = []
let polls = 0
const wait = (count: number) => new Promise<void>((go) => waiting.push({ until: polls + count, go }))

/**
 * The database, with some batches on their way for long and some replies too: ids are made before the commit, so that
 * late ones sort before events that the reader has seen already.
 */
const DB = withBatch(env.DB, async (real, statements) => {
  if (random() < 0.4) await wait(1 + Math.floor(random() * 10))
  const results = await real(statements)
  if (random() < 0.2) await wait(1 + Math.floor(random() * 4))
  return results
})

test('a reader that continues after the last event it has seen reads each event once, while 50 callers write', async () => {
  const { apiKey, environmentId } = await newApiKey()
  const seen: string[] = []
  const bindings = { ...UNLIMITED, DB, REQUEST_BUDGET_MS: 30_000 }
  const write = async (method: string, path: string, body: object) => {
    const reply = await call(apiKey, method, path, { body, bindings })
    expect(reply.status, reply.text).toBeLessThan(300)
    return reply.json
  }
  let isOver = false
  const writing = Promise.all(
    Array.from({ length: WRITERS }, async () => {
      const { id } = await write('POST', '/connect/applications', m2mApplication)
      for (let i = 1; i < CHANGES_EACH; i++) await write('PUT', `/connect/applications/${id}`, { name: `${i}` })
    }),
  ).finally(() => {
    isOver = true
  })

  async function poll(): Promise<number> {
    const after = seen.at(-1)
    const { json } = await call(apiKey, 'GET', `/events?limit=7${after ? `&after=${after}` : ''}`, {
      bindings: UNLIMITED,
    })
    seen.push(...json.data.map(({ id }: { id: string }) => id))
    polls++
    for (const late of waiting.splice(0)) {
      if (polls < late.until) waiting.push(late)
      else late.go()
    }
    return json.data.length
  }
  while (!isOver) {
    await poll()
    // Lets timers run, on which webhooks wait.
    await new Promise((resolve) => setTimeout(resolve))
  }
  await writing
  while ((await poll()) > 0);

  const { results } = await env.DB.prepare('SELECT id FROM events WHERE environment_id = ? ORDER BY seq')
    .bind(environmentId)
    .all<{ id: string }>()
  const committed = results.map(({ id }) => id)
  expect(committed).toHaveLength(WRITERS * CHANGES_EACH)
  expect(seen).toEqual(committed)
  // Writers that were late are what makes it a test.
  expect(committed.filter((id, i) => i > 0 && id < (committed[i - 1] as string))).not.toEqual([])
})
