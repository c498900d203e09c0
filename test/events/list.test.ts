import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { EVENT_TYPES } from '../../src/storage/events.ts'
import { call, m2mApplication, newApiKey } from '../api.ts'

/** 2026-01-01T00:00:00.000Z */
const START = Date.UTC(2026, 0)
const HOUR_MS = 60 * 60 * 1000
const COUNT = 150

interface Planted {
  readonly id: string
  readonly type: string
  readonly organization: string
  readonly createdAt: number
}

const key = await newApiKey()
const other = await newApiKey()
let planted: Planted[]

/** One real event to copy, then the rest at times of the test's choice, three to the same one. */
beforeAll(async () => {
  for (const { apiKey } of [key, other]) await call(apiKey, 'POST', '/connect/applications', { body: m2mApplication })
  const types = EVENT_TYPES.filter((type) => type.startsWith('connect_application.'))
  const plan = Array.from({ length: COUNT }, (_, i) => ({
    // As if made by clocks and commits that disagree: the ids are in no order.
    id: `event_${crypto.randomUUID()}`,
    type: types[i % 2] ?? '',
    organization: i % 3 ? 'org_1' : 'org_2',
    createdAt: START + Math.floor(i / 3) * HOUR_MS,
  }))
  await env.DB.batch(
    plan.map(({ id, type, organization, createdAt }, i) =>
      env.DB.prepare(
        `INSERT INTO events (seq, id, environment_id, organization_id, type, data, caller_id, caller_name, request_id, created_at)
         SELECT ?, ?, environment_id, ?, ?, data, caller_id, caller_name, request_id, ? FROM events WHERE environment_id = ? LIMIT 1`,
      ).bind(createdAt * 1000 + (i % 3), id, organization, type, createdAt, key.environmentId),
    ),
  )
  await env.DB.prepare('DELETE FROM events WHERE environment_id = ? AND created_at > ?')
    .bind(key.environmentId, START + COUNT * HOUR_MS)
    .run()
  planted = plan
})

const get = (query: string, apiKey = key.apiKey) => call(apiKey, 'GET', `/events${query && '?'}${query}`)
const idsOf = async (query: string): Promise<string[]> =>
  (await get(query)).json.data.map(({ id }: { id: string }) => id)
const plannedIds = (isListed: (event: Planted) => boolean = () => true) => planted.filter(isListed).map(({ id }) => id)

/** Follows `after` until there is no more. */
async function walk(query: string): Promise<string[]> {
  const met: string[] = []
  for (let after: string | null = ''; after !== null; ) {
    const { json } = await get(`${query}${after && `&after=${after}`}`)
    expect(json.data.length).toBeGreaterThan(0)
    met.push(...json.data.map(({ id }: { id: string }) => id))
    after = json.list_metadata.after
  }
  return met
}

describe('pages', () => {
  test('without a word, the ten oldest, and where to go on', async () => {
    const { json } = await get('')
    expect(json.data.map(({ id }: { id: string }) => id)).toEqual(plannedIds().slice(0, 10))
    expect(json.list_metadata).toStrictEqual({ after: planted[9]?.id })
  })

  test.each(['1', '7', '80', '100'])('lead to the end in both orders, %s at a time, each event once', async (limit) => {
    const of = limit === '1' ? `&range_end=${new Date(START + 5 * HOUR_MS).toISOString()}` : ''
    const all = limit === '1' ? plannedIds().slice(0, 15) : plannedIds()
    expect(await walk(`limit=${limit}${of}`)).toEqual(all)
    expect(await walk(`limit=${limit}&order=asc${of}`)).toEqual(all)
    expect(await walk(`limit=${limit}&order=desc${of}`)).toEqual(all.toReversed())
  })

  test('the last one, full or not, says that there is no more', async () => {
    expect((await get(`limit=80&after=${planted[COUNT - 81]?.id}`)).json.list_metadata).toStrictEqual({ after: null })
    expect((await get(`limit=80&after=${planted[COUNT - 41]?.id}`)).json.list_metadata).toStrictEqual({ after: null })
  })

  test('behind the last event there is an empty one', async () => {
    const empty = { object: 'list', data: [], list_metadata: { after: null } }
    expect((await get(`after=${planted[COUNT - 1]?.id}`)).json).toStrictEqual(empty)
    expect((await get(`order=desc&after=${planted[0]?.id}`)).json).toStrictEqual(empty)
  })

  test('a key that may only read reads them', async () => {
    const reader = await newApiKey({ access: 'read', environmentId: key.environmentId })
    expect((await get('', reader.apiKey)).json).toStrictEqual((await get('')).json)
  })

  test('another environment has its own', async () => {
    const { json } = await get('limit=100', other.apiKey)
    expect(json.data).toHaveLength(1)
    expect(plannedIds()).not.toContain(json.data[0].id)
  })
})

const [created, updated] = EVENT_TYPES
const isCreated = ({ type }: Planted) => type === created
const iso = (hours: number) => new Date(START + hours * HOUR_MS).toISOString()
const isBetween =
  (from: number, until: number) =>
  ({ createdAt }: Planted) =>
    createdAt >= START + from * HOUR_MS && createdAt < START + until * HOUR_MS

describe('filters', () => {
  test.each([
    ['one type', `events=${created}`, isCreated],
    ['types by comma', `events=${created},${updated}`, () => true],
    ['types repeated, as the SDK for Node sends them', `events=${created}&events=${updated}`, () => true],
    ['types in brackets', `events%5B%5D=${created}&events%5B%5D=${updated}`, () => true],
    ['types in numbered brackets', `events%5B0%5D=${created}&events%5B1%5D=${created}`, isCreated],
    ['no type, as the SDK for Node sends an empty list', 'events=', () => true],
    ['a type of which there is none', 'events=connect_application_secret.expired', () => false],
    ['an organization', 'organization_id=org_2', ({ organization }: Planted) => organization === 'org_2'],
    ['an organization that has none', 'organization_id=org_3', () => false],
    ['a start, included', `range_start=${iso(2)}`, isBetween(2, COUNT)],
    ['an end, excluded', `range_end=${iso(2)}`, isBetween(0, 2)],
    ['both', `range_start=${iso(2)}&range_end=${iso(4)}`, isBetween(2, 4)],
    ['an end before the start', `range_start=${iso(4)}&range_end=${iso(2)}`, () => false],
    ['a start in another time zone', 'range_start=2026-01-01T03:00:00%2B01:00', isBetween(2, COUNT)],
    [
      'all together',
      `events=${created}&organization_id=org_1&range_start=${iso(10)}&range_end=${iso(40)}`,
      (event: Planted) => isCreated(event) && event.organization === 'org_1' && isBetween(10, 40)(event),
    ],
  ])('%s', async (_, query, isListed) => {
    const expected = plannedIds(isListed)
    expect(await idsOf(`limit=100&${query}`)).toEqual(expected.slice(0, 100))
    expect(await idsOf(`limit=100&order=desc&${query}`)).toEqual(expected.toReversed().slice(0, 100))
    if (expected.length > 0) expect(await walk(`limit=9&order=desc&${query}`)).toEqual(expected.toReversed())
  })

  test('a cursor leads on from an event that the filter leaves out', async () => {
    const [from = '', ...rest] = plannedIds().slice(1)
    expect(isCreated(planted[1] as Planted)).toBe(false)
    expect(await idsOf(`limit=5&events=${created}&after=${from}`)).toEqual(
      rest.filter((id) => plannedIds(isCreated).includes(id)).slice(0, 5),
    )
  })

  test.each([
    ['events', 'events=user.created', 'events_unknown'],
    ['events', `events=${created},user.created`, 'events_unknown'],
    ['events', 'events=,', 'events_unknown'],
    ['events', `events=${created},`, 'events_unknown'],
    ['limit', 'limit=0', 'limit_out_of_range'],
    ['limit', 'limit=101', 'limit_out_of_range'],
    ['limit', 'limit=', 'limit_out_of_range'],
    ['limit', 'limit=10abc', 'limit_out_of_range'],
    ['limit', 'limit=1&limit=2', 'limit_repeated'],
    ['order', 'order=normal', 'order_invalid'],
    ['order', 'order=asc&order=desc', 'order_invalid'],
    ['range_start', 'range_start=yesterday', 'range_start_malformed'],
    ['range_start', 'range_start=2026-02-30T00:00:00Z', 'range_start_malformed'],
    ['range_end', 'range_end=1767225600000', 'range_end_malformed'],
    ['range_end', 'range_end=2026-01-01T00:00:00', 'range_end_malformed'],
    ['organization_id', 'organization_id=acme', 'organization_id_malformed'],
    ['organization_id', "organization_id=org_'--", 'organization_id_malformed'],
  ])('422, of %s: %s', async (field, query, code) => {
    const { status, json, text } = await get(query)
    expect(status).toBe(422)
    const errors: { field: string; code: string }[] = json.errors
    expect(errors[0]?.field.replace(/\.\d+$/, ''), text).toBe(field)
    expect(errors[0]?.code).toBe(code)
  })
})

describe('a cursor that leads nowhere is 422', () => {
  const refusal = {
    code: 'invalid_request_parameters',
    message: expect.any(String),
    errors: [{ field: 'after', code: 'after_unknown', message: expect.stringContaining('Start again without it.') }],
  }

  test.each([
    ['nobody has it', 'event_01ARZ3NDEKTSV4RRFFQ69G5FAV'],
    ['empty', ''],
    ['a wildcard', '%25'],
    ['SQL', "'%20OR%201=1--"],
    ['long', 'x'.repeat(5_000)],
  ])('%s', async (_, after) => {
    for (const order of ['asc', 'desc']) {
      const { status, json } = await get(`order=${order}&after=${after}`)
      expect(status).toBe(422)
      expect(json).toStrictEqual(refusal)
    }
  })

  test('another environment’s', async () => {
    const theirs = (await get('', other.apiKey)).json.data[0].id
    expect((await get(`after=${theirs}`, other.apiKey)).status).toBe(200)
    const { status, json } = await get(`after=${theirs}`)
    expect(status).toBe(422)
    expect(json).toStrictEqual(refusal)
  })

  test('one that was pruned, though the filter would leave it out', async () => {
    const pruned = planted.shift() as Planted
    await env.DB.prepare('DELETE FROM events WHERE id = ?').bind(pruned.id).run()
    for (const query of ['', `events=${updated}&`]) {
      const { status, json } = await get(`${query}after=${pruned.id}`)
      expect(status).toBe(422)
      expect(json).toStrictEqual(refusal)
    }
  })
})
