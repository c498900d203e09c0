import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { issueCredential } from '../src/credential/credential.ts'
import { type Call, call, m2mApplication, newApiKey, newApplication, type Reply, send } from './api.ts'
import { counted } from './faults/wrapped.ts'
import { basic, getToken, newClient, newSecret, revoke, unlimited } from './oauth/client.ts'
import { scansOf } from './query-plans.ts'
import { secretsOf } from './requests.ts'

/**
 * The cost of every route and outcome: one D1 request before the response, with so many statements and rows written.
 * Another request follows the response only where the table names the rows that it writes. Reads send only SELECTs.
 */
interface Cost {
  /** D1 requests before the response: one by default. */
  readonly trips?: 0 | 1
  readonly statements: number
  readonly written?: number
  readonly behind?: number
}

type Wrapped = Required<Pick<Call, 'bindings' | 'onAnswer'>>

type Case = [route: string, outcome: number, path: string, cost: Cost, request?: Call]

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
const { secret: current } = (await call(apiKey, 'POST', secretsOf((await newApplication(apiKey)).id))).json
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
const GET_ENVIRONMENT = 'GET /connect/environment'
const UPDATE_ENVIRONMENT = 'PATCH /connect/environment'
const EVENTS = 'GET /events'
const VERIFY = 'POST /connect/client_secrets/verify'

const cases: Case[] = [
  [CREATE, 201, '/connect/applications', { statements: 4, written: 10 }, { body: m2mApplication }],
  [
    CREATE,
    201,
    '/connect/applications',
    { statements: 5 },
    { body: m2mApplication, headers: { 'Idempotency-Key': 'app' } },
  ],
  [
    CREATE,
    422,
    '/connect/applications',
    { statements: 5 },
    { body: m2mApplication, headers: { 'Idempotency-Key': 'replayed' } },
  ],
  [CREATE, 422, '/connect/applications', { statements: 1 }, { body: {} }],
  [LIST, 200, '/connect/applications', { statements: 2 }],
  [LIST, 200, `/connect/applications?after=${m2m.id}&organization_id=org_1`, { statements: 4 }],
  [LIST, 200, '/connect/applications?registration_types=dynamic', { statements: 1 }],
  [LIST, 422, '/connect/applications?limit=0', { statements: 1 }],
  [LIST, 422, '/connect/applications?after=unknown', { statements: 4 }],
  [GET, 200, `/connect/applications/${m2m.client_id}`, { statements: 1 }],
  [GET, 404, '/connect/applications/unknown', { statements: 1 }],
  [PUT, 200, `/connect/applications/${m2m.id}`, { statements: 3, written: 6 }, { body: { name: 'x' } }],
  [PUT, 404, '/connect/applications/unknown', { statements: 3 }, { body: { name: 'x' } }],
  [PUT, 422, `/connect/applications/${m2m.id}`, { statements: 1 }, { body: { name: '' } }],
  [
    PUT,
    422,
    `/connect/applications/${m2m.id}`,
    { statements: 3 },
    { body: { redirect_uris: [{ uri: 'https://example.com/' }] } },
  ],
  [CREATE_SECRET, 201, secretsOf(m2m.id), { statements: 3, written: 9 }],
  [
    CREATE_SECRET,
    201,
    secretsOf(m2m.id),
    { statements: 4, written: 0, behind: 6 },
    { headers: { 'Idempotency-Key': 'replayed' } },
  ],
  [CREATE_SECRET, 422, secretsOf(m2m.client_id), { statements: 4 }, { headers: { 'Idempotency-Key': 'replayed' } }],
  [CREATE_SECRET, 422, secretsOf(m2m.id), { statements: 4 }, { headers: { 'Idempotency-Key': 'revoked' } }],
  [CREATE_SECRET, 422, secretsOf(m2m.id), { statements: 1 }, { headers: { 'Idempotency-Key': 'with space' } }],
  [CREATE_SECRET, 422, secretsOf(full.id), { statements: 3 }],
  [CREATE_SECRET, 404, secretsOf('unknown'), { statements: 3 }],
  [CREATE_SECRET, 415, secretsOf(m2m.id), { statements: 1 }, { body: {}, headers: { 'Content-Type': 'text/plain' } }],
  [CREATE_SECRET, 413, secretsOf(m2m.id), { statements: 1 }, { body: 'x'.repeat(70_000) }],
  [LIST_SECRETS, 200, secretsOf(m2m.id), { statements: 2 }],
  [LIST_SECRETS, 404, secretsOf('unknown'), { statements: 2 }],
  [REVOKE, 204, `/connect/client_secrets/${await secret(m2m.id)}`, { statements: 3, written: 8 }],
  [REVOKE, 204, `/connect/client_secrets/${revoked}`, { statements: 3 }],
  [REVOKE, 404, '/connect/client_secrets/unknown', { statements: 3 }],
  [ROTATE, 201, `${secretsOf(rotated.id)}/rotate`, { statements: 4, written: 15 }],
  [
    ROTATE,
    201,
    `${secretsOf(rotated.id)}/rotate`,
    { statements: 5, written: 20 },
    { headers: { 'Idempotency-Key': 'rotate' } },
  ],
  [
    ROTATE,
    201,
    `${secretsOf(rotated.id)}/rotate`,
    { statements: 5, written: 0, behind: 6 },
    { headers: { 'Idempotency-Key': 'rotate' } },
  ],
  [ROTATE, 422, `${secretsOf(rotated.id)}/rotate`, { statements: 1 }, { body: { grace_period_seconds: -1 } }],
  [ROTATE, 404, `${secretsOf('unknown')}/rotate`, { statements: 4 }],
  [GET_SECRET, 200, `/connect/client_secrets/${kept}`, { statements: 1 }],
  [GET_SECRET, 404, `/connect/client_secrets/${revoked}`, { statements: 1 }],
  [FIND_SECRETS, 200, '/connect/client_secrets?hint=abc123', { statements: 2 }],
  [FIND_SECRETS, 422, '/connect/client_secrets?hint=abc', { statements: 1 }],
  [FIND_SECRETS, 200, '/connect/client_secrets', { statements: 2 }],
  [FIND_SECRETS, 200, `/connect/client_secrets?application_id=${m2m.id}&after=${kept}`, { statements: 5 }],
  [
    FIND_SECRETS,
    200,
    `/connect/client_secrets?state=active,revoked&unused_for_days=9&never_expires=true&expires_within_days=9&organization_id=org_1&created_by=x&before=${kept}`,
    { statements: 5 },
  ],
  [FIND_SECRETS, 200, '/connect/client_secrets?hint=abc1&limit=1', { statements: 3 }],
  [FIND_SECRETS, 422, '/connect/client_secrets?after=unknown', { statements: 4 }],
  [UPDATE_SECRET, 200, `/connect/client_secrets/${kept}`, { statements: 3, written: 6 }, { body: { disabled: true } }],
  [UPDATE_SECRET, 200, `/connect/client_secrets/${kept}`, { statements: 3 }, { body: {} }],
  [UPDATE_SECRET, 404, `/connect/client_secrets/${revoked}`, { statements: 3 }, { body: {} }],
  [
    UPDATE_SECRET,
    422,
    `/connect/client_secrets/${kept}`,
    { statements: 1 },
    { body: { expires_at: '2001-01-01T00:00:00Z' } },
  ],
  [VERIFY, 200, verify, { statements: 1, written: 0, behind: 1 }, { body: { client_secret: current } }],
  // A rotation has replaced the secret, and it is about to expire: one event says that it is still in use.
  [VERIFY, 200, verify, { statements: 1, written: 0, behind: 6 }, { body: { client_secret: plaintext } }],
  [VERIFY, 200, verify, { statements: 1 }, { body: { client_secret: clientSecret } }],
  [VERIFY, 200, verify, { statements: 1 }, { body: { client_secret: 'garbage' } }],
  [VERIFY, 422, verify, { statements: 1 }, { body: {} }],
  [GET_ENVIRONMENT, 200, '/connect/environment', { statements: 1 }],
  [
    UPDATE_ENVIRONMENT,
    200,
    '/connect/environment',
    { statements: 3, written: 6 },
    { body: { leak_reaction: 'revoke' } },
  ],
  [UPDATE_ENVIRONMENT, 200, '/connect/environment', { statements: 3 }, { body: {} }],
  [UPDATE_ENVIRONMENT, 422, '/connect/environment', { statements: 1 }, { body: { leak_reaction: '' } }],
  [EVENTS, 200, '/events?events=connect_application.created&range_start=2026-01-01T00:00:00Z', { statements: 2 }],
  [EVENTS, 200, '/events?order=desc&organization_id=org_1', { statements: 2 }],
  [EVENTS, 422, '/events?after=unknown', { statements: 4 }],
  [EVENTS, 200, '/events?events=user.created', { statements: 1 }],
  [REVOKE_ALL, 204, secretsOf(full.id), { statements: 3, written: 20 }],
  [REVOKE_ALL, 404, secretsOf('unknown'), { statements: 3 }],
  [DELETE, 204, `/connect/applications/${(await newApplication(apiKey)).id}`, { statements: 5, written: 8 }],
  [DELETE, 404, '/connect/applications/unknown', { statements: 5 }],
]

const routes = app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)
const guarded = [...new Set(routes)].filter((route) => / \/(connect\/|events$)/.test(route))

test('these tests measure every route that needs an API key', () => {
  expect([...new Set(cases.map(([route]) => route))].sort()).toEqual([...guarded].sort())
})

/** Asserts what `request` costs while `send` sends it. */
async function expectCost(
  { trips = 1, statements, written = 0, behind }: Cost,
  send: (wrapped: Wrapped) => Promise<Reply>,
) {
  const counter = counted(env.DB)
  let before = {}
  const onAnswer = () => {
    before = { trips: counter.trips, statements: counter.statements, written: counter.rowsWritten }
  }
  const reply = await send({ bindings: { DB: counter.database }, onAnswer })
  expect(before, reply.text).toEqual({ trips, statements, written })
  expect([counter.trips - trips, counter.rowsWritten - written]).toEqual(behind === undefined ? [0, 0] : [1, behind])
  return { ...reply, sql: counter.sql }
}

test.each(cases)(
  '%s returns %i with the expected number of D1 requests and statements: %s',
  async (route, outcome, path, cost, request) => {
    const [method = ''] = route.split(' ')
    const { status, text, sql } = await expectCost(cost, (wrapped) =>
      call(apiKey, method, path, { ...request, ...wrapped }),
    )
    expect(status, text).toBe(outcome)
    if (method === 'GET') expect(sql.filter((one) => !/^(SELECT|WITH)\b/.test(one))).toEqual([])
  },
)

describe('the OAuth endpoints', async () => {
  const client = await newClient()
  const dead = await newSecret(client)
  await revoke(dead)
  const token = await getToken(await newClient())
  const grant = { grant_type: 'client_credentials' }
  const id = client.clientId
  const none: Cost = { trips: 0, statements: 0 }

  test.each<[string, number, string, object, string | null, Cost]>([
    [
      'the first token of a minute',
      200,
      '/oauth2/token',
      grant,
      basic(id, client.secret),
      { statements: 1, behind: 1 },
    ],
    ['a further token', 200, '/oauth2/token', grant, basic(id, client.secret), { statements: 1 }],
    [
      'a token for an unknown scope',
      400,
      '/oauth2/token',
      { ...grant, scope: 'x' },
      basic(id, client.secret),
      { statements: 1 },
    ],
    ['an unknown grant', 400, '/oauth2/token', { grant_type: 'x' }, basic(id, client.secret), { statements: 1 }],
    [
      'the first use of a revoked secret',
      401,
      '/oauth2/token',
      grant,
      basic(id, dead.secret),
      { statements: 1, behind: 5 },
    ],
    ['a further use of a revoked secret', 401, '/oauth2/token', grant, basic(id, dead.secret), { statements: 1 }],
    ['an unknown secret', 401, '/oauth2/token', grant, basic(id, clientSecret), { statements: 1 }],
    ['an unknown client', 401, '/oauth2/token', grant, basic('client_x', client.secret), none],
    ['a malformed secret', 401, '/oauth2/token', grant, basic(id, 'cs_0x'), none],
    ['no credentials', 401, '/oauth2/token', grant, null, none],
    ['an active token', 200, '/oauth2/introspection', { token }, basic(id, client.secret), { statements: 1 }],
    ['an unknown token', 200, '/oauth2/introspection', { token: 'x' }, basic(id, client.secret), { statements: 1 }],
    [
      'an unknown client at introspection',
      401,
      '/oauth2/introspection',
      { token },
      basic(id, clientSecret),
      { statements: 1 },
    ],
  ])(
    'the OAuth endpoints answer %s with %i, with the expected number of D1 requests and statements',
    async (_, outcome, path, parameters, authorization, cost) => {
      const headers = {
        'Content-Type': 'application/x-www-form-urlencoded',
        ...(authorization && { Authorization: authorization }),
      }
      const body = new URLSearchParams({ ...parameters }).toString()
      const { status, text } = await expectCost(cost, ({ bindings, onAnswer }) =>
        send(
          new Request(`https://oncekey.test${path}`, { method: 'POST', headers, body }),
          { ...unlimited, ...bindings },
          onAnswer,
        ),
      )
      expect(status, text).toBe(outcome)
    },
  )
})

describe.each(guarded)('%s', (route) => {
  const [method = '', path = ''] = route.split(' ')
  const isWrite = method !== 'GET' && route !== VERIFY

  test.each([
    ['without a key', '', 401, 0],
    ['with a mistyped key', `${unknownKey.slice(0, -1)}!`, 401, 0],
    ['with a key whose checksum is wrong', unknownKey.replace(/.$/, (last) => (last === '0' ? '1' : '0')), 401, 0],
    ['with a client secret instead of a key', clientSecret, 401, 0],
    ['with a key of an unknown region', elsewhereKey, 401, 0],
    ['with an unknown key', unknownKey, 401, 1],
    ['with a read-only API key', reader.apiKey, isWrite ? 403 : 'as asked', 1],
  ])('a call %s has the expected status and number of D1 requests', async (_, key, status, trips) => {
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
])('%s %s returns %i without a D1 request, with and without a key', async (method, path, status) => {
  const counter = counted(env.DB)
  const request = new Request(`https://oncekey.test${path}`, { method })
  expect((await send(request, { DB: counter.database })).status).toBe(status)
  expect((await call(apiKey, method, path, { bindings: { DB: counter.database } })).status).toBe(status)
  expect(counter.trips).toBe(0)
})

test('no statement of a management call scans a table', async () => {
  const counter = counted(env.DB)
  for (const [route, , path, , request] of cases) {
    const [method = ''] = route.split(' ')
    await call(apiKey, method, path, { ...request, bindings: { DB: counter.database } })
  }
  expect(await scansOf(env.DB, counter.sql)).toEqual([])
})
