import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { call, m2mApplication, newApiKey } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'

const WRITERS = 50
const CHANGES_EACH = 8

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * The database, with some batches on their way for long and some replies too: ids are made before the commit, so that
 * late ones sort before events that readers have seen already.
 */
const DB = withBatch(env.DB, async (real, statements) => {
  if (Math.random() < 0.4) await sleep(Math.random() * 300)
  const results = await real(statements)
  if (Math.random() < 0.2) await sleep(Math.random() * 100)
  return results
})

test('a reader that polls behind the last event it has seen sees each event once, while 50 write', async () => {
  const { apiKey, environmentId } = await newApiKey()
  const seen: string[] = []
  const bindings = { DB, REQUEST_BUDGET_MS: 30_000 }
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

  /** One page behind the last event seen. Not through the delays: the more often, the likelier to be in between. */
  async function poll(): Promise<number> {
    const after = seen.at(-1)
    const { json } = await call(apiKey, 'GET', `/events?limit=7${after ? `&after=${after}` : ''}`)
    seen.push(...json.data.map(({ id }: { id: string }) => id))
    return json.data.length
  }
  let pollsWhileWriting = 0
  while (!isOver) {
    await poll()
    pollsWhileWriting++
    await sleep(5)
  }
  await writing
  while ((await poll()) > 0);

  const { results } = await env.DB.prepare('SELECT id FROM events WHERE environment_id = ? ORDER BY seq')
    .bind(environmentId)
    .all<{ id: string }>()
  const committed = results.map(({ id }) => id)
  expect(committed).toHaveLength(WRITERS * CHANGES_EACH)
  expect(seen).toEqual(committed)
  // That the writers were late, and the reader in their midst, is what makes it a test.
  expect(committed.filter((id, i) => i > 0 && id < (committed[i - 1] as string)).length).toBeGreaterThan(30)
  expect(pollsWhileWriting).toBeGreaterThan(10)
}, 30_000)
