import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { secretsOf } from '../requests.ts'
import { eventsOf } from './events-of.ts'

const ORGANIZATION = m2mApplication.organization_id
const thirdParty = { name: 'Shop', application_type: 'oauth', is_first_party: false, organization_id: ORGANIZATION }
const firstParty = { name: 'Console', application_type: 'oauth', is_first_party: true }

let mine: Awaited<ReturnType<typeof newApiKey>>
beforeEach(async () => {
  mine = await newApiKey()
})

const create = (body: object, headers = {}) => call(mine.apiKey, 'POST', '/connect/applications', { body, headers })
const get = (id: string) => call(mine.apiKey, 'GET', `/connect/applications/${id}`)
const put = (id: string, body: object) => call(mine.apiKey, 'PUT', `/connect/applications/${id}`, { body })
const remove = (id: string) => call(mine.apiKey, 'DELETE', `/connect/applications/${id}`)

const events = () => eventsOf(mine.environmentId)

const APPLICATION = {
  object: 'connect_application',
  id: expect.stringMatching(/^conn_app_[0-7][0-9A-HJKMNP-TV-Z]{9}0[0-9A-HJKMNP-TV-Z]{15}$/),
  client_id: expect.stringMatching(/^client_[0-7][0-9A-HJKMNP-TV-Z]{9}0[0-9A-HJKMNP-TV-Z]{15}$/),
  description: null,
  scopes: [],
  created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
  updated_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
}

describe('an application', () => {
  const KINDS: [string, object, object][] = [
    ['m2m', m2mApplication, { ...APPLICATION, ...m2mApplication }],
    [
      'third-party oauth',
      thirdParty,
      { ...APPLICATION, ...thirdParty, redirect_uris: [], uses_pkce: false, was_dynamically_registered: false },
    ],
    ['first-party oauth', firstParty, { ...APPLICATION, ...firstParty, redirect_uris: [], uses_pkce: false }],
  ]

  test.each(KINDS)('every response has exactly the documented members: %s', async (_, body, expected) => {
    const created = await create(body)
    expect(created.status).toBe(201)
    expect(created.json).toStrictEqual(expected)
    const { id, client_id, created_at, updated_at } = created.json
    expect(updated_at).toBe(created_at)
    expect(Math.abs(Date.parse(created_at) - Date.now())).toBeLessThan(5000)
    expect((await get(id)).json).toStrictEqual(created.json)
    expect((await get(client_id)).json).toStrictEqual(created.json)
    expect((await call(mine.apiKey, 'GET', '/connect/applications')).json.data).toStrictEqual([created.json])
  })

  test.each(KINDS)('every optional member may be null on creation: %s', async (_, body, expected) => {
    const nulls = { description: null, scopes: null, redirect_uris: null, uses_pkce: null }
    const { status, json } = await create({ ...nulls, ...body })
    expect([status, json]).toStrictEqual([201, expected])
  })

  test.each(KINDS)(
    'members that a caller may not set are ignored on creation and on update: %s',
    async (_, body, expected) => {
      const other = await newApiKey()
      const theirs = await newApplication(other.apiKey)
      const foreign = {
        object: 'x',
        id: theirs.id,
        client_id: theirs.client_id,
        created_at: '2000-01-01T00:00:00.000Z',
        updated_at: '2000-01-01T00:00:00.000Z',
        deleted_at: 1,
        environment_id: other.environmentId,
        event_id: 'event_x',
        user_id: 'user_x',
        was_dynamically_registered: true,
        secret: 'x',
        client_secret: 'x',
        digest: 'x',
      }
      const created = await create({ ...foreign, ...body })
      expect([created.status, created.json]).toStrictEqual([201, expected])
      expect([created.json.id, created.json.client_id]).not.toEqual(
        expect.arrayContaining([theirs.id, theirs.client_id]),
      )
      const updated = await put(created.json.id, {
        ...foreign,
        application_type: 'x',
        organization_id: 'org_other',
        is_first_party: 'x',
        uses_pkce: true,
      })
      expect([updated.status, { ...updated.json, updated_at: created.json.updated_at }]).toStrictEqual([
        200,
        created.json,
      ])
      expect((await call(other.apiKey, 'GET', `/connect/applications/${theirs.id}`)).json).toStrictEqual(theirs)
    },
  )

  test('an application with every optional member is stored completely', async () => {
    const body = {
      ...thirdParty,
      description: 'Two\nlines',
      scopes: ['orders:read', 'orders:write'],
      redirect_uris: [
        { uri: 'https://shop.example/a', default: false },
        { uri: 'https://shop.example/b', default: true },
      ],
      uses_pkce: true,
    }
    const { json } = await create(body)
    expect(json).toStrictEqual({ ...APPLICATION, ...body, was_dynamically_registered: false })
    expect((await get(json.id)).json).toStrictEqual(json)
  })

  test('names are stored byte for byte: NFC and NFD forms, and look-alikes, stay distinct', async () => {
    const names = ['\u00e9', 'e\u0301', 'Paypal', 'Р\u0430ypal', 'Ⅳ', 'IV', '\ufb01', 'fi', '\u212b', '\u00c5']
    const created = await Promise.all(names.map((name) => create({ ...m2mApplication, name })))
    for (const [i, { json }] of created.entries()) expect((await get(json.id)).json.name).toBe(names[i])
    expect(new Set(names).size).toBe(names.length)
  })

  test('two applications may have the same name and settings', async () => {
    const [a, b] = [await create(m2mApplication), await create(m2mApplication)]
    expect(a.json.id).not.toBe(b.json.id)
    expect(a.json.client_id).not.toBe(b.json.client_id)
  })
})

describe('an update', () => {
  const full = {
    ...thirdParty,
    description: 'old',
    scopes: ['a', 'b'],
    redirect_uris: [{ uri: 'https://shop.example/', default: true }],
  }

  test.each<[string, object, object]>([
    ['with an empty object changes nothing', {}, {}],
    ['of the name changes the name', { name: 'New' }, { name: 'New' }],
    ['of the description changes the description', { description: 'new' }, { description: 'new' }],
    ['with null as the description removes the description', { description: null }, { description: null }],
    ['with an empty description stores the empty description', { description: '' }, { description: '' }],
    ['of the scopes replaces all scopes', { scopes: ['c'] }, { scopes: ['c'] }],
    ['with [] as the scopes removes all scopes', { scopes: [] }, { scopes: [] }],
    ['with null as the scopes does not change the scopes', { scopes: null }, {}],
    [
      'of the redirect URIs replaces all redirect URIs',
      { redirect_uris: [{ uri: 'https://b.example/' }] },
      { redirect_uris: [{ uri: 'https://b.example/', default: true }] },
    ],
    ['with [] as the redirect URIs removes all redirect URIs', { redirect_uris: [] }, { redirect_uris: [] }],
    ['with null as the redirect URIs does not change the redirect URIs', { redirect_uris: null }, {}],
    [
      'from the Node SDK, which sends null for omitted lists, changes neither scopes nor redirect URIs',
      { name: 'New', description: null, scopes: null, redirect_uris: null },
      { name: 'New', description: null },
    ],
  ])('an update %s', async (_, body, changes) => {
    const before = await newApplication(mine.apiKey, full)
    const { status, json } = await put(before.id, body)
    expect([status, json]).toStrictEqual([200, { ...before, ...changes, updated_at: json.updated_at }])
    expect(Date.parse(json.updated_at)).toBeGreaterThanOrEqual(Date.parse(before.updated_at as string))
    expect((await get(before.id)).json).toStrictEqual(json)
  })

  test('an update by client ID changes the same application', async () => {
    const before = await newApplication(mine.apiKey)
    const { status, json } = await put(before.client_id, { name: 'New' })
    expect([status, json.id, json.name]).toEqual([200, before.id, 'New'])
  })

  test('an update that sets the current values returns 200 and records no event', async () => {
    const { id } = await newApplication(mine.apiKey)
    const changes = { name: 'again', description: null, scopes: ['read'] }
    const first = await put(id, changes)
    const events = () =>
      env.DB.prepare(
        "SELECT count(*) AS n FROM events WHERE type = 'connect_application.updated' AND data ->> 'id' = ?",
      )
        .bind(id)
        .first('n')
    expect(await events()).toBe(1)
    for (const repeated of [changes, { name: 'again' }, {}]) {
      const { status, json } = await put(id, repeated)
      expect([status, json]).toStrictEqual([200, first.json])
    }
    expect(await events()).toBe(1)
    await put(id, { ...changes, scopes: [] })
    expect(await events()).toBe(2)
  })

  test('an update sets updated_at, and does not change other applications', async () => {
    const [one, other] = [await newApplication(mine.apiKey), await newApplication(mine.apiKey)]
    await env.DB.prepare('UPDATE applications SET created_at = 1000, updated_at = 1000 WHERE environment_id = ?')
      .bind(mine.environmentId)
      .run()
    const { json } = await put(one.id, { name: 'New' })
    expect(json.created_at).toBe('1970-01-01T00:00:01.000Z')
    expect(Date.parse(json.updated_at)).toBeGreaterThan(Date.now() - 5000)
    expect((await get(other.id)).json).toMatchObject({ name: other.name, updated_at: '1970-01-01T00:00:01.000Z' })
  })

  test('a refused update changes nothing, not even its valid members', async () => {
    const before = await newApplication(mine.apiKey, full)
    expect((await put(before.id, { name: 'New', scopes: ['a', 'a'] })).status).toBe(422)
    expect((await get(before.id)).json).toStrictEqual(before)
  })
})

describe('a deletion', () => {
  test('deleting an application returns 204, and afterwards requests with its ID or its client ID get 404', async () => {
    const { id, client_id } = await newApplication(mine.apiKey)
    const { status, headers } = await remove(id)
    expect([status, headers.get('Content-Type')]).toEqual([204, null])
    for (const gone of [id, client_id]) {
      for (const reply of [
        await get(gone),
        await put(gone, { name: 'x' }),
        await call(mine.apiKey, 'POST', `/connect/applications/${gone}/client_secrets`),
      ]) {
        expect([reply.status, reply.json.code, reply.json.entity_id]).toEqual([404, 'entity_not_found', gone])
      }
    }
    expect((await call(mine.apiKey, 'GET', '/connect/applications')).json.data).toEqual([])
  })

  test('deleting an application twice returns 204 both times and records one event', async () => {
    const { id, client_id } = await newApplication(mine.apiKey)
    for (const either of [client_id, id, client_id]) expect((await remove(either)).status).toBe(204)
    expect((await events()).map(({ type }) => type)).toEqual([
      'connect_application.created',
      'connect_application.deleted',
    ])
  })

  test('deleting an application revokes its secrets, and not those of other applications', async () => {
    const [one, other] = [await newApplication(mine.apiKey), await newApplication(mine.apiKey)]
    const [a, b] = [
      (await call(mine.apiKey, 'POST', secretsOf(one.id))).json,
      (await call(mine.apiKey, 'POST', secretsOf(one.id))).json,
    ]
    const kept = (await call(mine.apiKey, 'POST', secretsOf(other.id))).json
    await remove(one.id)
    expect((await call(mine.apiKey, 'GET', secretsOf(one.id))).status).toBe(404)
    expect((await call(mine.apiKey, 'GET', secretsOf(other.id))).json.map(({ id }: { id: string }) => id)).toEqual([
      kept.id,
    ])
    expect((await call(mine.apiKey, 'DELETE', `/connect/client_secrets/${a.id}`)).status).toBe(204)
    const last = (await events()).at(-1)
    expect(last).toMatchObject({ type: 'connect_application.deleted', data: { id: one.id } })
    expect(last?.data.client_secrets).toHaveLength(2)
    expect(last?.data.client_secrets).toEqual(
      expect.arrayContaining([a, b].map(({ id, secret_hint }) => ({ id, secret_hint }))),
    )
  })

  test('the row of a deleted application is kept, so that its IDs are not used again', async () => {
    const { id } = await newApplication(mine.apiKey)
    await remove(id)
    const row = await env.DB.prepare('SELECT deleted_at FROM applications WHERE id = ?')
      .bind(id)
      .first<{ deleted_at: number }>()
    expect(row?.deleted_at).toBeGreaterThan(Date.now() - 5000)
  })

  test('a body or a content type on DELETE is ignored', async () => {
    for (const body of [undefined, {}, { id: 'x' }]) {
      const { id } = await newApplication(mine.apiKey)
      expect((await call(mine.apiKey, 'DELETE', `/connect/applications/${id}`, { body })).status).toBe(204)
    }
  })
})

describe('the events of applications', () => {
  test('each change records one event with the new state of the object, the API key and the request', async () => {
    const { json, headers } = await create(m2mApplication, { 'X-Request-ID': 'chosen-by-the-caller' })
    await put(json.id, { name: 'New' })
    await put(json.id, { name: 'Newer', scopes: ['a'] })
    await remove(json.id)
    const all = await events()
    expect(all.map(({ type, data }) => [type, data.id, data.name, data.scopes])).toEqual([
      ['connect_application.created', json.id, m2mApplication.name, '[]'],
      ['connect_application.updated', json.id, 'New', '[]'],
      ['connect_application.updated', json.id, 'Newer', '["a"]'],
      ['connect_application.deleted', json.id, 'Newer', '["a"]'],
    ])
    expect(all[0]).toMatchObject({ caller_id: mine.id, caller_name: 'test', request_id: headers.get('X-Request-ID') })
    expect(new Set(all.map(({ id }) => id)).size).toBe(4)
  })

  test('reads, refused requests and unknown IDs record no event', async () => {
    const { id } = await newApplication(mine.apiKey)
    await get(id)
    await create({})
    await put(id, { name: '' })
    await put('unknown', { name: 'x' })
    await remove('unknown')
    await call('sk_x', 'DELETE', `/connect/applications/${id}`)
    expect(await events()).toHaveLength(1)
  })
})
