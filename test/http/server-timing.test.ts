import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey, newApplication, newLimitedApiKey, send } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'
import { secretsOf } from '../requests.ts'

const { apiKey, environmentId } = await newApiKey()
const reader = await newApiKey({ access: 'read', environmentId })
const application = await newApplication(apiKey)
const { id: secretId, secret } = (await call(apiKey, 'POST', secretsOf(application.id))).json

const post = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
  send(new Request(`https://oncekey.test${path}`, { method: 'POST', body: new URLSearchParams(form), headers }))
const token = (client_secret: string, grant_type = 'client_credentials') =>
  post('/oauth2/token', { client_id: application.client_id, client_secret, grant_type })
const get = (path: string, headers: Record<string, string> = {}) =>
  send(new Request(`https://oncekey.test${path}`, { headers }))
const timingOf = ({ headers }: { headers: Headers }) => headers.get('Server-Timing')

describe('Server-Timing', () => {
  test('Server-Timing has the total time and the time of the database, in milliseconds', async () => {
    const DB = withBatch(env.DB, async (real, statements) => {
      const results = await real(statements)
      await new Promise((resolve) => setTimeout(resolve, 20))
      return results
    })
    const timing = timingOf(await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })) ?? ''
    const [total, db] = /^total;dur=(\d+), db;dur=(\d+)$/.exec(timing)?.slice(1).map(Number) ?? []
    expect(db).toBeGreaterThanOrEqual(19)
    expect(total).toBeGreaterThanOrEqual(db ?? Infinity)
  })

  test.each([
    ['a list', 200, () => call(apiKey, 'GET', '/events')],
    ['a create', 201, () => call(apiKey, 'POST', '/connect/applications', { body: m2mApplication })],
    ['a call of a read-only key', 403, () => call(reader.apiKey, 'DELETE', `/connect/client_secrets/${secretId}`)],
    ['an unknown object', 404, () => call(apiKey, 'GET', '/connect/client_secrets/secret_unknown')],
    ['an invalid parameter', 422, () => call(apiKey, 'POST', '/connect/applications', { body: {} })],
    ['a token', 200, () => token(secret)],
    ['an unknown grant type', 400, () => token(secret, 'password')],
    [
      'introspection',
      200,
      () => post('/oauth2/introspection', { client_id: application.client_id, client_secret: secret, token: 'x' }),
    ],
  ])('Server-Timing is on the response to %s, because the caller is authenticated: %i', async (_, status, request) => {
    const reply = await request()
    expect([reply.status, timingOf(reply)]).toEqual([status, expect.stringMatching(/^total;dur=\d+, db;dur=\d+$/)])
  })

  test.each([
    ['an unknown API key', 401, async () => call((await issueCredential('sk', '0')).plaintext, 'GET', '/events')],
    ['a malformed API key', 401, () => call('sk_0malformed', 'GET', '/events')],
    ['an API key over its limit', 429, async () => call(await newLimitedApiKey(), 'GET', '/events')],
    ['an unknown secret', 401, async () => token((await issueCredential('cs', '0')).plaintext)],
    ['a malformed secret', 401, () => token('cs_0malformed')],
    ['a request for the server metadata', 200, () => get('/.well-known/oauth-authorization-server')],
    ['a request for the public keys', 200, () => get('/oauth2/jwks')],
    ['a request for /healthz', 200, () => get('/healthz')],
    ['an unknown route', 404, () => get('/nothing', { Authorization: `Bearer ${apiKey}` })],
  ])('Server-Timing is not on the response to %s: %i', async (_, status, request) => {
    const reply = await request()
    expect([reply.status, timingOf(reply)]).toEqual([status, null])
  })

  test('Server-Timing is not on a 503, because the caller is not authenticated', async () => {
    const DB = withBatch(env.DB, () => Promise.reject(new Error('D1_ERROR: D1 DB is overloaded.')))
    const reply = await call(apiKey, 'GET', '/events', { bindings: { DB } })
    expect([reply.status, timingOf(reply)]).toEqual([503, null])
  })
})
