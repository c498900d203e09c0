import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { call, newApiKey, newApplication, send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { LEFT_OUT, ROUTES, type Route } from '../fuzz/routes.ts'

const { apiKey } = await newApiKey()
const application = await newApplication(apiKey)

/** Every path that is there for programs. */
const routes = app.routes.filter(({ method }) => method !== 'ALL')
const served = [...new Set(routes.map(({ path }) => path))].filter((path) => /^\/(connect|events|oauth2)/.test(path))
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'QUERY']

/** The methods of a path, by every pattern that it matches. */
function methodsOf(path: string): string[] {
  const matched = routes.filter((route) => new RegExp(`^${route.path.replace(':id', '[^/]+')}$`).test(path))
  const methods = new Set(matched.map(({ method }) => method))
  return [...methods, ...(methods.has('GET') ? ['HEAD'] : [])].sort()
}

/** Calls with no key of its own, and tells whether storage was asked. */
async function callKeyless(method: string, path: string, headers: Record<string, string> = {}) {
  const counter = counted(env.DB)
  const reply = await send(new Request(`https://oncekey.test${path}`, { method, headers }), { DB: counter.database })
  return { ...reply, trips: counter.trips }
}

describe('an unknown route gets 404 for every caller, without a D1 request', () => {
  test.each([
    '/connect',
    '/connect/',
    '/connect/application',
    '/connect/nothing',
    '/applications',
    '/v1/connect/applications',
    '/x/connect/applications',
    '//connect/applications',
    '/connect//applications',
    '/connect/applications/',
    '/connect/applications//client_secrets',
    '//connect/applications/{id}/client_secrets',
    '/connect//applications/{id}/client_secrets',
    '/connect/applications/{id}/',
    '/connect/applications/{id}/client_secrets/',
    '/connect/applications/{id}//client_secrets',
    '/connect/applications/{id}/client_secret',
    '/connect/applications/{id}/client_secrets;x=1',
    '/connect/applications/{id}/client_secrets/x/y',
    '/connect/applications/{id}/nothing',
    '/connect/applications;x=1',
    '/connect/applications.json',
    '/connect/applications%2f',
    '/connect%2fapplications',
    '/%2fconnect/applications',
    '/connect\\\\applications',
    '/connect/applications%20',
    '/connect/applications%00',
    '/connect/applications%3Flimit=1',
    '/connect/client_secrets/',
    '/connect/client_secrets/x/y',
    '/Connect/applications',
    '/CONNECT/APPLICATIONS',
    '/connect/Applications',
    '/connect/applications/{id}/CLIENT_SECRETS',
    '/connect/CLIENT_SECRETS/x',
    '/.env',
    '/.git/config',
    '/cdn-cgi',
  ])('an unknown route gets 404 for every caller, without a D1 request: %s', async (path) => {
    await expectUnknown(path.replace('{id}', application.id))
  })

  test('a path that is longer than every route gets 404, without a D1 request', async () => {
    await expectUnknown(`/${'a'.repeat(20_000)}`)
    await expectUnknown(`/${'a/'.repeat(8000)}`)
    await expectUnknown(`/connect/applications/${'a/'.repeat(8000)}`)
  })

  async function expectUnknown(path: string): Promise<void> {
    for (const [method, authorization] of [
      ['GET', `Bearer ${apiKey}`],
      ['POST', ''],
      ['DELETE', `Bearer ${apiKey}`],
      ['OPTIONS', ''],
    ] as const) {
      const reply = await callKeyless(method, path, { Authorization: authorization })
      expect(reply.status, `${method} ${reply.text}`).toBe(404)
      expect(reply.json).toEqual({
        message: 'This route does not exist. The API reference is at /docs.',
        code: 'not_found',
      })
      expect(reply.trips).toBe(0)
    }
  }
})

describe('a method that a route does not support gets 405 with the supported methods, without a D1 request', () => {
  test('the Worker serves the routes of the WorkOS API for applications and their client secrets', () => {
    const routes = served.flatMap((path) => methodsOf(path).map((method) => `${method} ${path}`))
    expect(routes).toEqual(
      expect.arrayContaining([
        'POST /connect/applications',
        'GET /connect/applications',
        'GET /connect/applications/:id',
        'PUT /connect/applications/:id',
        'DELETE /connect/applications/:id',
        'POST /connect/applications/:id/client_secrets',
        'GET /connect/applications/:id/client_secrets',
        'DELETE /connect/client_secrets/:id',
      ]),
    )
  })

  test.each(served)('a method that the route does not support gets 405: %s', async (pattern) => {
    const path = pattern.replace(':id', application.id)
    // A public document answers OPTIONS: see headers.test.ts.
    const others = path === '/oauth2/jwks' ? METHODS.filter((method) => method !== 'OPTIONS') : METHODS
    const refused = others.filter((method) => !methodsOf(path).includes(method))
    expect(refused.length).toBeGreaterThan(3)
    for (const method of refused) {
      const reply = await callKeyless(method, path)
      expect(reply.status, method).toBe(405)
      expect(reply.headers.get('Allow')?.split(', ').sort(), method).toEqual(methodsOf(path))
      if (method !== 'HEAD')
        expect(reply.json.code ?? reply.json.error).toMatch(/^(method_not_allowed|invalid_request)$/)
      expect(reply.trips).toBe(0)
    }
  })

  test('TRACE does not return the request', async () => {
    const { text } = await callKeyless('TRACE', '/connect/applications?q=canary', {
      Authorization: 'canary',
      Cookie: 'canary',
    })
    expect(text).not.toContain('canary')
  })

  test('an unknown object gets 404, not 405', async () => {
    const { status, json } = await call(apiKey, 'GET', '/connect/applications/unknown')
    expect([status, json.code]).toEqual([404, 'entity_not_found'])
  })
})

describe('only the request line determines the method', () => {
  test.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', '_method'])(
    'a GET with the header “%s: DELETE” deletes nothing (CWE-650)',
    async (header) => {
      const path = `/connect/applications/${application.id}`
      const { status } = await call(apiKey, 'GET', `${path}?_method=DELETE`, { headers: { [header]: 'DELETE' } })
      expect(status).toBe(200)
      expect((await call(apiKey, 'GET', path)).status).toBe(200)
    },
  )

  test('HEAD returns what GET returns, without the body', async () => {
    for (const path of [
      '/connect/applications',
      `/connect/applications/${application.id}`,
      '/connect/applications/unknown',
    ]) {
      const [get, head] = [await call(apiKey, 'GET', path), await call(apiKey, 'HEAD', path)]
      expect(head.status).toBe(get.status)
      expect(head.text).toBe('')
      expect(head.headers.get('Content-Type')).toBe('application/json')
    }
  })
})

describe('a path that is normalized to a route needs the authorization of that route (CWE-22)', () => {
  test.each([
    '/x/../connect/applications',
    '/x/%2e%2e/connect/applications',
    '/x/y/%2E%2E/../connect/applications',
    '/./connect/./applications',
    '/connect/applications/x/..\\..\\applications',
    '/connect\\applications',
    '/connect/%61pplications',
    '/connect/applic%61tions',
    '/connect/applications?',
    '/connect/applications#x',
  ])('a path that is normalized to a route needs the authorization of that route (CWE-22): %s', async (path) => {
    expect((await callKeyless('GET', path)).status).toBe(401)
    expect((await call(apiKey, 'GET', path)).json.object).toBe('list')
  })
})

describe('the request ID', () => {
  const idFor = async (given?: string) => {
    const reply = await call(apiKey, 'GET', '/connect/applications', {
      headers: given === undefined ? {} : { 'X-Request-ID': given },
    })
    return reply.headers.get('X-Request-ID')
  }

  test('each response has a new request ID', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => idFor()))
    expect(new Set(ids).size).toBe(20)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  test.each(['a', '6d9e0f6a-0d5b-4c3e-8b1a-3f1f6f0c0a11', '', 'a b', '<script>', '%0d%0a', 'x'.repeat(300)])(
    'the request ID is never the one that the caller sent, so that no caller chooses the IDs in events: %s',
    async (given) => expect(await idFor(given)).toMatch(/^[0-9a-f-]{36}$/),
  )

  test('the log entry also has the caller’s X-Request-ID, unless it is malformed or may be a credential', async () => {
    const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
    const sent = ['nightly-42', 'a.b:c=d_e', 'a b', 'x'.repeat(51), '{}', apiKey, apiKey.slice(0, 45)]
    const ids = []
    for (const given of sent) ids.push(await idFor(given))
    const entries = logged.mock.calls.map(([entry]) => entry)
    expect(entries.map((entry) => entry.request_id)).toEqual(ids)
    expect(entries.map((entry) => entry.client_request_id)).toEqual(['nightly-42', 'a.b:c=d_e', ...Array(5)])
    logged.mockRestore()
  })

  test.each([
    ['an unknown route', 'GET', '/nothing'],
    ['a wrong method', 'PATCH', '/connect/applications'],
    ['no key', 'GET', '/connect/applications'],
  ])('the response to a refused request has a request ID: %s', async (_, method, path) => {
    const { headers } = await callKeyless(method, path, { 'X-Request-ID': 'mine' })
    expect(headers.get('X-Request-ID')).toMatch(/^[0-9a-f-]{36}$/)
  })
})

/** Sends a request as it is; what every response must have, `send` checks. */
const get = (headers: [string, string][]) =>
  send(
    new Request('https://oncekey.test/connect/applications/unknown', {
      headers: [['Authorization', `Bearer ${apiKey}`], ...headers],
    }),
  )

describe('every response is JSON, is not cached, and is not readable by other origins', () => {
  test.each([
    'text/html',
    '*/*;q=0',
    'application/xml',
    'image/*',
    '',
    'application/json;q=0, text/html',
    'x'.repeat(100),
  ])('a response is JSON whatever Accept says: %s', async (accept) => {
    const reply = await get([['Accept', accept]])
    expect(reply.status).toBe(404)
    expect(reply.headers.get('Content-Type')).toBe('application/json')
    expect(reply.json.code).toBe('entity_not_found')
  })

  test.each([
    'https://evil.example',
    'null',
    'https://oncekey.test',
    'https://x.oncekey.test',
    'http://localhost:3000',
  ])('pages of the origin %s can’t read responses of the management API', async (origin) => {
    for (const reply of [
      await get([['Origin', origin]]),
      await callKeyless('OPTIONS', '/connect/applications', { Origin: origin }),
    ]) {
      const names = [...reply.headers.keys()]
      expect(names.filter((name) => name.startsWith('access-control-'))).toEqual([])
    }
  })

  test.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf'])(
    'a header named %s does not change the prototype of objects (CWE-1321)',
    async (name) => {
      expect((await get([[name, 'x']])).status).toBe(404)
      expect(Object.hasOwn(Object.prototype, 'x')).toBe(false)
    },
  )

  test('a caller never gets the response of another caller at the same URL', async () => {
    const other = await newApiKey()
    const url = '/connect/applications?limit=100'
    expect((await call(apiKey, 'GET', url)).json.data).toHaveLength(1)
    expect((await call(other.apiKey, 'GET', url)).json.data).toEqual([])
    expect(await caches.default.match(`https://oncekey.test${url}`)).toBeUndefined()
  })
})

test('the fuzzer’s list of routes is complete', () => {
  const shape = ([method, path]: Route) => `${method} ${path.replace(/\{\w+\}|:\w+/g, '…')}`
  const served = app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => shape([method, path]))
  expect([...new Set(served)].sort()).toEqual([...new Set([...ROUTES, ...LEFT_OUT].map(shape))].sort())
})
