import { expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import fc from '../property.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { managementOf } from './management.ts'

/** Two Workers over one database, called at once. D1 writes one batch at a time: many callers meet no more than some do. */
const LIMIT = 5
const APPLICATION_LIMIT = 10_000
const WRITERS = size(10, 50)

const served = await serve({
  workers: 2,
  // Longer than a crowd that comes all at once waits for one database on a busy machine.
  vars: {
    REQUEST_BUDGET_MS: 30_000,
    MAX_SECRETS_PER_APPLICATION: LIMIT,
    MAX_APPLICATIONS_PER_ENVIRONMENT: APPLICATION_LIMIT,
  },
  rateLimits: false,
})
const { database } = served
const newCaller = async () => managementOf(served, (await newApiKey(database)).apiKey)
const call = await newCaller()
type Reply = Awaited<ReturnType<typeof call>>

const times = <T>(count: number, make: (i: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)))

/** Repeats each of `steps` until `work` has ended. */
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

const kindOf = ({ status, json }: Reply) => (status < 300 ? `${status}` : `${status} ${json.code}`)

/** How many replies there are of each kind. */
function tally(replies: Reply[]): Record<string, number> {
  const kinds = replies.map(kindOf)
  return Object.fromEntries([...new Set(kinds)].map((kind) => [kind, kinds.filter((other) => other === kind).length]))
}

async function count(from: string, ...values: string[]): Promise<number> {
  const counting = database.prepare(`SELECT count(*) AS n FROM ${from}`).bind(...values)
  return (await counting.first<number>('n')) ?? -1
}

const idsOf = (listed: { id: string }[]) => listed.map(({ id }) => id)

async function newApplication(as = call): Promise<string> {
  return (await as('POST', '/connect/applications', { body: m2mApplication })).json.id
}
const create = (application: string, headers = {}) => call('POST', secretsOf(application), { headers })
const revoke = (id: string) => call('DELETE', `/connect/client_secrets/${id}`)

const MANY = size(40, 1_000)

test(`${MANY} concurrent creates of a secret with the same Idempotency-Key create one secret`, async () => {
  const id = await newApplication()
  const headers = { 'Idempotency-Key': crypto.randomUUID() }
  const replies = await times(MANY, () => create(id, headers))
  expect(tally(replies)).toEqual({ 201: MANY })
  expect(new Set(replies.map(({ text }) => text))).toHaveLength(1)
  expect(replies.filter(({ isReplay }) => isReplay)).toHaveLength(MANY - 1)
  expect(await count('client_secrets WHERE application_id = ?', id)).toBe(1)
  // Each replay, which returns the plaintext again, has an event of its own.
  expect(await count(`events WHERE type NOT LIKE '%.replayed' AND data ->> 'application_id' = ?`, id)).toBe(1)
})

test(`${MANY / 2} concurrent creates of an application with the same Idempotency-Key create one application`, async () => {
  const headers = { 'Idempotency-Key': crypto.randomUUID() }
  const body = { ...m2mApplication, name: crypto.randomUUID() }
  const replies = await times(MANY / 2, () => call('POST', '/connect/applications', { headers, body }))
  expect(tally(replies)).toEqual({ 201: MANY / 2 })
  expect(new Set(replies.map(({ text }) => text))).toHaveLength(1)
  expect(replies.filter(({ isReplay }) => isReplay)).toHaveLength(MANY / 2 - 1)
  expect(await count('applications WHERE name = ?', body.name)).toBe(1)
  expect(await count(`events WHERE data ->> 'name' = ?`, body.name)).toBe(1)
})

test('if the limit leaves room for three secrets, concurrent creates make exactly three, and no reader sees more than the limit', async () => {
  const id = await newApplication()
  await times(LIMIT - 3, () => create(id))
  const seen: number[] = []
  const look = async (active: Promise<number>) => seen.push(await active)
  const replies = await meanwhile(
    times(MANY / 2, () => create(id)),
    [
      () => look(call('GET', secretsOf(id)).then(({ json }) => json.length)),
      () => look(count('client_secrets WHERE application_id = ? AND revoked_at IS NULL', id)),
    ],
  )
  expect(tally(replies)).toEqual({ 201: 3, '422 client_secret_limit_reached': MANY / 2 - 3 })
  expect(new Set(replies.filter(({ status }) => status === 201).map(({ json }) => json.secret))).toHaveLength(3)
  expect(Math.max(...seen)).toBeLessThanOrEqual(LIMIT)
  expect(await count(`client_secrets WHERE application_id = ?`, id)).toBe(LIMIT)
  expect(await count(`events WHERE data ->> 'application_id' = ?`, id)).toBe(LIMIT)
})

test('if the limit leaves room for three applications, concurrent creates make exactly three', async () => {
  const { apiKey, environmentId } = await newApiKey(database)
  const as = managementOf(served, apiKey)
  await database
    .prepare('UPDATE environments SET application_count = ? WHERE id = ?')
    .bind(APPLICATION_LIMIT - 3, environmentId)
    .run()
  const replies = await times(MANY / 2, () => as('POST', '/connect/applications', { body: m2mApplication }))
  expect(tally(replies)).toEqual({ 201: 3, '422 application_limit_reached': MANY / 2 - 3 })
  expect(await count('applications WHERE environment_id = ?', environmentId)).toBe(3)
  expect(
    await count('environments WHERE id = ? AND application_count = ?', environmentId, `${APPLICATION_LIMIT}`),
  ).toBe(1)
})

test('random concurrent changes never leave more active secrets, or more secrets that a rotation expires, than the limit', async () => {
  const rounds = size(3, 30)
  const atOnce = size(20, 40)
  interface Moment {
    readonly counted: number
    readonly rotatedOut: number
  }
  /** The secrets of an application that count against the limit now, and those that are rotated out. */
  const moment = (application: string) =>
    `SELECT coalesce(sum(is_rotated_out = 0), 0) AS counted, coalesce(sum(is_rotated_out), 0) AS rotatedOut FROM client_secrets
      WHERE application_id = ${application} AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > unixepoch('subsec') * 1000)`
  const id = await newApplication()
  // The event of a change is its last statement: what is counted then is what the change leaves.
  await database.prepare('CREATE TABLE moments (counted INTEGER, rotatedOut INTEGER)').run()
  await database
    .prepare(
      `CREATE TRIGGER watch AFTER INSERT ON events WHEN NEW.data ->> 'application_id' = '${id}' BEGIN
        INSERT INTO moments SELECT * FROM (${moment(`'${id}'`)});
      END`,
    )
    .run()

  const rotate = (grace_period_seconds: number) =>
    call('POST', `${secretsOf(id)}/rotate`, { body: { grace_period_seconds } })
  const update = (body: object) => (on: string) => call('PATCH', `/connect/client_secrets/${on}`, { body })
  const change = fc.constantFrom<((on: string) => Promise<Reply>)[]>(
    // Most of them make a secret count that did not.
    ...[() => create(id), () => create(id), () => rotate(0), () => rotate(60), () => rotate(3600)],
    ...[update({ expires_at: null }), update({ expires_at: null }), update({ expires_at: null, disabled: false })],
    ...[update({ disabled: false }), update({ disabled: true }), revoke],
  )
  const draws = fc.sample(fc.tuple(change, fc.nat()), { numRuns: rounds * atOnce })

  // Both maximums are met once, whatever the random changes meet.
  const replies = [...(await times(LIMIT + 1, () => create(id))), await rotate(3600)]
  const polled: Moment[] = []
  const poll = async () => {
    polled.push((await database.prepare(moment('?')).bind(id).first<Moment>()) as Moment)
  }
  await poll()
  for (let round = 0; round < rounds; round++) {
    await rotate(3600)
    const ids = idsOf((await call('GET', secretsOf(id))).json)
    const drawn = draws.slice(round * atOnce, (round + 1) * atOnce)
    const changes = Promise.all(drawn.map(([send, nth]) => send(ids[nth % ids.length] as string)))
    replies.push(...(await meanwhile(changes, [poll])))
  }

  const { results: recorded } = await database.prepare('SELECT * FROM moments').all<Moment>()
  expect(Math.max(...recorded.map(({ counted }) => counted))).toBe(LIMIT)
  expect(Math.max(...recorded.map(({ rotatedOut }) => rotatedOut))).toBe(LIMIT)
  expect(Math.max(...polled.map(({ counted }) => counted))).toBeLessThanOrEqual(LIMIT)
  expect(Math.max(...polled.map(({ rotatedOut }) => rotatedOut))).toBe(LIMIT)
  const kinds = Object.keys(tally(replies))
  expect(kinds).toEqual(expect.arrayContaining(['201', '422 client_secret_limit_reached']))
  for (const kind of kinds)
    expect(kind).toMatch(/^(20\d|404 entity_not_found|422 client_secret_(limit_reached|expired))$/)
})

test('if all secrets that a rotation expires are kept at once, only as many are kept as the limit allows', async () => {
  for (let round = 0; round < size(3, 10); round++) {
    const id = await newApplication()
    const old: string[] = await times(LIMIT, async () => (await create(id)).json.id)
    await call('POST', `${secretsOf(id)}/rotate`)
    const keep = (secret: string) => call('PATCH', `/connect/client_secrets/${secret}`, { body: { expires_at: null } })
    const statuses = (await Promise.all([...old.map(keep), create(id)])).map(({ status }) => status)
    expect(statuses.filter((status) => status < 300)).toHaveLength(LIMIT - 1)
    expect(statuses.filter((status) => status === 422)).toHaveLength(2)
    expect(await count('client_secrets WHERE application_id = ? AND is_rotated_out = 0', id)).toBe(LIMIT)
  }
})

test('concurrent deletes of a secret all succeed, and record one event', async () => {
  const application = await newApplication()
  for (let deletes = 2; deletes < size(7, 22); deletes++) {
    const { id } = (await create(application)).json
    expect(tally(await times(deletes, () => revoke(id)))).toEqual({ 204: deletes })
    expect(await count('client_secrets WHERE id = ? AND revoked_at IS NOT NULL', id)).toBe(1)
    expect(await count(`events WHERE type = 'connect_application_secret.deleted' AND data ->> 'id' = ?`, id)).toBe(1)
  }
})

test('concurrent deletes of an application all succeed, and record one event that names its secrets', async () => {
  for (let deletes = 2; deletes < size(5, 12); deletes++) {
    const id = await newApplication()
    const secrets = await times(2, async () => (await create(id)).json.id)
    expect(tally(await times(deletes, () => call('DELETE', `/connect/applications/${id}`)))).toEqual({ 204: deletes })
    expect(await count('client_secrets WHERE application_id = ? AND revoked_at IS NOT NULL', id)).toBe(2)
    const deleted = `SELECT data ->> '$.client_secrets' AS secrets FROM events WHERE type = 'connect_application.deleted' AND data ->> 'id' = ?`
    const { results } = await database.prepare(deleted).bind(id).all<{ secrets: string }>()
    expect(results).toHaveLength(1)
    expect(idsOf(JSON.parse(results[0]?.secrets ?? '[]')).sort()).toEqual(secrets.sort())
  }
})

test('if secrets are created while their application is deleted, no active secret remains', async () => {
  for (let round = 0; round < size(5, 10); round++) {
    const id = await newApplication()
    const creates = times(LIMIT, () => create(id))
    const deleting = call('DELETE', `/connect/applications/${id}`)
    const kinds = Object.keys(tally([...(await creates), await deleting]))
    for (const kind of kinds) expect(['201', '204', '404 entity_not_found']).toContain(kind)
    expect(await count('client_secrets WHERE application_id = ? AND revoked_at IS NULL', id)).toBe(0)
  }
})

test('the same Idempotency-Key, used for an application and a secret at once, creates only one of them', async () => {
  const id = await newApplication()
  for (let round = 0; round < size(6, 30); round++) {
    const key = crypto.randomUUID()
    const headers = { 'Idempotency-Key': key }
    const body = { ...m2mApplication, name: key }
    const forApplication = () => call('POST', '/connect/applications', { headers, body })
    const forSecret = () => create(id, headers)
    const replies = await Promise.all(
      round % 2 ? [forApplication(), forSecret()] : [forSecret(), forApplication()].reverse(),
    )
    expect(tally(replies)).toEqual({ 201: 1, '422 idempotency_key_reused': 1 })
    const [application, secret] = replies.map(({ status }) => Number(status === 201))
    expect(await count('applications WHERE name = ?', key)).toBe(application)
    expect(await count('client_secrets WHERE application_id = ? AND revoked_at IS NULL', id)).toBe(secret)
    if (secret) await revoke(replies[1]?.json.id)
  }
})

test(`while ${WRITERS} writers create and delete applications, the pages of the list have each lasting one exactly once`, async () => {
  const as = await newCaller()
  const created = await times(size(30, 120), () => newApplication(as))
  const doomed = created.filter((_, i) => i % 2)
  const lasting = created.filter((_, i) => i % 2 === 0)
  const writers = Array.from({ length: WRITERS }, (_, i) => async (round: number) => {
    const mine = await newApplication(as)
    const victims = round % 4 === i % 4 ? [mine, doomed.pop()] : [mine]
    for (const id of victims) if (id) expect((await as('DELETE', `/connect/applications/${id}`)).status).toBe(204)
  })
  /** Follows one cursor until it has met each lasting one: beyond them there are always newer ones. */
  async function walk(order: string, cursor: 'before' | 'after'): Promise<string[]> {
    const met: string[] = []
    for (let from = ''; !lasting.every((id) => met.includes(id)); ) {
      const { json } = await as('GET', `/connect/applications?limit=5&order=${order}${from && `&${cursor}=${from}`}`)
      met.push(...idsOf(json.data))
      from = json.list_metadata[cursor]
      if (from === null) break
      // The application at the cursor may be deleted before the next page is read.
      if (doomed.includes(from)) await as('DELETE', `/connect/applications/${from}`)
    }
    return met
  }
  const walking = Promise.all([walk('desc', 'after'), walk('asc', 'after'), walk('normal', 'before')])
  const walks = await meanwhile(walking, writers)
  expect(doomed.length).toBeLessThan(lasting.length)
  for (const met of walks) {
    expect(met.filter((id) => lasting.includes(id)).sort()).toEqual(lasting.sort())
    expect(new Set(met)).toHaveLength(met.length)
  }
})

test(`while ${WRITERS} writers create and revoke, a list has every unrevoked secret exactly once`, async () => {
  const id = await newApplication()
  const lasting: string[] = await times(2, async () => (await create(id)).json.id)
  let revoked = 0
  const writing = times(WRITERS, async () => {
    for (let round = 0; round < 5; round++) {
      const { status, json } = await create(id)
      if (status === 201) expect((await revoke(json.id)).status).toBe(204)
      if (status === 201) revoked++
    }
  })
  const read = async () => {
    const ids = idsOf((await call('GET', secretsOf(id))).json)
    expect(ids.filter((listed) => lasting.includes(listed)).sort()).toEqual(lasting.sort())
    expect(new Set(ids)).toHaveLength(ids.length)
    expect(ids.length).toBeLessThanOrEqual(LIMIT)
  }
  await meanwhile(writing, [read, read])
  expect(revoked).toBeGreaterThan(0)
  expect(idsOf((await call('GET', secretsOf(id))).json).sort()).toEqual(lasting.sort())
})
