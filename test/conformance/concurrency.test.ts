import { expect, test, vi } from 'vitest'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'

/** More than a crowd that comes all at once has to wait for one database on a busy machine, in milliseconds. */
const REQUEST_BUDGET_MS = 30_000
const LIMIT = 5
const JSON_TYPE = 'application/json'

const served = await serve({
  workers: 2,
  vars: { REQUEST_BUDGET_MS, MAX_SECRETS_PER_APPLICATION: LIMIT },
  rateLimits: false,
})
const { database, origins } = served
const { apiKey } = await newApiKey(database)

vi.setConfig({ testTimeout: 180_000 })

interface Reply {
  readonly status: number
  readonly text: string
  readonly isReplay: boolean
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they please, and the contract has been checked.
  readonly json: any
}

let sent = 0

/** Calls the two Workers in turn. */
async function call(method: string, path: string, { body = {}, key = '', as = apiKey } = {}): Promise<Reply> {
  const response = await served.fetch(`${origins[sent++ % origins.length]}/connect${path}`, {
    method,
    headers: { Authorization: `Bearer ${as}`, 'Content-Type': JSON_TYPE, ...(key && { 'Idempotency-Key': key }) },
    ...(method === 'POST' && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    text,
    isReplay: response.headers.get('Idempotent-Replayed') === 'true',
    json: text && JSON.parse(text),
  }
}

const times = <T>(count: number, make: (i: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)))

/** Does each of `steps` over and over, until `work` is done. */
async function meanwhile<T>(work: Promise<T>, steps: ((round: number) => Promise<unknown>)[]): Promise<T> {
  let isOver = false
  const repeating = steps.map(async (step) => {
    for (let round = 0; !isOver; round++) await step(round)
  })
  try {
    return await work
  } finally {
    isOver = true
    await Promise.all(repeating)
  }
}

/** How many replies there are of each kind. */
function tally(replies: Reply[]): Record<string, number> {
  const kinds = replies.map(({ status, json }) => (status < 300 ? `${status}` : `${status} ${json.code}`))
  const count = (kind: string) => kinds.filter((other) => other === kind).length
  return Object.fromEntries([...new Set(kinds)].map((kind) => [kind, count(kind)]))
}

async function count(from: string, ...values: string[]): Promise<number> {
  return (
    (await database
      .prepare(`SELECT count(*) AS n FROM ${from}`)
      .bind(...values)
      .first<number>('n')) ?? -1
  )
}

async function newApplication(as = apiKey): Promise<string> {
  const body = { application_type: 'm2m', name: 'Nightly', organization_id: 'org_1' }
  return (await call('POST', '/applications', { body, as })).json.id
}

test('1,000 concurrent creates of a secret under one key make one', async () => {
  const id = await newApplication()
  const key = crypto.randomUUID()
  const replies = await times(1_000, () => call('POST', `/applications/${id}/client_secrets`, { key }))
  expect(tally(replies)).toEqual({ 201: 1_000 })
  expect(new Set(replies.map(({ text }) => text))).toHaveLength(1)
  expect(replies.filter(({ isReplay }) => isReplay)).toHaveLength(999)
  expect(await count('client_secrets WHERE application_id = ?', id)).toBe(1)
  expect(await count(`events WHERE data ->> 'application_id' = ?`, id)).toBe(1)
})

test('200 concurrent creates of an application under one key make one', async () => {
  const key = crypto.randomUUID()
  const body = { application_type: 'm2m', name: crypto.randomUUID(), organization_id: 'org_1' }
  const replies = await times(200, () => call('POST', '/applications', { key, body }))
  expect(tally(replies)).toEqual({ 201: 200 })
  expect(new Set(replies.map(({ text }) => text))).toHaveLength(1)
  expect(replies.filter(({ isReplay }) => isReplay)).toHaveLength(199)
  expect(await count('applications WHERE name = ?', body.name)).toBe(1)
  expect(await count(`events WHERE data ->> 'name' = ?`, body.name)).toBe(1)
})

test('of 500 concurrent creates three below the limit, three succeed, and nobody ever sees more', async () => {
  const id = await newApplication()
  const path = `/applications/${id}/client_secrets`
  await times(LIMIT - 3, () => call('POST', path))
  const seen: number[] = []
  const look = async (live: Promise<number>) => seen.push(await live)
  const replies = await meanwhile(
    times(500, () => call('POST', path)),
    [
      () => look(call('GET', path).then(({ json }) => json.length)),
      () => look(count('client_secrets WHERE application_id = ? AND revoked_at IS NULL', id)),
    ],
  )
  expect(tally(replies)).toEqual({ 201: 3, '422 client_secret_limit_reached': 497 })
  expect(new Set(replies.filter(({ status }) => status === 201).map(({ json }) => json.secret))).toHaveLength(3)
  expect(seen.length).toBeGreaterThan(3)
  expect(Math.max(...seen)).toBeLessThanOrEqual(LIMIT)
  expect(await count(`client_secrets WHERE application_id = ?`, id)).toBe(LIMIT)
  expect(await count(`events WHERE data ->> 'application_id' = ?`, id)).toBe(LIMIT)
})

test('concurrent deletes of a secret all succeed, and make one tombstone and one event', async () => {
  const application = await newApplication()
  for (let round = 0; round < 20; round++) {
    const { id } = (await call('POST', `/applications/${application}/client_secrets`)).json
    const replies = await times(2 + round, () => call('DELETE', `/client_secrets/${id}`))
    expect(tally(replies)).toEqual({ 204: 2 + round })
    expect(await count('client_secrets WHERE id = ? AND revoked_at IS NOT NULL', id)).toBe(1)
    expect(await count(`events WHERE type = 'connect_application_secret.deleted' AND data ->> 'id' = ?`, id)).toBe(1)
  }
})

test('concurrent deletes of an application all succeed, and make one event that names its secrets', async () => {
  for (let round = 0; round < 10; round++) {
    const id = await newApplication()
    const secrets = await times(2, async () => (await call('POST', `/applications/${id}/client_secrets`)).json.id)
    expect(tally(await times(2 + round, () => call('DELETE', `/applications/${id}`)))).toEqual({ 204: 2 + round })
    expect(await count('client_secrets WHERE application_id = ? AND revoked_at IS NOT NULL', id)).toBe(2)
    const deleted = `SELECT data ->> '$.client_secrets' AS secrets FROM events WHERE type = 'connect_application.deleted' AND data ->> 'id' = ?`
    const { results } = await database.prepare(deleted).bind(id).all<{ secrets: string }>()
    expect(results).toHaveLength(1)
    const named: { id: string }[] = JSON.parse(results[0]?.secrets ?? '[]')
    expect(named.map(({ id }) => id).sort()).toEqual(secrets.sort())
  }
})

test('of creates that race against the deletion of their application, none outlives it', async () => {
  for (let round = 0; round < 10; round++) {
    const id = await newApplication()
    const creates = times(LIMIT, () => call('POST', `/applications/${id}/client_secrets`))
    const deleted = call('DELETE', `/applications/${id}`)
    const replies = await Promise.all([creates, deleted.then((reply) => [reply])])
    for (const kind of Object.keys(tally(replies.flat())))
      expect(['201', '204', '404 entity_not_found']).toContain(kind)
    expect(await count('client_secrets WHERE application_id = ? AND revoked_at IS NULL', id)).toBe(0)
  }
})

test('one key used at once for an application and a secret serves one of them', async () => {
  const id = await newApplication()
  for (let round = 0; round < 30; round++) {
    const key = crypto.randomUUID()
    const body = { application_type: 'm2m', name: key, organization_id: 'org_1' }
    const forApplication = () => call('POST', '/applications', { key, body })
    const forSecret = () => call('POST', `/applications/${id}/client_secrets`, { key })
    const replies = await Promise.all(
      round % 2 ? [forApplication(), forSecret()] : [forSecret(), forApplication()].reverse(),
    )
    expect(tally(replies)).toEqual({ 201: 1, '422 idempotency_key_reused': 1 })
    const [application, secret] = replies.map(({ status }) => Number(status === 201))
    expect(await count('applications WHERE name = ?', key)).toBe(application)
    expect(await count('client_secrets WHERE application_id = ? AND revoked_at IS NULL', id)).toBe(secret)
    if (secret) await call('DELETE', `/client_secrets/${replies[1]?.json.id}`)
  }
})

test('pages read while 50 writers create and delete show each application that lives throughout once', async () => {
  const { apiKey: as } = await newApiKey(database)
  const created = await times(120, () => newApplication(as))
  const doomed = created.filter((_, i) => i % 2)
  const lasting = created.filter((_, i) => i % 2 === 0)
  const writers = Array.from({ length: 50 }, (_, i) => async (round: number) => {
    const mine = await newApplication(as)
    const victims = round % 4 === i % 4 ? [mine, doomed.pop()] : [mine]
    for (const id of victims) if (id) expect((await call('DELETE', `/applications/${id}`, { as })).status).toBe(204)
  })
  /** Follows one cursor until it has met each lasting one: beyond them there are always newer ones. */
  async function walk(order: string, cursor: 'before' | 'after'): Promise<string[]> {
    const met: string[] = []
    for (let from = ''; !lasting.every((id) => met.includes(id)); ) {
      const path = `/applications?limit=10&order=${order}${from && `&${cursor}=${from}`}`
      const { json } = await call('GET', path, { as })
      met.push(...json.data.map(({ id }: { id: string }) => id))
      from = json.list_metadata[cursor]
      if (from === null) break
      // What marks the place may be gone before the next page is asked for.
      if (doomed.includes(from)) await call('DELETE', `/applications/${from}`, { as })
    }
    return met
  }
  const walking = Promise.all([walk('desc', 'after'), walk('asc', 'after'), walk('normal', 'before')])
  const walks = await meanwhile(walking, writers)
  expect(doomed.length).toBeLessThan(60)
  for (const met of walks) {
    expect(met.filter((id) => lasting.includes(id)).sort()).toEqual(lasting.sort())
    expect(new Set(met)).toHaveLength(met.length)
  }
})

test('a list read while 50 writers create and revoke shows each secret that lives throughout once', async () => {
  const id = await newApplication()
  const path = `/applications/${id}/client_secrets`
  const lasting = await times(2, async () => (await call('POST', path)).json.id)
  let revoked = 0
  const writing = times(50, async () => {
    for (let round = 0; round < 5; round++) {
      const { status, json } = await call('POST', path)
      if (status === 201) expect((await call('DELETE', `/client_secrets/${json.id}`)).status).toBe(204)
      if (status === 201) revoked++
    }
  })
  const read = async () => {
    const { json } = await call('GET', path)
    const ids: string[] = json.map(({ id }: { id: string }) => id)
    expect(ids.filter((listed) => lasting.includes(listed)).sort()).toEqual(lasting.sort())
    expect(new Set(ids)).toHaveLength(ids.length)
    expect(ids.length).toBeLessThanOrEqual(LIMIT)
  }
  await meanwhile(writing, [read, read])
  expect(revoked).toBeGreaterThan(3)
  expect((await call('GET', path)).json.map((secret: { id: string }) => secret.id).sort()).toEqual(lasting.sort())
})
