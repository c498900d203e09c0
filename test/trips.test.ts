import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { issueCredential } from '../src/credential/credential.ts'
import { type Call, call, m2mApplication, newApiKey, newApplication, send } from './api.ts'
import { counted } from './faults/wrapped.ts'
import { scansOf } from './query-plans.ts'
import { secretsOf } from './requests.ts'

/**
 * Rule 2: one request, at most one trip. Every route is tried with every outcome that it has; what needs no storage to
 * be answered asks none.
 */
interface Case {
  readonly route: string
  readonly outcome: number
  readonly trips: 0 | 1
  readonly path: string
  readonly request?: Call & { apiKey?: string }
}

const { apiKey } = await newApiKey()
const reader = await newApiKey({ access: 'read' })
const unknownKey = (await issueCredential('sk', '0')).plaintext
const clientSecret = (await issueCredential('cs', '0')).plaintext
const elsewhereKey = (await issueCredential('sk', '1')).plaintext

const m2m = await newApplication(apiKey)
const full = await newApplication(apiKey)
for (let i = 0; i < 5; i++) await call(apiKey, 'POST', `/connect/applications/${full.id}/client_secrets`)
const secret = async (id: string, headers = {}) =>
  (await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`, { headers })).json.id as string

await secret(m2m.id, { 'Idempotency-Key': 'replayed' })
const revoked = await secret(m2m.id, { 'Idempotency-Key': 'revoked' })
await call(apiKey, 'DELETE', `/connect/client_secrets/${revoked}`)
const rotated = await newApplication(apiKey)
const kept = await secret(rotated.id)
const { secret: plaintext } = (await call(apiKey, 'POST', secretsOf(rotated.id))).json
const verify = '/connect/client_secrets/verify'
await call(apiKey, 'POST', '/connect/applications', { body: m2mApplication, headers: { 'Idempotency-Key': 'app' } })

const CREATE = 'POST /connect/applications'
const LIST = 'GET /connect/applications'
const GET = 'GET /connect/applications/:id'
const PUT = 'PUT /connect/applications/:id'
const DELETE = 'DELETE /connect/applications/:id'
const CREATE_SECRET = 'POST /connect/applications/:id/client_secrets'
const LIST_SECRETS = 'GET /connect/applications/:id/client_secrets'
const REVOKE = 'DELETE /connect/client_secrets/:id'
const REVOKE_ALL = 'DELETE /connect/applications/:id/client_secrets'
const ROTATE = 'POST /connect/applications/:id/client_secrets/rotate'
const GET_SECRET = 'GET /connect/client_secrets/:id'
const FIND_SECRETS = 'GET /connect/client_secrets'
const UPDATE_SECRET = 'PATCH /connect/client_secrets/:id'
const EVENTS = 'GET /events'
const VERIFY = 'POST /connect/client_secrets/verify'

const cases: Case[] = [
  { route: CREATE, outcome: 201, trips: 1, path: '/connect/applications', request: { body: m2mApplication } },
  {
    route: CREATE,
    outcome: 201,
    trips: 1,
    path: '/connect/applications',
    request: { body: m2mApplication, headers: { 'Idempotency-Key': 'app' } },
  },
  {
    route: CREATE,
    outcome: 422,
    trips: 1,
    path: '/connect/applications',
    request: { body: m2mApplication, headers: { 'Idempotency-Key': 'replayed' } },
  },
  { route: CREATE, outcome: 422, trips: 1, path: '/connect/applications', request: { body: {} } },
  { route: LIST, outcome: 200, trips: 1, path: '/connect/applications' },
  { route: LIST, outcome: 200, trips: 1, path: `/connect/applications?after=${m2m.id}&organization_id=org_1` },
  { route: LIST, outcome: 200, trips: 1, path: '/connect/applications?registration_types=dynamic' },
  { route: LIST, outcome: 422, trips: 1, path: '/connect/applications?limit=0' },
  { route: LIST, outcome: 422, trips: 1, path: '/connect/applications?after=unknown' },
  { route: GET, outcome: 200, trips: 1, path: `/connect/applications/${m2m.client_id}` },
  { route: GET, outcome: 404, trips: 1, path: '/connect/applications/unknown' },
  { route: PUT, outcome: 200, trips: 1, path: `/connect/applications/${m2m.id}`, request: { body: { name: 'x' } } },
  { route: PUT, outcome: 404, trips: 1, path: '/connect/applications/unknown', request: { body: { name: 'x' } } },
  { route: PUT, outcome: 422, trips: 1, path: `/connect/applications/${m2m.id}`, request: { body: { name: '' } } },
  {
    route: PUT,
    outcome: 422,
    trips: 1,
    path: `/connect/applications/${m2m.id}`,
    request: { body: { redirect_uris: [{ uri: 'https://example.com/' }] } },
  },
  { route: CREATE_SECRET, outcome: 201, trips: 1, path: secretsOf(m2m.id) },
  {
    route: CREATE_SECRET,
    outcome: 201,
    trips: 1,
    path: secretsOf(m2m.id),
    request: { headers: { 'Idempotency-Key': 'replayed' } },
  },
  {
    route: CREATE_SECRET,
    outcome: 422,
    trips: 1,
    path: secretsOf(m2m.client_id),
    request: { headers: { 'Idempotency-Key': 'replayed' } },
  },
  {
    route: CREATE_SECRET,
    outcome: 422,
    trips: 1,
    path: secretsOf(m2m.id),
    request: { headers: { 'Idempotency-Key': 'revoked' } },
  },
  {
    route: CREATE_SECRET,
    outcome: 422,
    trips: 1,
    path: secretsOf(m2m.id),
    request: { headers: { 'Idempotency-Key': 'with space' } },
  },
  { route: CREATE_SECRET, outcome: 422, trips: 1, path: secretsOf(full.id) },
  { route: CREATE_SECRET, outcome: 404, trips: 1, path: secretsOf('unknown') },
  {
    route: CREATE_SECRET,
    outcome: 415,
    trips: 1,
    path: secretsOf(m2m.id),
    request: { body: {}, headers: { 'Content-Type': 'text/plain' } },
  },
  { route: CREATE_SECRET, outcome: 413, trips: 1, path: secretsOf(m2m.id), request: { body: 'x'.repeat(70_000) } },
  { route: LIST_SECRETS, outcome: 200, trips: 1, path: secretsOf(m2m.id) },
  { route: LIST_SECRETS, outcome: 404, trips: 1, path: secretsOf('unknown') },
  { route: REVOKE, outcome: 204, trips: 1, path: `/connect/client_secrets/${await secret(m2m.id)}` },
  { route: REVOKE, outcome: 204, trips: 1, path: `/connect/client_secrets/${revoked}` },
  { route: REVOKE, outcome: 404, trips: 1, path: '/connect/client_secrets/unknown' },
  { route: ROTATE, outcome: 201, trips: 1, path: `${secretsOf(rotated.id)}/rotate` },
  {
    route: ROTATE,
    outcome: 201,
    trips: 1,
    path: `${secretsOf(rotated.id)}/rotate`,
    request: { headers: { 'Idempotency-Key': 'rotate' } },
  },
  {
    route: ROTATE,
    outcome: 201,
    trips: 1,
    path: `${secretsOf(rotated.id)}/rotate`,
    request: { headers: { 'Idempotency-Key': 'rotate' } },
  },
  {
    route: ROTATE,
    outcome: 422,
    trips: 1,
    path: `${secretsOf(rotated.id)}/rotate`,
    request: { body: { grace_period_seconds: -1 } },
  },
  { route: ROTATE, outcome: 404, trips: 1, path: `${secretsOf('unknown')}/rotate` },
  { route: GET_SECRET, outcome: 200, trips: 1, path: `/connect/client_secrets/${kept}` },
  { route: GET_SECRET, outcome: 404, trips: 1, path: `/connect/client_secrets/${revoked}` },
  { route: FIND_SECRETS, outcome: 200, trips: 1, path: '/connect/client_secrets?hint=abc123' },
  { route: FIND_SECRETS, outcome: 422, trips: 1, path: '/connect/client_secrets' },
  {
    route: UPDATE_SECRET,
    outcome: 200,
    trips: 1,
    path: `/connect/client_secrets/${kept}`,
    request: { body: { disabled: true } },
  },
  { route: UPDATE_SECRET, outcome: 200, trips: 1, path: `/connect/client_secrets/${kept}`, request: { body: {} } },
  { route: UPDATE_SECRET, outcome: 404, trips: 1, path: `/connect/client_secrets/${revoked}`, request: { body: {} } },
  {
    route: UPDATE_SECRET,
    outcome: 422,
    trips: 1,
    path: `/connect/client_secrets/${kept}`,
    request: { body: { expires_at: '2001-01-01T00:00:00Z' } },
  },
  { route: VERIFY, outcome: 200, trips: 1, path: verify, request: { body: { client_secret: plaintext } } },
  { route: VERIFY, outcome: 200, trips: 1, path: verify, request: { body: { client_secret: clientSecret } } },
  { route: VERIFY, outcome: 200, trips: 1, path: verify, request: { body: { client_secret: 'garbage' } } },
  { route: VERIFY, outcome: 422, trips: 1, path: verify, request: { body: {} } },
  {
    route: EVENTS,
    outcome: 200,
    trips: 1,
    path: '/events?events=connect_application.created&range_start=2026-01-01T00:00:00Z',
  },
  { route: EVENTS, outcome: 200, trips: 1, path: '/events?order=desc&organization_id=org_1' },
  { route: EVENTS, outcome: 422, trips: 1, path: '/events?after=unknown' },
  { route: EVENTS, outcome: 200, trips: 1, path: '/events?events=user.created' },
  { route: REVOKE_ALL, outcome: 204, trips: 1, path: secretsOf(full.id) },
  { route: REVOKE_ALL, outcome: 404, trips: 1, path: secretsOf('unknown') },
  { route: DELETE, outcome: 204, trips: 1, path: `/connect/applications/${(await newApplication(apiKey)).id}` },
  { route: DELETE, outcome: 404, trips: 1, path: '/connect/applications/unknown' },
]

const routes = app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)
const guarded = [...new Set(routes)].filter((route) => / \/(connect\/|events$)/.test(route))

test('every guarded route is in the table', () => {
  expect([...new Set(cases.map(({ route }) => route))].sort()).toEqual([...guarded].sort())
})

test.each(cases)(
  '$route → $outcome asks storage $trips times: $path',
  async ({ route, outcome, trips, path, request }) => {
    const counter = counted(env.DB)
    const [method = ''] = route.split(' ')
    let blocking: number | undefined
    const onAnswer = () => {
      blocking = counter.trips
    }
    const reply = await call(apiKey, method, path, { ...request, bindings: { DB: counter.database }, onAnswer })
    expect(reply.status, reply.text).toBe(outcome)
    expect(blocking).toBe(trips)
  },
)

describe.each(guarded)('%s', (route) => {
  const [method = '', path = ''] = route.split(' ')
  const isWrite = method !== 'GET' && route !== VERIFY

  test.each([
    ['without a key', '', 401, 0],
    ['with a misspelt key', `${unknownKey.slice(0, -1)}!`, 401, 0],
    ['with a key whose checksum is wrong', unknownKey.replace(/.$/, (last) => (last === '0' ? '1' : '0')), 401, 0],
    ['with a client secret for a key', clientSecret, 401, 0],
    ['with a key of a region that is not there', elsewhereKey, 401, 0],
    ['with an unknown key', unknownKey, 401, 1],
    ['with a key that may only read', reader.apiKey, isWrite ? 403 : 'as asked', 1],
  ])('%s', async (_, key, status, trips) => {
    const counter = counted(env.DB)
    let blocking: number | undefined
    const onAnswer = () => {
      blocking = counter.trips
    }
    const bindings = { DB: counter.database }
    const reply = await call(key, method, path.replace(':id', m2m.id), { bindings, onAnswer })
    if (status === 'as asked') expect([200, 404, 422]).toContain(reply.status)
    else expect(reply.status, reply.text).toBe(status)
    expect(blocking).toBe(trips)
  })
})

test.each([
  ['GET', '/nowhere', 404],
  ['GET', '/connect/nowhere', 404],
  ['PATCH', '/connect/applications', 405],
  ['PUT', '/connect/client_secrets/secret_x', 405],
  ['GET', '/oauth2/token', 405],
  ['OPTIONS', '/connect/applications', 405],
])('%s %s is %i without asking storage, key or no key', async (method, path, status) => {
  const counter = counted(env.DB)
  const request = new Request(`https://oncekey.test${path}`, { method })
  expect((await send(request, { DB: counter.database })).status).toBe(status)
  expect((await call(apiKey, method, path, { bindings: { DB: counter.database } })).status).toBe(status)
  expect(counter.trips).toBe(0)
})

test('no statement scans a table', async () => {
  const counter = counted(env.DB)
  for (const { route, path, request } of cases) {
    const [method = ''] = route.split(' ')
    await call(apiKey, method, path, { ...request, bindings: { DB: counter.database } })
  }
  expect(await scansOf(env.DB, counter.sql)).toEqual([])
})
