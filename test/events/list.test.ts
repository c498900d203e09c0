import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
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
    // The ids are in no order, as if the clocks of their Workers disagreed.
    id: newId('event', START + ((i * 7) % COUNT) * HOUR_MS),
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

/** Follows a cursor until there is no more. `from` is where it begins. */
async function walk(query: string, side: 'before' | 'after' = 'after', from = ''): Promise<string[]> {
  const met: string[] = []
  for (let cursor: string | null = from; cursor !== null; ) {
    const { json } = await get(`${query}${cursor && `&${side}=${cursor}`}`)
    if (cursor !== from) expect(json.data.length).toBeGreaterThan(0)
    const ids = json.data.map(({ id }: { id: string }) => id)
    if (side === 'after') met.push(...ids)
    else met.unshift(...ids)
    cursor = json.list_metadata[side]
  }
  return met
}

describe('the pages of the event list', () => {
  test('GET /events without parameters returns the ten oldest events and a cursor', async () => {
    const { json } = await get('')
    expect(json.data.map(({ id }: { id: string }) => id)).toEqual(plannedIds().slice(0, 10))
    expect(json.list_metadata).toStrictEqual({ before: null, after: planted[9]?.id })
  })

  test.each(['1', '7', '80', '100'])(
    'following the after cursor returns each event once in both orders, with limit %s',
    async (limit) => {
      const of = limit === '1' ? `&range_end=${new Date(START + 5 * HOUR_MS).toISOString()}` : ''
      const all = limit === '1' ? plannedIds().slice(0, 15) : plannedIds()
      expect(await walk(`limit=${limit}${of}`)).toEqual(all)
      expect(await walk(`limit=${limit}&order=asc${of}`)).toEqual(all)
      expect(await walk(`limit=${limit}&order=desc${of}`)).toEqual(all.toReversed())
    },
  )

  test.each(['7', '80', '100'])('the before cursor leads back to the beginning, with limit %s', async (limit) => {
    const [all, reversed] = [plannedIds(), plannedIds().toReversed()]
    expect(await walk(`limit=${limit}`, 'before', all[140])).toEqual(all.slice(0, 140))
    expect(await walk(`limit=${limit}&order=desc`, 'before', reversed[140])).toEqual(reversed.slice(0, 140))
  })

  test('with order=normal, pages are newest first, `before` leads to older events and `after` to newer ones', async () => {
    const reversed = plannedIds().toReversed()
    const first = (await get('order=normal&limit=5')).json
    expect(first.data.map(({ id }: { id: string }) => id)).toEqual(reversed.slice(0, 5))
    expect(first.list_metadata).toStrictEqual({ before: reversed[4], after: null })
    const older = (await get(`order=normal&limit=5&before=${reversed[4]}`)).json
    expect(older.data.map(({ id }: { id: string }) => id)).toEqual(reversed.slice(5, 10))
    expect(older.list_metadata).toStrictEqual({ before: reversed[9], after: reversed[5] })
    const newer = (await get(`order=normal&limit=5&after=${reversed[5]}`)).json
    expect(newer.data.map(({ id }: { id: string }) => id)).toEqual(reversed.slice(0, 5))
  })

  test('the last page of the event list has no cursor for a next page, whether the last page is full or not', async () => {
    for (const from of [COUNT - 81, COUNT - 41]) {
      const { json } = await get(`limit=80&after=${planted[from]?.id}`)
      expect(json.list_metadata).toStrictEqual({ before: planted[from + 1]?.id, after: null })
    }
  })

  test('a page of the event list after the last event is empty', async () => {
    const empty = { object: 'list', data: [], list_metadata: { before: null, after: null } }
    expect((await get(`after=${planted[COUNT - 1]?.id}`)).json).toStrictEqual(empty)
    expect((await get(`order=desc&after=${planted[0]?.id}`)).json).toStrictEqual(empty)
  })

  test('a read-only API key reads the events', async () => {
    const reader = await newApiKey({ access: 'read', environmentId: key.environmentId })
    expect((await get('', reader.apiKey)).json).toStrictEqual((await get('')).json)
  })

  test('the event list has only the events of the caller’s environment', async () => {
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

describe('the filters of the event list', () => {
  test.each([
    ['one type', `events=${created}`, isCreated],
    ['types separated by a comma', `events=${created},${updated}`, () => true],
    ['types in repeated parameters, as the SDK for Node sends them', `events=${created}&events=${updated}`, () => true],
    ['types in brackets', `events%5B%5D=${created}&events%5B%5D=${updated}`, () => true],
    ['types in numbered brackets', `events%5B0%5D=${created}&events%5B1%5D=${created}`, isCreated],
    ['no type, as the SDK for Node sends an empty list', 'events=', () => true],
    ['types in brackets, as PHP writes an enum', `events[0][name]=x&events[0][value]=${created}`, isCreated],
    ['a type of another system', 'events=user.created', () => false],
    ['types of another system and of this one', `events=dsync.user.created,${created},user.created`, isCreated],
    ['empty types between others', `events=,${created},`, isCreated],
    ['a type without events', 'events=connect_application_secret.expired', () => false],
    ['an organization', 'organization_id=org_2', ({ organization }: Planted) => organization === 'org_2'],
    ['an organization without events', 'organization_id=org_3', () => false],
    ['a start, included', `range_start=${iso(2)}`, isBetween(2, COUNT)],
    ['an end, excluded', `range_end=${iso(2)}`, isBetween(0, 2)],
    ['a start and an end', `range_start=${iso(2)}&range_end=${iso(4)}`, isBetween(2, 4)],
    ['an end before the start', `range_start=${iso(4)}&range_end=${iso(2)}`, () => false],
    ['a start in another time zone', 'range_start=2026-01-01T03:00:00%2B01:00', isBetween(2, COUNT)],
    [
      'a type, an organization, a start and an end',
      `events=${created}&organization_id=org_1&range_start=${iso(10)}&range_end=${iso(40)}`,
      (event: Planted) => isCreated(event) && event.organization === 'org_1' && isBetween(10, 40)(event),
    ],
  ])('the event list is filtered: %s', async (_, query, isListed) => {
    const expected = plannedIds(isListed)
    expect(await idsOf(`limit=100&${query}`)).toEqual(expected.slice(0, 100))
    expect(await idsOf(`limit=100&order=desc&${query}`)).toEqual(expected.toReversed().slice(0, 100))
    if (expected.length > 0) expect(await walk(`limit=9&order=desc&${query}`)).toEqual(expected.toReversed())
  })

  test('a cursor of the event list may be an event that the filter excludes', async () => {
    const [from = '', ...rest] = plannedIds().slice(1)
    expect(isCreated(planted[1] as Planted)).toBe(false)
    expect(await idsOf(`limit=5&events=${created}&after=${from}`)).toEqual(
      rest.filter((id) => plannedIds(isCreated).includes(id)).slice(0, 5),
    )
  })

  test.each([
    ['limit', 'limit=0', 'limit_out_of_range'],
    ['limit', 'limit=101', 'limit_out_of_range'],
    ['limit', 'limit=', 'limit_out_of_range'],
    ['limit', 'limit=10abc', 'limit_out_of_range'],
    ['limit', 'limit=1&limit=2', 'limit_repeated'],
    ['order', 'order=newest', 'order_invalid'],
    ['before', `before=${newId('event', START)}&after=${newId('event', START)}`, 'before_with_after'],
    ['before', 'before=a&before=b', 'before_repeated'],
    ['order', 'order=asc&order=desc', 'order_invalid'],
    ['range_start', 'range_start=yesterday', 'range_start_malformed'],
    ['range_start', 'range_start=2026-02-30T00:00:00Z', 'range_start_malformed'],
    ['range_end', 'range_end=1767225600000', 'range_end_malformed'],
    ['range_end', 'range_end=2026-01-01T00:00:00', 'range_end_malformed'],
    ['organization_id', 'organization_id=acme', 'organization_id_malformed'],
    ['organization_id', "organization_id=org_'--", 'organization_id_malformed'],
  ])('a query of the event list with an invalid %s gets 422: %s', async (field, query, code) => {
    const { status, json, text } = await get(query)
    expect(status).toBe(422)
    const errors: { field: string; code: string }[] = json.errors
    expect(errors[0]?.field.replace(/\.\d+$/, ''), text).toBe(field)
    expect(errors[0]?.code).toBe(code)
  })
})

describe('the cursor of the event list', () => {
  const refusal = (field: string) => ({
    code: 'invalid_request_parameters',
    message: expect.any(String),
    errors: [{ field, code: `${field}_unknown`, message: expect.stringContaining('Start again without it.') }],
  })

  test.each([
    ['is in the future', newId('event', Date.now() + HOUR_MS)],
    ['is newer than the oldest event, and unknown', newId('event', START + 10 * HOUR_MS)],
    ['is empty', ''],
    ['is a wildcard', '%25'],
    ['is SQL', "'%20OR%201=1--"],
    ['is long', 'x'.repeat(5_000)],
    ['is the ID of another kind of object', newId('conn_app', START - HOUR_MS)],
    ['has a symbol that no ULID has', `event_0000000000${'U'.repeat(16)}`],
  ])('a cursor of the event list that %s gets 422', async (_, cursor) => {
    for (const order of ['asc', 'desc', 'normal']) {
      for (const side of ['before', 'after']) {
        const { status, json } = await get(`order=${order}&${side}=${cursor}`)
        expect(status).toBe(422)
        expect(json).toStrictEqual(refusal(side))
      }
    }
  })

  test('a cursor of the event list from another environment gets 422', async () => {
    const theirs = (await get('', other.apiKey)).json.data[0].id
    expect((await get(`after=${theirs}`, other.apiKey)).status).toBe(200)
    const { status, json } = await get(`after=${theirs}`)
    expect(status).toBe(422)
    expect(json).toStrictEqual(refusal('after'))
  })

  test('the ID of a removed event as a cursor leads to the oldest remaining event', async () => {
    const gone = planted.splice(0, 30)
    await env.DB.prepare(`DELETE FROM events WHERE id IN (SELECT value FROM json_each(?))`)
      .bind(JSON.stringify(gone.map(({ id }) => id)))
      .run()
    const pruned = newId('event', START)
    expect(await idsOf(`limit=100&after=${pruned}`)).toEqual(plannedIds().slice(0, 100))
    expect(await idsOf(`events=${updated}&limit=100&after=${pruned}`)).toEqual(
      plannedIds(({ type }) => type === updated).slice(0, 100),
    )
    for (const query of [`before=${pruned}`, `order=desc&after=${pruned}`, `order=normal&before=${pruned}`]) {
      expect((await get(query)).json.data).toEqual([])
    }
  })

  test('the ID of a removed event as a cursor returns an empty page if the environment has no events', async () => {
    const quiet = await newApiKey()
    const { status, json } = await get(`after=${newId('event', START)}`, quiet.apiKey)
    expect([status, json.data]).toEqual([200, []])
  })
})
