import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { m2mApplication, newApiKey, send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'

const { apiKey } = await newApiKey()
const get = (path: string, headers: Record<string, string> = {}) =>
  send(new Request(`https://oncekey.test${path}`, { headers, redirect: 'manual' }))

describe('the security headers', () => {
  test.each([
    ['a successful request', '/connect/applications', { Authorization: `Bearer ${apiKey}` }],
    ['a refused request', '/connect/applications', {}],
    ['an unknown route', '/nothing', {}],
    ['an unknown OAuth route', '/oauth2/nothing', {}],
    ['/healthz', '/healthz', {}],
  ])(
    'the response to %s has HSTS for a year, and headers against framing, active content and browser features',
    async (_, path, headers) => {
      const reply = await get(path, headers as Record<string, string>)
      expect(Object.fromEntries(reply.headers)).toMatchObject({
        'strict-transport-security': 'max-age=31536000; includeSubDomains',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'permissions-policy': expect.stringContaining('camera=()'),
        'cross-origin-resource-policy': 'same-origin',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      })
    },
  )

  test.each(['/', '/docs', '/dashboard/sign-in'])(
    'the page %s may load its own styles, and has the other security headers',
    async (path) => {
      const { headers } = await app.request(`https://oncekey.test${path}`, {}, env)
      expect(headers.get('Content-Security-Policy')).toMatch(/default-src 'none';.* frame-ancestors 'none'/)
      expect(headers.get('Content-Security-Policy')).toContain('style-src')
      expect(headers.get('Strict-Transport-Security')).toBe('max-age=31536000; includeSubDomains')
      expect(headers.get('Permissions-Policy')).toContain('camera=()')
      expect(headers.get('X-Frame-Options')).toBe('DENY')
    },
  )
})

describe('a public document', () => {
  const PUBLIC = [
    '/oauth2/jwks',
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
    '/openapi.json',
    '/docs.md',
    '/llms.txt',
  ]
  const Origin = 'https://console.example'

  test.each(PUBLIC)('pages of any origin may read %s, and caches keep it for five minutes', async (path) => {
    for (const headers of [{}, { Origin }]) {
      const reply = await get(path, headers as Record<string, string>)
      expect(reply.status).toBe(200)
      expect(Object.fromEntries(reply.headers)).toMatchObject({
        'access-control-allow-origin': '*',
        'cross-origin-resource-policy': 'cross-origin',
        'cache-control': 'public, max-age=300',
      })
      expect(reply.headers.has('Access-Control-Allow-Credentials')).toBe(false)
    }
  })

  test.each(PUBLIC)('%s answers a CORS preflight', async (path) => {
    const headers = { Origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'x-custom' }
    const response = await app.request(`https://oncekey.test${path}`, { method: 'OPTIONS', headers }, env)
    expect([response.status, response.headers.get('Access-Control-Allow-Origin')]).toEqual([204, '*'])
    expect(response.headers.get('Access-Control-Allow-Methods')).toBe('GET,HEAD')
    expect(response.headers.get('Access-Control-Allow-Headers')).toBe('x-custom')
  })

  test.each(['/connect/applications', '/events', '/oauth2/token', '/oauth2/introspection', '/healthz'])(
    "pages of other origins can't read responses of %s",
    async (path) => {
      const reply = await get(path, { Origin })
      expect([...reply.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([])
      expect(reply.headers.get('Cross-Origin-Resource-Policy')).toBe('same-origin')
    },
  )
})

describe('plain http requests', async () => {
  const { plaintext } = await issueCredential('cs', '0')
  const byHttp = (path: string, init: RequestInit = {}, bindings: Partial<Env> = {}) => {
    const request = new Request(`http://oncekey.test${path}`, { redirect: 'manual', ...init })
    return app.request(request, {}, { ...env, ...bindings })
  }

  test.each<[string, RequestInit]>([
    ['/connect/applications', { headers: { Authorization: `Bearer ${apiKey}` } }],
    [
      '/connect/applications',
      { method: 'POST', headers: { Authorization: `Bearer ${apiKey}` }, body: JSON.stringify(m2mApplication) },
    ],
    ['/events', { headers: { Authorization: `Bearer ${apiKey}` } }],
    ['/nothing', {}],
    ['/readyz', {}],
    ['/dashboard/sign-in', { method: 'POST', body: new URLSearchParams({ api_key: apiKey }) }],
  ])('a plain http request to %s gets 403 without a D1 request', async (path, init) => {
    const counter = counted(env.DB)
    const response = await byHttp(path, init, { DB: counter.database })
    expect([response.status, counter.trips]).toEqual([403, 0])
    if (!path.startsWith('/dashboard')) expect(await response.json()).toMatchObject({ code: 'https_required' })
  })

  test.each(['/oauth2/token', '/oauth2/introspection', '/oauth2/jwks'])(
    'a plain http request to %s gets 403 in the OAuth error format',
    async (path) => {
      const response = await byHttp(path, { method: 'POST', body: new URLSearchParams({ client_secret: plaintext }) })
      expect([response.status, await response.json()]).toMatchObject([403, { error: 'invalid_request' }])
    },
  )

  test.each([
    ['/', 'https://oncekey.test/'],
    ['/docs', 'https://oncekey.test/docs'],
    ['/dashboard', 'https://oncekey.test/dashboard'],
    [`/dashboard/applications/${plaintext}?notice=${plaintext}`, 'https://oncekey.test/dashboard'],
    [`/?client_secret=${plaintext}`, 'https://oncekey.test/'],
  ])(
    'a plain http request for the page %s is redirected to https, without credentials from its URL',
    async (path, location) => {
      const response = await byHttp(path)
      expect([response.status, response.headers.get('Location')]).toEqual([308, location])
      expect(response.headers.get('Cache-Control')).toBe('no-store')
    },
  )

  test('a plain http request is served if the issuer is http or empty, as in development', async () => {
    expect((await byHttp('/healthz', {}, { ISSUER: 'http://127.0.0.1:8787' })).status).toBe(200)
    expect((await byHttp('/healthz', {}, { ISSUER: '' })).status).toBe(200)
  })
})

test.each(['evil.example/dashboard', 'a b', 'x?y', 'user@host', 'host:99999', '\\', 'POST /dashboard HTTP/1.1'])(
  'a malformed Host header gets 400, even if it contains a path: %s',
  async (host) => {
    for (const [path, accept] of [
      ['/connect/applications', '*/*'],
      ['/oauth2/token', '*/*'],
      ['/dashboard', 'text/html,application/xhtml+xml'],
      ['/docs', 'text/html,application/xhtml+xml'],
    ] as const) {
      const request = new Request(`https://oncekey.test${path}`, { headers: { Host: host, Accept: accept } })
      // workerd joins both without a check.
      Object.defineProperty(request, 'url', { value: `https://${host}${path}` })
      const response = await app.fetch(request, env, createExecutionContext())
      expect([path, response.status]).toEqual([path, 400])
      expect(await response.text()).toContain('The Host header is malformed.')
    }
  },
)
