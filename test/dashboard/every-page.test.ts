import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { scansOf } from '../query-plans.ts'
import { hiddenFields, ORIGIN, sent, Visitor, visit } from './pages.ts'

/** Every page and form, for a caller with write access, one with read access, and one of another environment. */
const owner = new Visitor()
const reader = new Visitor()
const stranger = new Visitor()
let applicationId: string
let secretId: string
let eventId: string
let endpointId: string
/** Of a form of the owner's, which no test sends as it is. */
let token: string
/** Every row, which no test changes. */
let before: unknown
let hint: string
/** Text that only callers of the environment may see. */
let inside: string[]

beforeAll(async () => {
  const { apiKey, environmentId, id } = await newApiKey()
  await owner.signIn(apiKey)
  await reader.signIn((await newApiKey({ environmentId, access: 'read' })).apiKey)
  await stranger.signIn((await newApiKey()).apiKey)
  endpointId = newId('we', Date.now())
  await createWebhookEndpoint(operatorDatabase(env.DB), {
    id: endpointId,
    environmentId,
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
  const newest = "SELECT id FROM events WHERE type = 'connect_application_secret.created' ORDER BY seq DESC"
  eventId = String(await env.DB.prepare(newest).first('id'))
  const form = await owner.get(`/dashboard/applications/${applicationId}/new-secret`)
  token = hiddenFields(form.html).token ?? ''
  before = await state()
  inside = [application.client_id, secretId, hint, id, endpointId, 'https://localhost/inside']
})

/** With the ids of existing objects. */
const filled = (route: string) =>
  route
    .replace('/events/:id', `/events/${eventId}`)
    .replace('/webhooks/:id', `/webhooks/${endpointId}`)
    .replace(':id', applicationId)
    .replace(':secret', secretId)

const routesOf = (method: string) => [
  ...new Set(
    app.routes
      .filter((route) => route.method === method && route.path.startsWith('/dashboard'))
      .map((route) => route.path),
  ),
]

const SIGN_IN = '/dashboard/sign-in'
const guarded = (method: string) => routesOf(method).filter((route) => route !== SIGN_IN)
/** Forms that only read. */
const SEARCHES = ['/dashboard/search', '/dashboard/find', '/dashboard/events', '/dashboard/secrets']
/** Forms that name secrets in their fields. Without one they are refused. */
const BULK = ['/dashboard/secrets/bulk', '/dashboard/secrets/bulk/confirm']
const changes = guarded('POST').filter((route) => ![...SEARCHES, '/dashboard/sign-out'].includes(route))

describe.each(guarded('GET'))('GET %s', (route) => {
  const query = route.endsWith('/find') ? () => `?hint=${hint}` : () => ''
  const target = () => filled(route.startsWith('/dashboard/keys/:id') ? '/dashboard/keys' : route) + query()

  test('the page renders with one D1 request', async () => {
    const reply = await owner.get(target())
    expect([reply.status, reply.trips]).toEqual([200, 1])
    expect(reply.html).not.toContain('whsec_')
  })

  test('the page redirects to sign-in without a session', async () => {
    const reply = await new Visitor().get(target())
    expect([reply.status, reply.trips]).toEqual([303, 0])
    expect(reply.headers.get('Location')).toMatch(/^\/dashboard\/sign-in/)
  })

  test('the page has no form or link for a change if the API key is read-only', async () => {
    const reply = await reader.get(target())
    expect([200, 403]).toContain(reply.status)
    const forms = [...reply.html.matchAll(/<form method="post" action="([^"]*)"/g)].map(([, action]) => action)
    const isFile = reply.headers.has('Content-Disposition')
    expect(forms.filter((action) => !SEARCHES.includes(`${action}`))).toEqual(isFile ? [] : ['/dashboard/sign-out'])
    expect(reply.html).not.toMatch(/href="[^"]*\/(new|new-secret|rotate|edit|delete|revoke|revoke-all)"/)
  })

  test('the page shows nothing of another environment', async () => {
    const reply = await stranger.get(target())
    expect([200, 404]).toContain(reply.status)
    const own = route.endsWith('/find') ? inside.filter((text) => text !== hint) : inside
    for (const text of own) expect(reply.html).not.toContain(text)
    if (route.includes(':id') && !route.startsWith('/dashboard/keys')) expect(reply.status).toBe(404)
  })
})

const state = async () => {
  const tables = ['applications', 'client_secrets', 'api_keys', 'sessions', 'webhook_endpoints']
  const rows = await env.DB.batch(tables.map((table) => env.DB.prepare(`SELECT * FROM ${table}`)))
  return rows.map(({ results }) => results.map((row) => ({ ...(row as object), last_used_at: null })))
}

describe.each(changes)('POST %s', (route) => {
  const valid = {
    ...{ name: 'x', expected: 'x', grace: '0', lifetime: '0', kind: 'm2m', organization_id: 'org_1' },
    ...{ access: 'read', url: 'https://example.com/hooks' },
  }
  const invalid = { name: '\u0007', grace: 'constructor', lifetime: '__proto__', kind: 'toString' }

  test.each([
    ['a read-only key', () => reader, 403, valid],
    ['a read-only key that sends invalid fields', () => reader, 403, invalid],
    ['another environment', () => stranger, 404, valid],
  ])('the form changes nothing for a session of %s', async (who, visitor, status, fields) => {
    // These change the environment of the session, which is another one.
    if (who === 'another environment' && /\/new$|^\/dashboard\/settings/.test(route)) return
    const reply = await visitor().post(filled(route), { ...fields, token: fields === valid ? token : '' })
    expect([reply.status, reply.trips]).toEqual([BULK.includes(route) && status === 404 ? 422 : status, 1])
    expect(await state()).toEqual(before)
  })

  test('the form changes nothing if it was opened in a session of another environment', async () => {
    for (const environment of [stranger.environment, '']) {
      for (const fields of [valid, invalid]) {
        const reply = await owner.post(filled(route), { ...fields, token, environment })
        expect([reply.status, reply.trips]).toEqual([409, 1])
        expect(reply.html).toContain('Nothing was')
      }
    }
    expect(await state()).toEqual(before)
  })

  test('the form redirects to sign-in without a session, whether its fields are valid or not', async () => {
    for (const fields of [valid, invalid]) {
      const reply = await new Visitor().post(filled(route), fields)
      expect([reply.status, reply.trips, reply.headers.get('Location')]).toEqual([303, 0, SIGN_IN])
    }
  })

  test('the form redirects to sign-in if the session has ended', async () => {
    const visitor = new Visitor()
    visitor.session = (await issueCredential('session', operatorDatabase().region)).plaintext
    const reply = await visitor.post(filled(route), invalid)
    expect([reply.status, reply.trips, reply.headers.get('Location')]).toEqual([303, 1, `${SIGN_IN}?ended=`])
  })

  test('the form is refused if it has more than 64 KiB', async () => {
    const reply = await owner.post(filled(route), { name: 'x'.repeat(70_000) })
    expect([reply.status, reply.trips]).toEqual([413, 1])
  })
})

test('unknown paths and methods render an error page without a D1 request', async () => {
  for (const [method, missing, status] of [
    ['GET', '/dashboard/nothing', 404],
    ['GET', '/dashboard/', 404],
    ['GET', '/dashboard/sign-out', 405],
    ['DELETE', '/dashboard', 405],
  ] as const) {
    const reply = await visit(new Request(ORIGIN + missing, { method, headers: { Origin: ORIGIN } }))
    expect([missing, reply.status, reply.trips]).toEqual([missing, status, 0])
    expect(reply.html).toContain('Page not found')
  }
})

describe('a failure of the database', () => {
  const broken = new Proxy(env.DB, {
    get: (target, name) =>
      name === 'batch' ? () => Promise.reject(new Error('D1_ERROR: boom')) : Reflect.get(target, name).bind(target),
  })
  const send = (method: string, path: string, init: RequestInit = {}) => {
    const headers = { Cookie: `__Host-session=${owner.session}`, Origin: ORIGIN }
    const context = { waitUntil: () => {}, passThroughOnException: () => {} } as unknown as ExecutionContext
    return app.fetch(new Request(ORIGIN + path, { method, headers, ...init }), { ...env, DB: broken }, context)
  }

  test('when the database fails for a page, the response says that nothing was changed, and the session cookie stays', async () => {
    const response = await send('GET', '/dashboard')
    expect(response.status).toBe(503)
    expect(response.headers.get('Retry-After')).toBe('1')
    expect(await response.text()).toContain('Nothing was changed. Try again.')
    expect(response.headers.has('Set-Cookie')).toBe(false)
  })

  test('when the database fails during a change, the page says that the outcome is unknown', async () => {
    const response = await send('POST', `/dashboard/applications/${applicationId}/secrets/${secretId}/disable`, {
      body: new URLSearchParams(),
    })
    expect(response.status).toBe(503)
    expect(await response.text()).toContain('It is unknown whether the change was made.')
  })

  test('when the database fails for a form that changes nothing, the page says that nothing was changed', async () => {
    const body = new URLSearchParams({ secret: secretId, action: 'revoke' })
    const response = await send('POST', '/dashboard/secrets/bulk', { body })
    expect(response.status).toBe(503)
    expect(await response.text()).toContain('Nothing was changed.')
  })
})

test('no statement of a page scans a table', async () => {
  expect(sent.size).toBeGreaterThan(30)
  // A new API key is looked for in `sessions` only while a foreign key is violated, which no commit leaves behind.
  const scans = (await scansOf(env.DB, sent)).filter(
    (scan) => !scan.startsWith('SCAN sessions in INSERT INTO api_keys'),
  )
  expect(scans).toEqual([])
})
