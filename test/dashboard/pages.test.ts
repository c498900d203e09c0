import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { hiddenFields, ORIGIN, sent, shownSecret, Visitor, visit } from './pages.ts'

/** Every page and form, for somebody who may write, somebody who may read, and somebody of another environment. */
const owner = new Visitor()
const reader = new Visitor()
const stranger = new Visitor()
let apiKey: string
let applicationId: string
let secretId: string
let hint: string
let path: string
/** What only those of the environment may see. */
let inside: string[]

beforeAll(async () => {
  const key = await newApiKey()
  apiKey = key.apiKey
  await owner.signIn(apiKey)
  await reader.signIn((await newApiKey({ environmentId: key.environmentId, access: 'read' })).apiKey)
  await stranger.signIn((await newApiKey()).apiKey)
  const endpointId = newId('we', Date.now())
  await createWebhookEndpoint(operatorDatabase(env.DB), {
    id: endpointId,
    environmentId: key.environmentId,
    url: 'https://localhost/inside',
    events: [],
    secret: 'whsec_inside',
    createdAt: Date.now(),
  })
  const application = await newApplication(apiKey)
  const { json } = await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)
  applicationId = application.id
  secretId = json.id
  hint = json.secret_hint
  path = `/dashboard/applications/${applicationId}`
  inside = [application.client_id, secretId, hint, key.id, endpointId, 'https://localhost/inside']
})

/** With the ids of what there is. */
const filled = (route: string) => route.replace(':id', applicationId).replace(':secret', secretId)

const pagesOf = (method: string) => [
  ...new Set(
    app.routes
      .filter((route) => route.method === method && route.path.startsWith('/dashboard'))
      .map((route) => route.path),
  ),
]

const SIGN_IN = '/dashboard/sign-in'
const guarded = (method: string) => pagesOf(method).filter((route) => route !== SIGN_IN)

describe.each(guarded('GET'))('GET %s', (route) => {
  const query = route.endsWith('/find') ? () => `?hint=${hint}` : () => ''
  const target = () => filled(route.startsWith('/dashboard/keys/:id') ? '/dashboard/keys' : route) + query()

  test('is a page, for one trip', async () => {
    const reply = await owner.get(target())
    expect([reply.status, reply.trips]).toEqual([200, 1])
    expect(reply.html).not.toContain('whsec_')
  })

  test('leads whoever is not signed in to where that is done', async () => {
    const reply = await new Visitor().get(target())
    expect([reply.status, reply.trips]).toEqual([303, 0])
    expect(reply.headers.get('Location')).toMatch(/^\/dashboard\/sign-in/)
  })

  test('shows and offers nothing to change to whoever may only read', async () => {
    const reply = await reader.get(target())
    expect([200, 403]).toContain(reply.status)
    const forms = [...reply.html.matchAll(/<form method="post" action="([^"]*)"/g)].map(([, action]) => action)
    expect(forms).toEqual(['/dashboard/sign-out'])
    expect(reply.html).not.toMatch(/href="[^"]*\/(new|new-secret|rotate|edit|delete|revoke|revoke-all)"/)
  })

  test('shows nothing of another environment', async () => {
    const reply = await stranger.get(target())
    expect([200, 404]).toContain(reply.status)
    const own = route.endsWith('/find') ? inside.filter((text) => text !== hint) : inside
    for (const text of own) expect(reply.html).not.toContain(text)
    if (route.includes(':id') && !route.startsWith('/dashboard/keys')) expect(reply.status).toBe(404)
  })
})

describe.each(guarded('POST').filter((route) => !route.endsWith('sign-out')))('POST %s', (route) => {
  const fields = { name: 'x', expected: 'x', grace: '0', kind: 'm2m', organization_id: 'org_1' }
  const state = async () => {
    const tables = ['applications', 'client_secrets', 'api_keys', 'sessions']
    const rows = await env.DB.batch(tables.map((table) => env.DB.prepare(`SELECT * FROM ${table}`)))
    return rows.map(({ results }) => results.map((row) => ({ ...(row as object), last_used_at: null })))
  }

  test.each([
    ['whoever may only read', () => reader, [403]],
    ['another environment', () => stranger, [404]],
  ])('is refused to %s, for one trip, and changes nothing', async (who, visitor, statuses) => {
    if (who === 'another environment' && route.endsWith('/new')) return
    const token = hiddenFields((await owner.get(`${path}/new-secret`)).html).token ?? ''
    const before = await state()
    const reply = await visitor().post(filled(route), { ...fields, token })
    expect(statuses).toContain(reply.status)
    expect(reply.trips).toBe(1)
    expect(await state()).toEqual(before)
  })

  test('leads whoever is not signed in to where that is done', async () => {
    const reply = await new Visitor().post(filled(route), fields)
    expect([reply.status, reply.trips, reply.headers.get('Location')]).toEqual([303, 0, SIGN_IN])
  })
})

test('what there is not is a page, too, for nobody’s trouble', async () => {
  for (const [method, missing, status] of [
    ['GET', '/dashboard/nothing', 404],
    ['GET', '/dashboard/', 404],
    ['GET', '/dashboard/sign-out', 405],
    ['DELETE', '/dashboard', 405],
  ] as const) {
    const reply = await visit(new Request(ORIGIN + missing, { method, headers: { Origin: ORIGIN } }))
    expect([missing, reply.status, reply.trips]).toEqual([missing, status, 0])
  }
})

describe('applications', () => {
  test('are created, once per form, and edited', async () => {
    const { html } = await owner.get('/dashboard/applications/new')
    const form = {
      ...hiddenFields(html),
      name: 'A & <b>B</b>',
      organization_id: 'org_1',
      scopes: ' a:read\r\nb:write ',
    }
    const created = await owner.post('/dashboard/applications/new', form)
    const location = created.headers.get('Location') ?? ''
    expect((await owner.post('/dashboard/applications/new', form)).headers.get('Location')).toBe(location)
    const shown = await owner.get(location)
    expect(shown.html).toContain('A &amp; &lt;b&gt;B&lt;/b&gt;')
    expect(shown.html).toContain('a:read b:write')
    const edit = location.replace('?notice=created', '/edit')
    expect((await owner.submit(edit, { name: 'C', description: 'one\r\ntwo' })).headers.get('Location')).toContain(
      'notice=saved',
    )
    const id = /conn_app_\w+/.exec(location)?.[0]
    const { json } = await call(apiKey, 'GET', `/connect/applications/${id}`)
    expect(json).toMatchObject({ name: 'C', description: 'one\ntwo', scopes: [] })
  })

  test.each([
    [
      'first-party',
      { is_first_party: true, uses_pkce: true },
      { uses_pkce: '1', redirect_uris: 'https://a.example/\nhttps://b.example/' },
    ],
    ['oauth', { is_first_party: false, uses_pkce: false, organization_id: 'org_1' }, { organization_id: 'org_1' }],
    ['m2m', { application_type: 'm2m', organization_id: 'org_1' }, { organization_id: 'org_1' }],
  ])('of the type %s are created', async (kind, expected, fields: Record<string, string>) => {
    const { html } = await owner.get(`/dashboard/applications/new?type=${kind}`)
    const created = await owner.post('/dashboard/applications/new', { ...hiddenFields(html), name: kind, ...fields })
    const id = /conn_app_\w+/.exec(created.headers.get('Location') ?? '')?.[0]
    expect((await call(apiKey, 'GET', `/connect/applications/${id}`)).json).toMatchObject(expected)
  })

  test('have what is wrong with them told at the field', async () => {
    const reply = await owner.submit('/dashboard/applications/new', {
      name: ' ',
      organization_id: 'acme',
      scopes: 'a"b',
    })
    expect(reply.status).toBe(422)
    for (const field of ['name', 'organization_id', 'scopes']) {
      expect(reply.html).toMatch(
        new RegExp(`id="${field}"[^>]*aria-describedby="[^"]*${field}-error"[^>]*aria-invalid="true"`),
      )
      expect(reply.html).toContain(`id="${field}-error"`)
    }
    expect(reply.html).toContain('value="acme"')
  })

  test('are found by a part of the name, by id and by client id', async () => {
    const { id, client_id } = await newApplication(apiKey, {
      name: 'Änderung 100% _x_',
      application_type: 'm2m',
      organization_id: 'org_1',
    })
    for (const search of ['nderung 100%', 'NDERUNG', '_x_', id, client_id]) {
      expect((await owner.get(`/dashboard?${new URLSearchParams({ search })}`)).html).toContain(client_id)
    }
    expect((await owner.get('/dashboard?search=nderung%25100')).html).not.toContain(client_id)
    expect((await stranger.get(`/dashboard?search=${id}`)).html).not.toContain(client_id)
  })

  test('come page by page, forth and back', async () => {
    const key = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    for (let i = 0; i < 27; i++) await newApplication(key.apiKey)
    const first = await visitor.get('/dashboard')
    const next = /href="(\/dashboard\?after=[^"]*)"/.exec(first.html)?.[1] ?? ''
    const second = await visitor.get(next)
    expect([...second.html.matchAll(/class="name"/g)]).toHaveLength(2)
    const back = /href="(\/dashboard\?before=[^"]*)"/.exec(second.html)?.[1] ?? ''
    expect((await visitor.get(back)).html.match(/class="name"/g)).toHaveLength(25)
    expect((await visitor.get('/dashboard?after=nobody')).headers.get('Location')).toBe('/dashboard')
  })

  test('are deleted by whoever types the name', async () => {
    const { id } = await newApplication(apiKey)
    const wrong = await owner.submit(`/dashboard/applications/${id}/delete`, { name: 'nightly export' })
    expect(wrong.status).toBe(422)
    expect((await owner.post(`/dashboard/applications/${id}/delete`, { name: '', expected: '' })).status).toBe(422)
    expect((await call(apiKey, 'GET', `/connect/applications/${id}`)).status).toBe(200)
    const right = await owner.submit(`/dashboard/applications/${id}/delete`, { name: 'Nightly export' })
    expect(right.headers.get('Location')).toBe('/dashboard?notice=deleted')
    expect((await call(apiKey, 'GET', `/connect/applications/${id}`)).status).toBe(404)
  })
})

describe('a secret', () => {
  const verify = async (client_secret: string) =>
    (await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret } })).json.valid

  test.each(['new-secret', 'rotate'])('by %s is shown once, and made once', async (form) => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    const count = async () => (await call(apiKey, 'GET', `/connect/applications/${id}/client_secrets`)).json.length
    const { html } = await owner.get(`${page}/${form}`)
    const fields = { ...hiddenFields(html), grace: '3600', name: 'one', lifetime: '30' }
    const first = await owner.post(`${page}/${form}`, fields)
    const plaintext = shownSecret(first.html)
    expect(plaintext).toMatch(/^cs_0[0-9A-Za-z]{49}$/)
    expect(await verify(plaintext)).toBe(true)
    expect(first.trips).toBe(1)
    for (const again of [fields, { ...fields, name: 'two', grace: '0' }]) {
      const second = await owner.post(`${page}/${form}`, again)
      expect(second.status).toBe(409)
      expect(second.html).toContain('This secret has been shown')
      expect(second.html).not.toContain(plaintext)
    }
    // Nor to the same person, signed in anew.
    const anew = new Visitor()
    await anew.signIn(apiKey)
    expect((await anew.post(`${page}/${form}`, fields)).status).toBe(409)
    expect(await count()).toBe(1)
    for (const later of [page, '/dashboard/events', `${page}/${form}`, `/dashboard/find?hint=${plaintext.slice(-6)}`]) {
      const { html: seen } = await owner.get(later)
      expect(seen).not.toContain(plaintext)
      expect(seen).not.toContain(plaintext.slice(0, 20))
    }
    // Its record has nothing to derive from.
    const { results } = await env.DB.prepare('SELECT DISTINCT hex(salt) AS salt FROM idempotency_records').all()
    expect(results).toContainEqual({ salt: '00'.repeat(32) })
  })

  test('is not made by a form without a token, or from before the time that tokens are remembered', async () => {
    const { id } = await newApplication(apiKey)
    const old = `${(Date.now() - 3_600_001).toString(36)}-${crypto.randomUUID()}`
    for (const token of ['', 'x', old]) {
      const reply = await owner.post(`/dashboard/applications/${id}/new-secret`, { token })
      expect([reply.status, reply.trips]).toEqual([422, 0])
      expect(reply.html).toContain('Open it again')
    }
    expect((await call(apiKey, 'GET', `/connect/applications/${id}/client_secrets`)).json).toEqual([])
  })

  test('over the limit is refused, with a way on', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    const { html } = await owner.get(`${page}/new-secret`)
    for (let i = 0; i < 5; i++) await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    const reply = await owner.post(`${page}/new-secret`, hiddenFields(html))
    expect([reply.status, reply.trips]).toEqual([422, 1])
    expect(reply.html).toContain(`${page}/rotate`)
    expect((await owner.get(page)).html).toContain('5 of 5')
    expect((await owner.get(page)).html).not.toContain(`${page}/new-secret`)
  })

  test('goes through its life: rotated out, taken back, disabled, enabled, named, revoked', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    const old = (await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)).json
    const read = async () => (await call(apiKey, 'GET', `/connect/client_secrets/${old.id}`)).json
    await owner.submit(`${page}/rotate`, { grace: '604800' })
    expect((await owner.get(page)).html).toMatch(/1 of 5.*Rotated out.*in 7 days.*Take back/s)
    expect((await read()).expires_at).toBeDefined()
    await owner.post(`${page}/secrets/${old.id}/keep`)
    expect((await read()).expires_at).toBeUndefined()
    expect((await owner.get(page)).html).toContain('2 of 5')
    await owner.post(`${page}/secrets/${old.id}/disable`)
    expect((await read()).disabled).toBe(true)
    expect((await owner.get(page)).html).toContain('Disabled')
    await owner.post(`${page}/secrets/${old.id}/enable`)
    expect((await read()).disabled).toBeUndefined()
    await owner.submit(`${page}/secrets/${old.id}/edit`, { name: 'kept', lifetime: '90' })
    expect(await read()).toMatchObject({ name: 'kept', expires_at: expect.any(String) })
    await owner.submit(`${page}/secrets/${old.id}/edit`, { name: '', lifetime: 'same' })
    expect((await read()).name).toBeUndefined()
    const revoked = await owner.submit(`${page}/secrets/${old.id}/revoke`)
    expect(revoked.headers.get('Location')).toBe(`${page}?notice=revoked`)
    expect((await call(apiKey, 'GET', `/connect/client_secrets/${old.id}`)).status).toBe(404)
    await owner.submit(`${page}/revoke-all`)
    expect((await owner.get(page)).html).toContain('No client secrets')
  })

  test('is not revoked without a warning, where it is in use, or the last', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}/secrets`
    const created = (await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)).json
    const ask = async () => (await owner.get(`${page}/${created.id}/revoke`)).html
    expect(await ask()).toContain(`…${created.secret_hint}`)
    expect(await ask()).toContain('It was never used.')
    expect(await ask()).toContain('the last one that works')
    expect(await ask()).not.toContain('within the last week')
    await verify(created.secret)
    expect(await ask()).toContain('within the last week')
    await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    expect(await ask()).not.toContain('the last one that works')
  })

  test('is found by its end, and by no more of it', async () => {
    expect((await owner.get(`/dashboard/find?hint=${hint}`)).html).toContain(`${path}#${secretId}`)
    for (const bad of ['', 'a', `${hint}x`, '%3Cb%3Ex1', 'cs_0aB']) {
      const reply = await owner.get(`/dashboard/find?hint=${bad}`)
      expect([reply.status, reply.trips]).toEqual([422, 1])
      if (bad.length > 1) expect(reply.html).not.toContain(bad)
    }
  })
})

describe('events', () => {
  test('are filtered by type, time and organization', async () => {
    const created = await owner.get('/dashboard/events?type=connect_application_secret.created&days=1')
    expect(created.html).toContain(`…${hint}`)
    expect(created.html).not.toContain('<span class="name">Application created')
    expect((await owner.get('/dashboard/events?organization=org_nobody')).html).toContain('Nothing of this kind')
    for (const odd of ['type=nothing&days=400', 'organization=%27%20OR%201', 'type=%3Cscript%3E']) {
      expect((await owner.get(`/dashboard/events?${odd}`)).status).toBe(200)
    }
    expect((await owner.get('/dashboard/events?after=nothing')).headers.get('Location')).toBe('/dashboard/events')
  })
})

describe('webhooks', () => {
  test('show what did not arrive, and send it again', async () => {
    await env.DB.prepare("UPDATE webhook_deliveries SET state = 'dead', last_outcome = '500', attempts = 11").run()
    const { html } = await owner.get('/dashboard/webhooks')
    expect(html).toContain('Given up')
    const row =
      /action="\/dashboard\/webhooks\/revive"><input type="hidden" name="endpoint" value="([^"]*)"\/?><input type="hidden" name="event" value="([^"]*)"/.exec(
        html,
      )
    const [, endpoint = '', event = ''] = row ?? []
    expect((await stranger.post('/dashboard/webhooks/revive', { endpoint, event })).status).toBe(404)
    expect((await reader.post('/dashboard/webhooks/revive', { endpoint, event })).status).toBe(403)
    const reply = await owner.post('/dashboard/webhooks/revive', { endpoint, event })
    expect(reply.headers.get('Location')).toBe('/dashboard/webhooks?notice=revived')
    const delivery = await env.DB.prepare('SELECT state FROM webhook_deliveries WHERE event_id = ?')
      .bind(event)
      .first('state')
    expect(delivery).not.toBe('dead')
  })
})

test('a database that does not answer is a page that says so', async () => {
  const broken = new Proxy(env.DB, {
    get: (target, name) =>
      name === 'batch' ? () => Promise.reject(new Error('D1_ERROR: boom')) : Reflect.get(target, name).bind(target),
  })
  const request = new Request(`${ORIGIN}/dashboard`, { headers: { Cookie: owner.cookie } })
  const context = { waitUntil: () => {}, passThroughOnException: () => {} } as unknown as ExecutionContext
  const response = await app.fetch(request, { ...env, DB: broken }, context)
  expect(response.status).toBe(503)
  expect(response.headers.get('Retry-After')).toBe('1')
  expect(await response.text()).toContain('Storage did not answer')
  // Nobody is signed out by it.
  expect(response.headers.has('Set-Cookie')).toBe(false)
})

test('no statement of a page scans a table', async () => {
  expect(sent.size).toBeGreaterThan(30)
  for (const sql of sent) {
    const values = Array.from({ length: sql.split('?').length - 1 }, () => null)
    const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...values)
      .all<{ detail: string }>()
    const scans = results
      .map(({ detail }) => detail)
      .filter((detail) => /^SCAN (?!CONSTANT ROW|json_each)/.test(detail))
    expect(scans, sql).toEqual([])
  }
})
