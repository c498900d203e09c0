import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { EVENT_TYPES, type EventType } from '../../src/storage/events.ts'
import { EMAIL } from '../access-team.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { secretsOf } from '../requests.ts'
import { Team } from './access.ts'
import { hiddenFields, shownSecret, Visitor } from './pages.ts'

/** The person who signed in through Cloudflare Access, in everything that tells who did something. */

let team: Team

beforeEach(() => {
  team = new Team()
})

afterEach(() => {
  vi.unstubAllGlobals()
})

/** Events that no form of the dashboard makes. */
const MADE_OTHERWISE: ReadonlySet<EventType> = new Set([
  'connect_application_secret.expired',
  'connect_application_secret.replayed',
  'connect_application_secret.refused',
  'connect_application_secret.used_while_expiring',
  'connect_application_secret.leaked',
  'connect_application_secret.expiring',
  'connect_application_secret.unused',
  'api_key.leaked',
  'webhook_endpoint.leaked',
  'signing_key.rotated',
])

test('every event that a person causes in the dashboard names the person in addition to the API key', async () => {
  const key = await newApiKey()
  const visitor = await team.signedIn(key.id)
  const ids = async (path: string) => (await call(key.apiKey, 'GET', path)).json
  const send = async (path: string, fields: Record<string, string> = {}) => {
    const reply = await visitor.submit(`/dashboard/${path}`, fields)
    expect([path, reply.status]).toEqual([path, reply.status === 200 ? 200 : 303])
    return reply
  }
  const press = async (path: string, fields: Record<string, string> = {}) =>
    expect([path, (await visitor.post(`/dashboard/${path}`, fields)).status]).toEqual([path, 303])

  await send('applications/new', { kind: 'm2m', name: 'one', organization_id: 'org_1' })
  const [application] = (await ids('/connect/applications')).data
  const page = `applications/${application.id}`
  await send(`${page}/edit`, { name: 'two' })
  await send(`${page}/new-secret`, { lifetime: '0' })
  await send(`${page}/rotate`, { grace: '86400', lifetime: '0' })
  const [old, current] = await ids(secretsOf(application.id))
  await press(`${page}/secrets/${current.id}/disable`)
  await press(`secrets/${current.id}/enable`)
  await press(`secrets/${old.id}/keep`)
  const bulk = await visitor.post('/dashboard/secrets/bulk', { action: 'disable', secret: old.id })
  await visitor.post('/dashboard/secrets/bulk/confirm', { ...hiddenFields(bulk.html), typed: 'disable 1' })
  await press(`secrets/${old.id}/revoke`)
  await send(`${page}/revoke-all`)
  await send(`${page}/delete`, { name: 'two' })

  await send('keys/new', { name: 'other', access: 'read', lifetime: '0' })
  const created = await env.DB.prepare("SELECT id FROM api_keys WHERE environment_id = ? AND name = 'other'")
    .bind(key.environmentId)
    .first<string>('id')
  await send(`keys/${created}/rename`, { name: 'renamed' })
  await press(`keys/${created}/revoke`)

  await send('webhooks/new', { url: 'https://example.com/hook' })
  const endpoint = await env.DB.prepare('SELECT id FROM webhook_endpoints WHERE environment_id = ?')
    .bind(key.environmentId)
    .first<string>('id')
  await press(`webhooks/${endpoint}/pause`)
  await press(`webhooks/${endpoint}/resume`)
  await press(`webhooks/${endpoint}/delete`)

  await press('settings', { leak_reaction: 'disable', max_lifetime_days: '', max_unused_days: '' })
  await press('settings/freeze')
  await press('settings/unfreeze')
  await visitor.post('/dashboard/sign-out')

  const events = (await ids('/events?limit=100')).data
  const types = [...new Set(events.map(({ event }: { event: string }) => event))]
  expect(types.sort()).toEqual(EVENT_TYPES.filter((type) => !MADE_OTHERWISE.has(type)).sort())
  for (const { event, context } of events) {
    const { actor, api_key, session_id, person } = context
    expect({ event, actor, api_key, session_id, person }).toEqual({
      event,
      actor: 'session',
      api_key: { id: key.id, name: 'test' },
      session_id: expect.stringMatching(/^session_/),
      person: EMAIL,
    })
  }
})

describe('an API key that no person acts with', () => {
  test('events of the API key’s calls and sessions have no person member', async () => {
    const key = await newApiKey()
    const application = await newApplication(key.apiKey)
    await call(key.apiKey, 'POST', secretsOf(application.id))
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    await visitor.post('/dashboard/settings/freeze')
    const { data } = (await call(key.apiKey, 'GET', '/events?limit=100')).json
    expect(data).toHaveLength(4)
    for (const { context } of data) expect(Object.keys(context)).not.toContain('person')
    const [secret] = (await call(key.apiKey, 'GET', '/connect/client_secrets')).json.data
    expect(secret.created_by).toEqual({ id: key.id, name: 'test' })
  })
})

describe('a secret that a person created', async () => {
  const other = await newApiKey()

  async function created(email = EMAIL) {
    const key = await newApiKey({ environmentId: other.environmentId })
    const application = await newApplication(key.apiKey)
    const visitor = await team.signedIn(key.id, { email })
    const form = `/dashboard/applications/${application.id}/new-secret`
    const shown = await visitor.submit(form, { lifetime: '0' })
    const listed = await call(key.apiKey, 'GET', `/connect/client_secrets?created_by=${encodeURIComponent(email)}`)
    return { key, visitor, plaintext: shownSecret(shown.html), secrets: listed.json.data }
  }

  test('the list, the page and the exports of secrets, and the filter by creator, name the person who created the secret', async () => {
    const email = 'grace@example.com'
    const { key, visitor, secrets } = await created(email)
    expect(secrets).toHaveLength(1)
    expect(secrets[0].created_by).toEqual({ id: key.id, name: 'test', person: email })
    const { id } = secrets[0]
    const page = (await visitor.get(`/dashboard/secrets/${id}`)).html
    expect(page).toContain(`<a href="/dashboard/events?actor=${encodeURIComponent(email)}"><bdi>${email}</bdi></a>`)
    const creator = `href="/dashboard/secrets?creator=${encodeURIComponent(email)}"`
    expect((await visitor.get('/dashboard/secrets')).html).toContain(`by <a ${creator}><bdi>${email}</bdi></a>`)
    expect(page).toContain(`<a class="quiet" ${creator}>secrets by this person</a>`)
    expect((await visitor.get('/dashboard/keys')).html).toContain(`<a ${creator}>`)
    const query = `creator=${encodeURIComponent(email)}`
    const rows = (await visitor.get(`/dashboard/secrets/export?format=csv&${query}`)).html.trim().split('\r\n')
    expect(rows).toHaveLength(2)
    expect(rows[0]).toContain('"created_by","created_by_person","created_by_api_key","created_by_api_key_id"')
    expect(rows[1]).toContain(`,"${email} (API key test)","${email}","test","${key.id}",`)
    const json = JSON.parse((await visitor.get(`/dashboard/secrets/export?format=json&${query}`)).html)
    expect(json.data).toEqual(secrets)
  })

  test('the activity list names the person, and its filter finds everything that the person did', async () => {
    const email = 'barbara@example.com'
    const { key, visitor } = await created(email)
    const query = `actor=${encodeURIComponent(email)}`
    const list = (await visitor.get(`/dashboard/events?${query}`)).html
    expect(list).toContain(`\u2068${email}\u2069 (API key \u2068test\u2069)`)
    expect(list).toContain(`<option value="${email}" selected="">`)
    const events = JSON.parse((await visitor.get(`/dashboard/events/export-json?${query}`)).html)
    expect(events.map(({ event }: { event: string }) => event)).toEqual([
      'connect_application_secret.created',
      'session.created',
    ])
    const [header = '', row = ''] = (await visitor.get(`/dashboard/events/export-csv?${query}`)).html.split('\r\n')
    const column = (name: string) => row.split(',')[header.split(',').indexOf(`"${name}"`)]
    expect(['actor', 'actor_type', 'person', 'api_key', 'api_key_id'].map(column)).toEqual(
      [`${email} (API key test)`, 'session', email, 'test', key.id].map((text) => `"${text}"`),
    )
    expect(list).toContain(`href="/dashboard/secrets?creator=${encodeURIComponent(email)}"`)
    const page = (await visitor.get(`/dashboard/events/${events[0].id}`)).html
    expect(page).toContain(`<bdi>${email}</bdi></a> with the API key <a`)
  })

  test('the person who revoked a secret is named on the page of the secret and in a search for its plaintext', async () => {
    const { visitor, plaintext, secrets } = await created('mary@example.com')
    await visitor.post(`/dashboard/secrets/${secrets[0].id}/revoke`)
    const reply = await visitor.post('/dashboard/find', { q: plaintext })
    const found = await visitor.get(reply.headers.get('Location') ?? '')
    expect(found.html).toContain('It was revoked by <bdi>mary@example.com</bdi>')
    expect((await visitor.get(`/dashboard/secrets/${secrets[0].id}`)).html).toContain('\u2068mary@example.com\u2069')
  })

  test('every page shows an email address that contains HTML as text', async () => {
    const email = '"><img src=x>\'&@example.com'
    const { visitor, secrets } = await created(email)
    const paths = ['', '/secrets', `/secrets/${secrets[0].id}`, '/events', '/keys', '/sign-in']
    for (const path of paths) {
      const { html } = await visitor.get(`/dashboard${path}`)
      expect(html).toContain('&lt;img src=x')
      expect(html).not.toContain('<img src=x')
    }
    expect(secrets[0].created_by.person).toBe(email)
  })

  test('every list and file distinguishes the person from an API key with the same name', async () => {
    const email = 'twin@example.com'
    const { key, visitor } = await created(email)
    const twin = await newApiKey({ environmentId: key.environmentId })
    await env.DB.prepare('UPDATE api_keys SET name = ? WHERE id = ?').bind(email, twin.id).run()
    const application = await newApplication(twin.apiKey)
    const { json } = await call(twin.apiKey, 'POST', secretsOf(application.id))

    const list = (await visitor.get('/dashboard/secrets')).html
    expect(list).toMatch(new RegExp(`by API key <a [^>]*><bdi>${email}`))
    expect(list).toMatch(new RegExp(`by <a [^>]*><bdi>${email}`))
    expect(list).toContain(`<option value="${twin.id}">API key ${email}</option>`)
    const activity = (await visitor.get('/dashboard/events')).html
    expect(activity).toContain(`<bdi>API key \u2068${email}\u2069</bdi>`)
    expect(activity).toContain(`<bdi>\u2068${email}\u2069 (API key \u2068test\u2069)</bdi>`)
    expect(activity).toContain(`<option value="${twin.id}">API key ${email}</option>`)
    const page = (await visitor.get(`/dashboard/secrets/${json.id}`)).html
    expect(page).toMatch(/ by API key <a [^>]*><bdi class="name">twin@example.com/)
    expect(page).toContain(` by <bdi>API key \u2068${email}\u2069</bdi>`)

    await call(twin.apiKey, 'DELETE', `/connect/client_secrets/${json.id}`)
    expect((await visitor.get(`/dashboard/find?hint=${json.secret_hint}`)).html).toContain(
      `It was revoked by <bdi>API key ${email}</bdi>`,
    )
    const csv = (await visitor.get('/dashboard/secrets/export?format=csv&state=all')).html
    expect(csv).toContain(`,"API key ${email}","","${email}","${twin.id}",`)
    expect(csv).toContain(`,"${email} (API key test)","${email}","test","${key.id}",`)
    const events = (await visitor.get('/dashboard/events/export-csv')).html
    expect(events).toContain(`,"API key ${email}","api_key","","${email}","${twin.id}",`)
    expect(events).toContain(`,"${email} (API key test)","session","${email}","test","${key.id}",`)
  })

  test('a filter by person puts no credential into the URL', async () => {
    const { visitor, plaintext } = await created()
    for (const [path, field] of [
      ['/dashboard/events', 'actor'],
      ['/dashboard/secrets', 'creator'],
    ] as const) {
      const reply = await visitor.post(path, { [field]: `${plaintext}@example.com` })
      expect(reply.headers.get('Location')).toBe(path)
    }
  })
})
