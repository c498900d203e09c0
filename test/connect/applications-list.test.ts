import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import fc from '../property.ts'
import { size } from '../sizes.ts'

/**
 * Eleven applications of two organizations, in five moments, so that most of them tie: the order is creation, then ID.
 */
const { apiKey, environmentId } = await newApiKey()
const CREATED_AT = [5000, 1000, 3000, 3000, 2000, 3000, 1000, 3000, 4000, 2000, 3000]

interface Known {
  readonly id: string
  readonly createdAt: number
  readonly organization: string
}

const known: Known[] = []
for (const [i, createdAt] of CREATED_AT.entries()) {
  const organization = i % 3 === 0 ? 'org_a1' : 'org_b_'
  const { id: original } = await newApplication(apiKey, { ...m2mApplication, organization_id: organization })
  // An ID has the time of the creation.
  const id = newId('conn_app', createdAt)
  await env.DB.prepare('UPDATE applications SET id = ?, created_at = ? WHERE id = ?')
    .bind(id, createdAt, original)
    .run()
  known.push({ id, createdAt, organization })
}
const oldestFirst = known.toSorted((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)).map(({ id }) => id)
const newestFirst = oldestFirst.toReversed()

interface Query {
  limit?: number
  order?: 'asc' | 'desc' | 'normal'
  before?: string
  after?: string
  organization_id?: string
}

async function list(query: Query = {}) {
  const { status, json } = await call(
    apiKey,
    'GET',
    `/connect/applications?${new URLSearchParams(query as Record<string, string>)}`,
  )
  expect(status, JSON.stringify(json)).toBe(200)
  return { ids: json.data.map(({ id }: { id: string }) => id) as string[], ...json.list_metadata } as {
    ids: string[]
    before: string | null
    after: string | null
  }
}

/** The page that the contract requires. */
function expected({ limit = 10, order = 'desc', before, after, organization_id }: Query) {
  const all = (order === 'asc' ? oldestFirst : newestFirst).filter(
    (id) => organization_id === undefined || known.some((one) => one.id === id && one.organization === organization_id),
  )
  const full = order === 'asc' ? oldestFirst : newestFirst
  const [ahead, behind] = order === 'normal' ? [before, after] : [after, before]
  const onwards = all.filter((id) => ahead === undefined || full.indexOf(id) > full.indexOf(ahead))
  const back = all.filter((id) => behind !== undefined && full.indexOf(id) < full.indexOf(behind))
  const ids = behind === undefined ? onwards.slice(0, limit) : back.slice(-limit)
  const first = ids[0] !== undefined && ids[0] !== all[0] ? ids[0] : null
  const last = ids.length > 0 && ids.at(-1) !== all.at(-1) ? (ids.at(-1) as string) : null
  return { ids, ...(order === 'normal' ? { before: last, after: first } : { before: first, after: last }) }
}

describe('the list of applications', () => {
  test('a query without limit and order returns the ten newest applications, newest first', async () => {
    expect(await list()).toEqual({ ids: newestFirst.slice(0, 10), before: null, after: newestFirst[9] })
    expect(await list({ limit: 100 })).toEqual({ ids: newestFirst, before: null, after: null })
    expect(await list({ limit: 11, order: 'asc' })).toEqual({ ids: oldestFirst, before: null, after: null })
    expect(await list({ limit: 11, order: 'normal' })).toEqual({ ids: newestFirst, before: null, after: null })
  })

  test('list queries with a random limit, order, filter and cursor return the page that a simple model of the list returns', async () => {
    const anyQuery = fc.record(
      {
        limit: fc.integer({ min: 1, max: 12 }),
        order: fc.constantFrom<'asc' | 'desc' | 'normal'>('asc', 'desc', 'normal'),
        organization_id: fc.constantFrom('org_a1', 'org_b_', 'org_none'),
        cursor: fc.record({
          name: fc.constantFrom<'before' | 'after'>('before', 'after'),
          id: fc.constantFrom(...oldestFirst),
        }),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(anyQuery, async ({ cursor, ...rest }) => {
        const query: Query = { ...rest, ...(cursor && { [cursor.name]: cursor.id }) }
        expect(await list(query)).toEqual(expected(query))
      }),
      { numRuns: size(100, 1_000) },
    )
  })

  test.each(
    (['asc', 'desc', 'normal'] as const).flatMap((order) => [1, 2, 3, 5, 10].map((limit) => ({ order, limit }))),
  )(
    'following the cursors in either direction returns each application once, in order $order with limit $limit',
    async ({ order, limit }) => {
      const [onwards, back] = order === 'normal' ? (['before', 'after'] as const) : (['after', 'before'] as const)
      const walk = async (from: Query, direction: 'before' | 'after') => {
        const pages = [await list({ limit, order, ...from })]
        for (let cursor = pages[0]?.[direction]; cursor; cursor = pages.at(-1)?.[direction]) {
          pages.push(await list({ limit, order, [direction]: cursor }))
        }
        return pages.map(({ ids }) => ids)
      }
      const all = order === 'asc' ? oldestFirst : newestFirst
      expect((await walk({}, onwards)).flat()).toEqual(all)
      const last = all.at(-1) as string
      expect([...(await walk({ [back]: last }, back)).toReversed().flat(), last]).toEqual(all)
    },
  )

  test('the ID of a deleted application still works as a cursor: the list continues at the same place', async () => {
    const { apiKey } = await newApiKey()
    const ids: string[] = []
    for (let i = 0; i < 3; i++) ids.push((await newApplication(apiKey)).id)
    ids.sort()
    for (const [i, id] of ids.entries())
      await env.DB.prepare('UPDATE applications SET created_at = ? WHERE id = ?').bind(i, id).run()
    await call(apiKey, 'DELETE', `/connect/applications/${ids[1]}`)
    const page = async (query: string) =>
      (await call(apiKey, 'GET', `/connect/applications?${query}`)).json.data.map(({ id }: { id: string }) => id)
    expect(await page(`after=${ids[1]}`)).toEqual([ids[0]])
    expect(await page(`before=${ids[1]}`)).toEqual([ids[2]])
  })

  test('the list of an environment without applications is an empty page without cursors', async () => {
    const { apiKey } = await newApiKey()
    const { json } = await call(apiKey, 'GET', '/connect/applications')
    expect(json).toStrictEqual({ object: 'list', data: [], list_metadata: { before: null, after: null } })
  })
})

describe('the filters of the list of applications', () => {
  test.each(['org_b', 'org_b__', 'org_B_', 'org_bx', 'org_'.padEnd(40, '_'), 'org_a', 'org_a_', 'org_A1'])(
    'organization_id is compared literally, not as a pattern (CWE-89): %s',
    async (organization_id) => expect((await list({ organization_id })).ids).toEqual([]),
  )

  test('the filter organization_id returns the applications of this organization, and no others', async () => {
    for (const organization_id of ['org_a1', 'org_b_']) {
      const own = newestFirst.filter((id) => known.some((one) => one.id === id && one.organization === organization_id))
      expect((await list({ organization_id, limit: 100 })).ids).toEqual(own)
    }
  })

  test.each([
    ['', 11],
    ['registration_types=authenticated', 11],
    ['registration_types=dynamic', 0],
    ['registration_types=dynamic,authenticated', 11],
    ['registration_types=authenticated,dynamic', 11],
    ['registration_types=dynamic&registration_types=authenticated', 11],
    ['registration_types=dynamic&registration_types=dynamic', 0],
    ['registration_types[]=dynamic&registration_types[]=authenticated', 11],
    ['registration_types%5B%5D=dynamic', 0],
    ['registration_types[0]=dynamic&registration_types[1]=authenticated', 11],
    ['registration_types=dynamic%2Cauthenticated', 11],
    ['registration_types=', 11],
    ['registration_types[0][name]=Dynamic&registration_types[0][value]=dynamic', 0],
    [
      'registration_types[0][name]=Dynamic&registration_types[0][value]=dynamic&registration_types[1][value]=authenticated',
      11,
    ],
  ])('the query "%s" finds %i applications', async (query, count) => {
    const { status, json } = await call(apiKey, 'GET', `/connect/applications?limit=100&${query}`)
    expect([status, json.data.length]).toEqual([200, count])
    if (count === 0) expect(json.list_metadata).toEqual({ before: null, after: null })
  })
})

describe('an invalid list query gets 422', async () => {
  const stranger = await newApiKey()
  const theirs = await newApplication(stranger.apiKey)
  const own = oldestFirst[5] as string
  const noCursors = [
    '',
    'x',
    'null',
    '%00',
    '*',
    '%25',
    own.slice(0, -1),
    `${own}0`,
    own.toLowerCase(),
    `%20${own}`,
    theirs.id,
    environmentId,
    "'--",
    '😀',
    'x'.repeat(5000),
  ]

  test.each<[string, string[]]>([
    [
      'limit',
      [
        '',
        '0',
        '-1',
        '101',
        '1000',
        '1e9',
        '1e1',
        '10abc',
        'abc',
        '1.0',
        '1.5',
        '0x10',
        '010',
        '%201',
        '1%20',
        '%2B1',
        '+1',
        '٣',
        '１０',
        'null',
        'NaN',
        'Infinity',
        '9007199254740993',
        '%00',
        '1%00',
        '1;2',
        "1'--",
      ],
    ],
    ['order', ['', 'ASC', 'Desc', 'random', 'asc,desc', 'created_at', 'asc%20', '%00', 'null', "asc'--"]],
    ['before', noCursors],
    ['after', noCursors],
    [
      'organization_id',
      ['', 'x', 'org_', 'org_%25', 'org_*', 'org_[a]', 'org_a1%00', 'ORG_a1', "org_'--", 'x'.repeat(5000)],
    ],
    ['registration_types', ['x', 'authenticated,', ',', 'AUTHENTICATED', 'authenticated,x', 'all', '*', "x'--"]],
  ])('a list query with an invalid %s gets 422', async (name, values) => {
    for (const value of values) {
      const { status, json } = await call(apiKey, 'GET', `/connect/applications?${name}=${value}`)
      expect([status, json.code], value).toEqual([422, 'invalid_request_parameters'])
      expect(json.errors[0].field).toMatch(new RegExp(`^${name}`))
    }
  })

  test.each([
    'limit=1&limit=2',
    'limit=1&limit=1',
    'order=asc&order=desc',
    `after=${own}&after=${own}`,
    `before=${own}&before=${own}`,
    'organization_id=org_1&organization_id=org_1',
  ])('a list query with a repeated parameter gets 422 (CWE-235): %s', async (query) => {
    const { status, json } = await call(apiKey, 'GET', `/connect/applications?${query}`)
    expect([status, json.errors[0].field]).toEqual([422, query.split('=')[0]])
  })

  test('a list query with both before and after gets 422', async () => {
    const { status, json } = await call(apiKey, 'GET', `/connect/applications?before=${own}&after=${own}`)
    expect([status, json.errors[0].code]).toEqual([422, 'before_with_after'])
  })
})

test('unknown parameters of a list query are ignored', async () => {
  for (const query of [
    'x=1',
    'LIMIT=1',
    'Order=asc',
    'page=2',
    'offset=5',
    '__proto__=x',
    'constructor=x',
    '=',
    '&&',
    'id=x',
  ]) {
    const { status, json } = await call(apiKey, 'GET', `/connect/applications?${query}`)
    expect([status, json.data.length], query).toEqual([200, 10])
  }
})
