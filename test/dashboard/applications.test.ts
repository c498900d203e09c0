import { beforeAll, describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { hiddenFields, Visitor } from './pages.ts'

const owner = new Visitor()
const stranger = new Visitor()
let apiKey: string

beforeAll(async () => {
  apiKey = (await newApiKey()).apiKey
  await owner.signIn(apiKey)
  await stranger.signIn((await newApiKey()).apiKey)
})

const idIn = (location: string | null) => /conn_app_\w+/.exec(location ?? '')?.[0]
const NEW = '/dashboard/applications/new'

describe('an application', () => {
  test('a form creates one application although it is sent twice, and the application can be edited', async () => {
    const { html } = await owner.get(NEW)
    const form = {
      ...hiddenFields(html),
      kind: 'm2m',
      name: 'A & <b>B</b>',
      organization_id: 'org_1',
      scopes: ' a:read\r\nb:write ',
    }
    const created = await owner.post(NEW, form)
    const location = created.headers.get('Location') ?? ''
    expect((await owner.post(NEW, form)).headers.get('Location')).toBe(location)
    const shown = await owner.get(location)
    expect(shown.html).toContain('A &amp; &lt;b&gt;B&lt;/b&gt;')
    expect(shown.html).toContain('a:read b:write')
    const edited = await owner.submit(`${location}/edit`, { name: 'C', description: 'one\r\ntwo' })
    expect(edited.headers.get('Location')).toBe(location)
    const { json } = await call(apiKey, 'GET', `/connect/applications/${idIn(location)}`)
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
    ['constructor', { application_type: 'm2m' }, { organization_id: 'org_1' }],
  ])(
    'the form with the kind %s creates an application of this kind, or an m2m application if the kind is unknown',
    async (kind, expected, fields: Record<string, string>) => {
      const created = await owner.submit(NEW, { kind, name: kind, ...fields })
      const { json } = await call(apiKey, 'GET', `/connect/applications/${idIn(created.headers.get('Location'))}`)
      expect(json).toMatchObject(expected)
    },
  )

  test('an application with invalid fields is not created, and each field shows its error', async () => {
    const reply = await owner.submit(NEW, { kind: 'oauth', name: ' ', organization_id: 'acme', scopes: 'a"b' })
    expect(reply.status).toBe(422)
    for (const field of ['name', 'organization_id', 'scopes']) {
      expect(reply.html).toMatch(
        new RegExp(`id="${field}"[^>]*aria-describedby="[^"]*${field}-error"[^>]*aria-invalid="true"`),
      )
      expect(reply.html).toContain(`id="${field}-error"`)
    }
    expect(reply.html).toContain('value="acme"')
    expect(reply.html).toMatch(/value="oauth" checked/)
  })

  test('an application is deleted only if its name or the last eight characters of its client ID are typed', async () => {
    const { id } = await newApplication(apiKey)
    const path = `/dashboard/applications/${id}/delete`
    const wrong = await owner.submit(path, { name: 'nightly export' })
    expect(wrong.status).toBe(422)
    expect(wrong.html).toContain('value="nightly export"')
    expect((await owner.post(path, { name: '', expected: '' })).status).toBe(422)
    expect((await call(apiKey, 'GET', `/connect/applications/${id}`)).status).toBe(200)
    const right = await owner.submit(path, { name: 'Nightly export' })
    expect(right.headers.get('Location')).toBe('/dashboard/applications')
    expect((await call(apiKey, 'GET', `/connect/applications/${id}`)).status).toBe(404)
    const other = await newApplication(apiKey)
    await owner.submit(`/dashboard/applications/${other.id}/delete`, { name: other.client_id.slice(-8) })
    expect((await call(apiKey, 'GET', `/connect/applications/${other.id}`)).status).toBe(404)
  })

  test('the page that deletes an application says how many secrets are revoked, and how long their tokens stay valid', async () => {
    const { id } = await newApplication(apiKey)
    for (let i = 0; i < 2; i++) await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    const { html } = await owner.get(`/dashboard/applications/${id}/delete`)
    expect(html).toContain('revokes its 2 secrets. This can’t be undone.')
    expect(html).toContain('up to 1 hour from now')
  })
})

describe('the list of applications', () => {
  test('the list of applications can be searched by a part of a name, by an application ID or by a client ID', async () => {
    const { id, client_id } = await newApplication(apiKey, {
      name: 'Änderung 100% _x_',
      application_type: 'm2m',
      organization_id: 'org_1',
    })
    for (const search of ['nderung 100%', 'NDERUNG', '_x_', id, client_id]) {
      const { headers, trips } = await owner.post('/dashboard/search', { search })
      expect(trips).toBe(0)
      expect((await owner.get(headers.get('Location') ?? '')).html).toContain(client_id)
    }
    expect((await owner.get('/dashboard/applications?search=nderung%25100')).html).not.toContain(client_id)
    expect((await stranger.get(`/dashboard/applications?search=${id}`)).html).not.toContain(client_id)
  })

  test('the list of applications has 25 applications per page, with links to the next and the previous page', async () => {
    const key = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    for (let i = 0; i < 27; i++) await newApplication(key.apiKey)
    const rows = (html: string) => html.match(/<td class="wide"/g)?.length
    const first = await visitor.get('/dashboard/applications')
    const next = /href="(\/dashboard\/applications\?after=[^"]*)"/.exec(first.html)?.[1] ?? ''
    const second = await visitor.get(next)
    expect(rows(second.html)).toBe(2)
    const back = /href="(\/dashboard\/applications\?before=[^"]*)"/.exec(second.html)?.[1] ?? ''
    expect(rows((await visitor.get(back)).html)).toBe(25)
    expect((await visitor.get('/dashboard/applications?after=unknown')).headers.get('Location')).toBe(
      '/dashboard/applications',
    )
  })
})

describe('a pasted credential', () => {
  const fields = [
    ['/dashboard/search', 'search'],
    ['/dashboard/find', 'q'],
    ['/dashboard/find', 'text'],
    ['/dashboard/secrets', 'application'],
    ['/dashboard/secrets', 'organization'],
    ['/dashboard/secrets', 'creator'],
    ['/dashboard/events', 'actor'],
    ['/dashboard/events', 'target'],
    ['/dashboard/events', 'type'],
    ['/dashboard/sign-in', 'to'],
  ] as const
  const forms: [string, (secret: string) => string][] = [
    ['whole', (secret) => secret],
    ['quoted', (secret) => `"${secret}"`],
    ['as a line of .env', (secret) => `CLIENT_SECRET=${secret}`],
    ['without its first characters', (secret) => secret.slice(6)],
    ['behind a text of which a name has room for a part', (secret) => `${'x '.repeat(120)}${secret}`],
  ]

  test.each(fields)(
    'a URL contains at most the last 6 characters of a credential that is pasted into the form of %s: field %s',
    async (path, name) => {
      const { plaintext } = await issueCredential('cs', '0')
      for (const [, form] of forms) {
        const reply = await owner.post(path, { api_key: apiKey, [name]: form(plaintext) })
        expect(reply.status).toBe(303)
        const location = decodeURIComponent(reply.headers.get('Location') ?? '')
        expect(location).not.toContain(plaintext.slice(-7))
        expect(location).not.toContain(plaintext.slice(0, 10))
      }
    },
  )

  test.each([
    '/dashboard/applications?search=',
    '/dashboard/events?organization=',
    '/dashboard/find?hint=',
    '/dashboard/applications?after=',
  ])('a credential at the end of the URL %s redirects to the search for its last 6 characters', async (path) => {
    const { plaintext, hint } = await issueCredential('cs', '0')
    const reply = await owner.get(path + plaintext)
    expect([reply.status, reply.trips, reply.headers.get('Location')]).toEqual([303, 0, `/dashboard/find?hint=${hint}`])
  })

  test.each([
    [NEW, { name: '', description: '', scopes: '', redirect_uris: '', organization_id: '' }],
    ['/dashboard/applications/:id/edit', { name: '', description: '', scopes: '' }],
    ['/dashboard/applications/:id/new-secret', { name: '', scopes: '', allowed_ips: '' }],
    ['/dashboard/applications/:id/rotate', { name: '' }],
    ['/dashboard/keys/new', { name: '', allowed_ips: '' }],
    ['/dashboard/webhooks/new', { url: 'https://example.com/' }],
    ['/dashboard/settings', { leak_reaction: 'notify', max_lifetime_days: '' }],
  ])(
    'when the form of %s is refused because of a credential, the page does not repeat the credential',
    async (path, fields: Record<string, string>) => {
      const { id } = await newApplication(apiKey)
      const action = path.replace(':id', id)
      for (const [name, start] of Object.entries(fields)) {
        if (name === 'leak_reaction') continue
        const { plaintext } = await issueCredential('cs', '0')
        const { status, html } = await owner.submit(action, { kind: 'oauth', ...fields, [name]: start + plaintext })
        expect([status, html.includes(plaintext)], name).toEqual([422, false])
      }
    },
  )

  test('no Location header repeats a credential from the path', async () => {
    const { plaintext } = await issueCredential('cs', '0')
    const { id } = await newApplication(apiKey)
    const secret = (await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)).json
    const ended = new Visitor()
    ended.session = (await issueCredential('session', '0')).plaintext
    for (const visitor of [owner, new Visitor(), ended]) {
      for (const path of [
        `/dashboard/applications/${plaintext}`,
        `/dashboard/applications/${plaintext}/edit`,
        `/dashboard/${plaintext}`,
      ]) {
        expect((await visitor.get(path)).headers.get('Location') ?? '').not.toContain(plaintext)
      }
      for (const action of [
        'secrets/x/disable',
        `secrets/${secret.id}/disable`,
        `secrets/${secret.id}/revoke`,
        'revoke-all',
      ]) {
        const reply = await visitor.post(`/dashboard/applications/${plaintext}/${action}`)
        expect(reply.headers.get('Location') ?? '').not.toContain(plaintext)
        if (visitor === owner) expect(reply.status).toBe(404)
      }
    }
  })
})
