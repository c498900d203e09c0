import { env } from 'cloudflare:workers'
import { decodeJwt } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { basic, getToken, introspect, newClient, post, requestToken, unlimited, without } from './client.ts'

const client = await newClient()
const { clientId, secret } = client
const authorization = { Authorization: basic(clientId, secret) }
const GRANT = 'grant_type=client_credentials'
const POSTED = ['/oauth2/token', '/oauth2/introspection']
const DOCUMENTS = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']
const PUBLIC = [...DOCUMENTS, '/oauth2/jwks', `/sso/jwks/${clientId}`]

afterEach(() => vi.restoreAllMocks())

const get = (path: string, bindings: Partial<Env> = {}, headers: Record<string, string> = {}) =>
  send(new Request(`https://oncekey.test${path}`, { headers }), { ...unlimited, ...bindings })

/** Everything that is logged while `task` runs. */
async function logOf(task: () => Promise<unknown>): Promise<string> {
  const spies = (['log', 'info', 'warn', 'error', 'debug'] as const).map((method) => vi.spyOn(console, method))
  await task()
  return JSON.stringify(spies.flatMap(({ mock }) => mock.calls))
}

describe('the OAuth endpoints', () => {
  const query = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: secret,
    token: 'x',
  })

  test.each(
    POSTED.flatMap((path) => ['GET', 'HEAD', 'TRACE', 'PUT', 'DELETE', 'OPTIONS'].map((method) => [method, path])),
  )(
    'the OAuth endpoints answer %s %s with 405, even with credentials in query and headers (RFC 6749 §3.2, RFC 7662 §2.1)',
    async (method, path) => {
      const counter = counted(env.DB)
      let text = ''
      const log = await logOf(async () => {
        const request = new Request(`https://oncekey.test${path}?${query}`, { method, headers: authorization })
        const reply = await send(request, { DB: counter.database })
        text = reply.text
        expect([reply.status, reply.headers.get('Allow')]).toEqual([405, 'POST'])
        if (method !== 'HEAD') expect(reply.json.error).toBe('invalid_request')
      })
      expect(counter.trips).toBe(0)
      expect(log).toContain('"status":405')
      for (const leak of [secret, authorization.Authorization.slice(6)]) expect(text + log).not.toContain(leak)
    },
  )

  test.each(PUBLIC)('the OAuth endpoints answer POST %s with 405', async (path) => {
    const { status, headers, json } = await post(path, '')
    expect([status, headers.get('Allow'), json.error]).toEqual([405, 'GET, HEAD', 'invalid_request'])
  })

  test.each([
    '/oauth2/',
    '/oauth2/token/',
    '/oauth2/Token',
    '/oauth2/token;x=1',
    '//oauth2/token',
    '/oauth2//token',
    '/oauth2/revoke',
    '/oauth2/authorize',
    '/.well-known/nothing',
  ])('the OAuth endpoints answer POST %s with 404', async (path) =>
    expect((await post(path, GRANT, { headers: authorization })).status).toBe(404),
  )

  test('a path that is normalized to that of an OAuth endpoint needs the same authentication as the endpoint', async () => {
    for (const path of ['/x/../oauth2/token', '/x/%2e%2e/oauth2/token', '/oauth2/%74oken']) {
      expect((await post(path, GRANT)).status).toBe(401)
      expect((await post(path, GRANT, { headers: authorization })).status).toBe(200)
    }
  })

  test.each(['text/html', '*/*;q=0', 'application/jwt', 'application/token-introspection+jwt', ''])(
    'the OAuth endpoints answer with JSON, whatever Accept says: %s',
    async (accept) => {
      const headers = { Accept: accept }
      expect((await requestToken(client, {}, { headers })).status).toBe(200)
      expect((await post('/oauth2/token', GRANT, { headers })).json.error).toBe('invalid_client')
      expect((await get(DOCUMENTS[0] ?? '', {}, headers)).json.issuer).toBe('https://oncekey.test')
    },
  )

  test.each(['https://evil.example', 'null', 'https://oncekey.test'])(
    "pages of the origin %s can't read responses of the OAuth endpoints",
    async (origin) => {
      for (const reply of [
        await requestToken(client, {}, { headers: { Origin: origin } }),
        await introspect(client, 'x'),
      ])
        expect([...reply.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([])
    },
  )
})

test('the log of the OAuth endpoints has no credential, no token and no part of a token', async () => {
  const token = await getToken(client)
  const log = await logOf(async () => {
    await requestToken(client)
    await post('/oauth2/token', { grant_type: 'client_credentials', client_id: clientId, client_secret: secret })
    await post('/oauth2/token', { grant_type: secret, client_id: clientId, client_secret: secret })
    await requestToken(client, { scope: secret })
    await requestToken({ ...client, clientId: secret })
    await introspect(client, token)
    await introspect(client, `${token}x`)
    await post(`/oauth2/${secret}`, GRANT)
    await requestToken(client, {}, { bindings: without('SIGNING_KEY') })
  })
  expect(log).toContain('/oauth2/token')
  const [header = '', payload = '', signature = ''] = token.split('.')
  for (const leak of [secret, secret.slice(-20), btoa(secret), authorization.Authorization, header, payload, signature])
    expect(log).not.toContain(leak)
})

describe('the issuer is always the setting ISSUER (RFC 8414 §3.3)', () => {
  test.each([
    ['https://evil.example', {}],
    ['https://oncekey.test', { Host: 'evil.example' }],
    ['https://oncekey.test', { Forwarded: 'host=evil.example;proto=http' }],
    [
      'https://oncekey.test',
      { 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'http', 'X-Forwarded-Port': '81' },
    ],
    ['https://oncekey.test', { 'X-Original-URL': 'https://evil.example/', 'X-Host': 'evil.example' }],
    ['https://oncekey.test:8443', {}],
  ])('the issuer is the setting ISSUER even for a request to %s with the headers %j', async (origin, headers) => {
    expect(decodeJwt(await getToken(client, { origin, headers })).iss).toBe('https://oncekey.test')
    for (const path of PUBLIC) {
      const { status, text } = await send(new Request(`${origin}${path}`, { headers }))
      expect(status).toBe(200)
      expect(text).not.toMatch(/evil|http:|8443/)
    }
    expect((await introspect(client, await getToken(client), { origin, headers })).json.active).toBe(true)
  })
})

const METADATA = {
  issuer: 'https://oncekey.test',
  token_endpoint: 'https://oncekey.test/oauth2/token',
  token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  introspection_endpoint: 'https://oncekey.test/oauth2/introspection',
  introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  jwks_uri: 'https://oncekey.test/oauth2/jwks',
  grant_types_supported: ['client_credentials'],
  response_types_supported: ['none'],
}

describe('public documents', () => {
  test('the server metadata describes the endpoints of the Worker (RFC 8414 §2)', async () => {
    const { status, json } = await get('/.well-known/oauth-authorization-server')
    expect([status, json]).toEqual([200, METADATA])
  })

  test('the OpenID configuration has the members that OpenID Connect Discovery §3 requires, except the authorization endpoint', async () => {
    const { status, json } = await get('/.well-known/openid-configuration')
    const openId = { subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['RS256'] }
    expect([status, json]).toEqual([200, { ...METADATA, ...openId }])
  })

  test('the OpenID configuration lists RS256 and the algorithms of all published keys (OpenID Connect Discovery §3)', async () => {
    const { d: _, ...next } = await newSigningKey('RS256')
    const SIGNING_KEY = JSON.stringify(await newSigningKey('ES256'))
    const algorithms = async (bindings: Partial<Env>) =>
      (await get('/.well-known/openid-configuration', bindings)).json.id_token_signing_alg_values_supported
    expect(await algorithms({ SIGNING_KEY })).toEqual(['RS256', 'ES256'])
    expect(await algorithms({ SIGNING_KEY, PUBLISHED_KEYS: JSON.stringify({ keys: [next] }) })).toEqual([
      'RS256',
      'ES256',
    ])
  })

  test.each(DOCUMENTS)('%s has no empty array (RFC 8414 §3.2)', async (path) => {
    const { json } = await get(path)
    expect(Object.entries(json).filter(([, value]) => Array.isArray(value) && value.length === 0)).toEqual([])
  })

  test('/sso/jwks/{client_id}, which WorkOS SDKs request, has the public keys for any client ID', async () => {
    const { text } = await get('/oauth2/jwks')
    for (const id of [clientId, 'client_x', 'unknown', secret, '%2F'])
      expect((await get(`/sso/jwks/${id}`)).text).toBe(text)
    for (const path of ['/sso/jwks', '/sso/jwks/', `/sso/jwks/${clientId}/x`, '/sso/authorize'])
      expect((await get(path)).status).toBe(404)
  })

  test.each(PUBLIC)('caches may keep %s for five minutes, and may not keep its errors', async (path) => {
    expect((await get(path)).headers.get('Cache-Control')).toBe('public, max-age=300')
    const failed = await get(path, without('ISSUER', 'SIGNING_KEY'))
    expect([failed.status, failed.headers.get('Cache-Control')]).toEqual([500, 'no-store'])
  })

  test.each(PUBLIC)('%s makes no D1 request', async (path) => {
    const counter = counted(env.DB)
    await get(path, { DB: counter.database })
    expect(counter.trips).toBe(0)
  })
})

describe('an invalid setting causes 500 server_error, and the log says how to correct the setting', async () => {
  const token = await getToken(client)
  const key = await newSigningKey('RS256')
  const { d: _, ...publicKey } = key
  const { kid: __, ...nameless } = key
  const secretKey = { kty: 'oct', k: 'c2VjcmV0', kid: 'a', alg: 'HS256', d: 'x' }

  test.each<[string, Partial<Env>]>([
    ['no ISSUER', without('ISSUER')],
    ['an empty ISSUER', { ISSUER: '' }],
    ['an ISSUER with a trailing slash', { ISSUER: 'https://oncekey.test/' }],
    ['an ISSUER with a path', { ISSUER: 'https://oncekey.test/a' }],
    ['an ISSUER without a scheme', { ISSUER: 'oncekey.test' }],
    ['no SIGNING_KEY', without('SIGNING_KEY')],
    ['an empty SIGNING_KEY', { SIGNING_KEY: '' }],
    ['a SIGNING_KEY that is not JSON', { SIGNING_KEY: `x${key.d}` }],
    ['a SIGNING_KEY that is a list', { SIGNING_KEY: JSON.stringify([key]) }],
    ['a public SIGNING_KEY', { SIGNING_KEY: JSON.stringify(publicKey) }],
    ['a SIGNING_KEY without kid', { SIGNING_KEY: JSON.stringify(nameless) }],
    ['a SIGNING_KEY for another algorithm', { SIGNING_KEY: JSON.stringify({ ...key, alg: 'PS256' }) }],
    ['a symmetric SIGNING_KEY', { SIGNING_KEY: JSON.stringify(secretKey) }],
    ['PUBLISHED_KEYS that are not JSON', { PUBLISHED_KEYS: 'x' }],
    ['PUBLISHED_KEYS that are a list', { PUBLISHED_KEYS: '[]' }],
    ['symmetric PUBLISHED_KEYS', { PUBLISHED_KEYS: JSON.stringify({ keys: [secretKey] }) }],
  ])(
    'an invalid setting causes 500 server_error, and the log says how to correct the setting: %s',
    async (_, bindings) => {
      for (const ask of [() => requestToken(client, {}, { bindings }), () => introspect(client, token, { bindings })]) {
        let text = ''
        const log = await logOf(async () => {
          const reply = await ask()
          text = reply.text
          expect([reply.status, reply.json.error]).toEqual([500, 'server_error'])
        })
        expect(log).toMatch(/npm run|wrangler\.toml/)
        expect(text).not.toMatch(/npm run|ISSUER|KEY/)
        expect(text + log).not.toContain(key.d?.slice(0, 20))
      }
    },
  )
})
