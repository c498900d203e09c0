import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { cleanUp } from '../../src/storage/cleanup.ts'
import { call, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { ORIGIN, Visitor, visit } from './pages.ts'

const MINUTE_MS = 60_000

const made = async (prefix: string, region = '0') => (await issueCredential(prefix, region)).plaintext
const [clientSecret, unknownSession, keyElsewhere, unknownKey, sessionElsewhere] = await Promise.all([
  made('cs'),
  made('session'),
  made('sk', '1'),
  made('sk'),
  made('session', '1'),
])

async function signedIn(options: Parameters<typeof newApiKey>[0] = {}) {
  const key = await newApiKey(options)
  const visitor = new Visitor()
  const reply = await visitor.signIn(key.apiKey)
  return { ...key, visitor, reply, credential: visitor.session }
}

/** Makes a session look as if it had been inactive for this long. */
async function rest(credential: string, milliseconds: number) {
  await env.DB.prepare('UPDATE sessions SET last_used_at = last_used_at - ? WHERE digest = ?')
    .bind(milliseconds, await sha256(credential))
    .run()
}

const lastUse = async (credential: string) =>
  (
    await env.DB.prepare('SELECT last_used_at FROM sessions WHERE digest = ?')
      .bind(await sha256(credential))
      .first<{
        last_used_at: number
      }>()
  )?.last_used_at ?? 0

describe('a session', () => {
  test('the session cookie is sent to this host only, and scripts cannot read it', async () => {
    const { reply, visitor, credential } = await signedIn()
    const location = reply.headers.get('Location') ?? ''
    expect((await visitor.get(location)).headers.get('Location')).toBe('/dashboard')
    expect(reply.headers.getSetCookie()).toEqual([
      `__Host-session=${credential}; Path=/; HttpOnly; Secure; SameSite=Lax`,
    ])
    expect(credential).toMatch(/^session_0[0-9A-Za-z]{49}$/)
    expect(reply.trips).toBe(1)
  })

  /** Sends requests to a Worker that is served at an origin. */
  function servedAt(origin: string) {
    const context = createExecutionContext()
    const send = (path: string, init: RequestInit) =>
      app.fetch(new Request(origin + path, { redirect: 'manual', ...init }), { ...env, ISSUER: '' }, context)
    const post = (path: string, { cookie = '', ...fields }: Record<string, string>) => {
      const headers = { Origin: origin, 'Sec-Fetch-Site': 'same-origin', Cookie: cookie }
      return send(path, { method: 'POST', headers, body: new URLSearchParams(fields) })
    }
    return { send, post, end: () => waitOnExecutionContext(context) }
  }

  test('on loopback, the session cookie has no prefix, because Safari drops Secure cookies over http', async () => {
    const { apiKey } = await newApiKey()
    const { send, post, end } = servedAt('http://127.0.0.1:8787')
    const signedIn = await post('/dashboard/sign-in', { api_key: apiKey })
    const [cookie = ''] = signedIn.headers.getSetCookie()
    expect(cookie).toMatch(/^oncekey-session=session_\w+; Path=\/; HttpOnly; SameSite=Lax$/)
    const sent = cookie.split(';')[0] ?? ''
    const page = await send('/dashboard', { headers: { Cookie: sent } })
    expect(page.status).toBe(200)
    // Elsewhere the cookie without a prefix is ignored, because another host of the domain can set it.
    const visitor = new Visitor()
    visitor.cookies.set('oncekey-session', sent.slice('oncekey-session='.length))
    expect((await visitor.get('/dashboard')).status).toBe(303)
    const signedOut = await post('/dashboard/sign-out', { cookie: sent })
    expect(signedOut.headers.getSetCookie()).toEqual(['oncekey-session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax'])
    await end()
  })

  test.each([
    ['http://localhost', 'oncekey-session'],
    ['http://localhost:8787', 'oncekey-session'],
    ['http://127.0.0.1:8787', 'oncekey-session'],
    ['http://[::1]:8787', 'oncekey-session'],
    ['http://localhost.example', '__Host-session'],
    ['http://127.0.0.1.example', '__Host-session'],
    ['https://localhost', '__Host-session'],
    ['https://oncekey.test', '__Host-session'],
  ])('a Worker at %s sets the session cookie %s', async (origin, name) => {
    const { apiKey } = await newApiKey()
    const { post, end } = servedAt(origin)
    const { headers } = await post('/dashboard/sign-in', { api_key: apiKey })
    expect(headers.getSetCookie().map((cookie) => cookie.split('=')[0])).toEqual([name])
    await end()
  })

  test('a session is stored as a digest', async () => {
    const { credential } = await signedIn()
    const { results } = await env.DB.prepare('SELECT * FROM sessions').all()
    expect(JSON.stringify(results)).not.toContain(credential)
    for (const { id } of results) expect(id).toMatch(/^session_/)
    expect(await lastUse(credential)).toBeGreaterThan(0)
  })

  test.each([
    ['an empty field', '', 0],
    ['another word', 'hello', 0],
    ['a key with a wrong letter', `sk_0${'1'.repeat(49)}`, 0],
    ['a client secret', clientSecret, 0],
    ['a session', unknownSession, 0],
    ['a key of an unknown region', keyElsewhere, 0],
    ['an unknown key', unknownKey, 1],
    ['a very long text', 'sk_'.repeat(10_000), 0],
  ])('sign-in with %s starts no session', async (_, apiKey, trips) => {
    const visitor = new Visitor()
    const reply = await visitor.post('/dashboard/sign-in', { api_key: apiKey })
    expect(reply.status).toBe(422)
    expect(visitor.session).toBe('')
    expect(reply.trips).toBe(trips)
    if (apiKey) expect(reply.html).not.toContain(apiKey)
    expect(reply.html).toContain('aria-describedby="api_key-help api_key-error"')
    expect(reply.html).toContain(`have ${unknownKey.length} characters`)
  })

  test('a key without permission to read applications gets 403 at sign-in, and starts no session', async () => {
    const { apiKey } = await newApiKey({ access: 'read', permissions: ['secrets:verify'] })
    const visitor = new Visitor()
    expect((await visitor.post('/dashboard/sign-in', { api_key: apiKey })).status).toBe(403)
    expect(visitor.session).toBe('')
  })

  test('a form that was opened in another environment gets 409 in place of the page that confirms a change', async () => {
    const { visitor, apiKey } = await signedIn()
    const { id } = await newApplication(apiKey)
    const { json } = await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    const select = () => visitor.post('/dashboard/secrets/bulk', { action: 'revoke', secret: json.id })
    expect((await select()).status).toBe(200)
    visitor.environment = (await newApiKey()).environmentId
    expect((await select()).status).toBe(409)
  })

  test('a session of a read-only key sees no links to changes, and gets 403 from the pages that start a change', async () => {
    const key = await signedIn()
    const { id } = await newApplication(key.apiKey)
    const { json } = await call(key.apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    const reader = await signedIn({ environmentId: key.environmentId, access: 'read' })
    for (const [{ visitor }, isOffered, status] of [
      [key, true, 200],
      [reader, false, 403],
    ] as const) {
      const { html } = await visitor.get('/dashboard/applications')
      expect(html.includes('href="/dashboard/applications/new"')).toBe(isOffered)
      expect((await visitor.get(`/dashboard/keys/${key.id}/revoke`)).status).toBe(status)
      expect((await visitor.post('/dashboard/secrets/bulk', { action: 'revoke', secret: json.id })).status).toBe(status)
    }
  })

  test('sign-in with a revoked key starts no session', async () => {
    const { id, apiKey } = await newApiKey()
    await env.DB.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(id).run()
    expect((await new Visitor().post('/dashboard/sign-in', { api_key: apiKey })).status).toBe(422)
  })

  test.each([
    ['/dashboard/events', '/dashboard/events'],
    [
      '/dashboard/applications/conn_app_01HXYZK8N5V3Q2W1R0T9M8P7J6/edit',
      '/dashboard/applications/conn_app_01HXYZK8N5V3Q2W1R0T9M8P7J6/edit',
    ],
    ['https://evil.example/', '/dashboard'],
    ['//evil.example/dashboard', '/dashboard'],
    ['/dashboard/../connect', '/dashboard'],
    ['/dashboard/sign-out?x', '/dashboard'],
    [`/dashboard/${clientSecret}`, '/dashboard'],
    [`/dashboard/applications/${unknownKey}/edit`, '/dashboard'],
  ])('sign-in redirects only to a page of the dashboard: %s', async (to, location) => {
    const { apiKey } = await newApiKey()
    const visitor = new Visitor()
    const reply = await visitor.post('/dashboard/sign-in', { api_key: apiKey, to })
    const next = await visitor.get(reply.headers.get('Location') ?? '')
    expect([next.trips, next.headers.get('Location')]).toEqual([0, location])
  })

  test('if the browser does not keep the session cookie, a page says so', async () => {
    const { apiKey } = await newApiKey()
    const reply = await new Visitor().post('/dashboard/sign-in', { api_key: apiKey })
    const next = await new Visitor().get(reply.headers.get('Location') ?? '')
    expect([next.status, next.trips]).toEqual([200, 0])
    expect(next.html).toContain('Your browser did not keep the session cookie.')
  })

  test('the sign-in page tells a visitor with a session that they are already signed in', async () => {
    const { visitor } = await signedIn()
    expect((await visitor.get('/dashboard/sign-in')).html).toContain('You are already signed in.')
    expect((await new Visitor().get('/dashboard/sign-in')).html).not.toContain('class="notice')
  })

  test('a session ends after 30 minutes of inactivity, and not before', async () => {
    const { visitor, credential } = await signedIn()
    await rest(credential, 29 * MINUTE_MS)
    expect((await visitor.get('/dashboard')).status).toBe(200)
    await rest(credential, 31 * MINUTE_MS)
    const reply = await visitor.get('/dashboard/events')
    expect(reply.status).toBe(303)
    expect(reply.headers.get('Location')).toBe('/dashboard/sign-in?ended=&to=%2Fdashboard%2Fevents')
    expect(visitor.session).toBe('')
    // A request does not revive it.
    visitor.session = credential
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('a session continues while it is used', async () => {
    const { visitor, credential } = await signedIn()
    for (const _ of ['half an hour', 'almost an hour']) {
      await rest(credential, 29 * MINUTE_MS)
      expect((await visitor.get('/dashboard')).status).toBe(200)
    }
  })

  test('a session ends after 12 hours, however much it is used', async () => {
    const { visitor, credential } = await signedIn()
    const age = async (milliseconds: number) =>
      env.DB.prepare('UPDATE sessions SET created_at = created_at - ? WHERE digest = ?')
        .bind(milliseconds, await sha256(credential))
        .run()
    await age(12 * 60 * MINUTE_MS - MINUTE_MS)
    expect((await visitor.get('/dashboard')).status).toBe(200)
    await age(2 * MINUTE_MS)
    expect((await visitor.get('/dashboard')).headers.get('Location')).toBe('/dashboard/sign-in?ended=')
  })

  test('a session ends when its browser signs in again', async () => {
    const { visitor, credential, apiKey } = await signedIn()
    await visitor.post('/dashboard/sign-in', { api_key: apiKey })
    expect(visitor.session).not.toBe(credential)
    expect((await visitor.get('/dashboard')).status).toBe(200)
    const before = new Visitor()
    before.session = credential
    expect((await before.get('/dashboard')).status).toBe(303)
  })

  test('a sign-in that replaces a session makes one D1 request in all, including any after the response', async () => {
    const { visitor, apiKey } = await signedIn()
    const counter = counted(env.DB)
    visitor.bindings = { DB: counter.database }
    expect((await visitor.post('/dashboard/sign-in', { api_key: apiKey })).status).toBe(303)
    expect(counter.trips).toBe(1)
  })

  test.each([
    ['nothing', ''],
    ['another word', 'hello'],
    ['an API key', unknownKey],
    ['a session of an unknown region', sessionElsewhere],
    ['an unknown session', unknownSession],
  ])('a browser whose session cookie is %s can sign in', async (_, credential) => {
    const { apiKey } = await newApiKey()
    const visitor = new Visitor()
    visitor.session = credential
    expect((await visitor.post('/dashboard/sign-in', { api_key: apiKey })).status).toBe(303)
    expect((await visitor.get('/dashboard')).status).toBe(200)
  })

  test('a session ends when the same API key signs in ten more times', async () => {
    const { visitor, apiKey } = await signedIn()
    const later: Visitor[] = []
    for (let i = 0; i < 10; i++) {
      const next = new Visitor()
      await next.signIn(apiKey)
      later.push(next)
    }
    expect((await visitor.get('/dashboard')).status).toBe(303)
    for (const next of later) expect((await next.get('/dashboard')).status).toBe(200)
  })

  test('a session stores its last use in the same D1 request as the page', async () => {
    const { visitor, credential } = await signedIn()
    await rest(credential, 5 * MINUTE_MS)
    const before = await lastUse(credential)
    const reply = await visitor.get('/dashboard')
    expect(reply.trips).toBe(1)
    expect(await lastUse(credential)).toBeGreaterThan(before)
  })

  test('a session ends at sign-out', async () => {
    const { visitor, credential } = await signedIn()
    const reply = await visitor.post('/dashboard/sign-out')
    expect(reply.headers.get('Location')).toBe('/dashboard/sign-in?out')
    expect(reply.headers.get('Clear-Site-Data')).toBe('"cache", "storage"')
    expect(visitor.session).toBe('')
    visitor.session = credential
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('a refused request that lacks the session cookie does not delete the cookie', async () => {
    for (const path of ['/dashboard', '/dashboard/applications/x', '/dashboard/nothing']) {
      expect((await new Visitor().get(path, { 'Sec-Fetch-Site': 'cross-site' })).headers.getSetCookie()).toEqual([])
    }
    const { headers } = await new Visitor().post('/dashboard/sign-out')
    expect([headers.getSetCookie(), headers.get('Location')]).toEqual([[], '/dashboard/sign-in'])
  })

  test('a link on another site opens a page in the existing session', async () => {
    const { visitor } = await signedIn()
    expect((await visitor.get('/dashboard/events', { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(200)
  })

  test('a session of a read-only key can sign out', async () => {
    const { visitor } = await signedIn({ access: 'read' })
    expect((await visitor.post('/dashboard/sign-out')).headers.get('Location')).toBe('/dashboard/sign-in?out')
  })

  test('a session ends when its key is revoked, and sessions of other keys do not', async () => {
    const { visitor, id, environmentId } = await signedIn()
    const other = await signedIn({ environmentId })
    const reply = await other.visitor.post(`/dashboard/keys/${id}/revoke`)
    expect(reply.headers.get('Location')).toBe('/dashboard/keys')
    expect((await visitor.get('/dashboard')).status).toBe(303)
    expect((await other.visitor.get('/dashboard')).status).toBe(200)
  })

  test('a session can be ended by another session of its environment', async () => {
    const { visitor, environmentId, credential } = await signedIn()
    const other = await signedIn({ environmentId })
    const id = await env.DB.prepare('SELECT id FROM sessions WHERE digest = ?')
      .bind(await sha256(credential))
      .first<string>('id')
    expect((await other.visitor.get('/dashboard/keys')).html).toContain(`/dashboard/sessions/${id}/end`)
    await other.visitor.post(`/dashboard/sessions/${id}/end`)
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('a session is deleted a day after its last use', async () => {
    const { credential } = await signedIn()
    const now = Date.now()
    const house = (at: number) => cleanUp(operatorDatabase(env.DB), at, 365)
    await house(now + 24 * 60 * MINUTE_MS - MINUTE_MS)
    expect(await lastUse(credential)).toBeGreaterThan(0)
    await house(now + 24 * 60 * MINUTE_MS + MINUTE_MS)
    expect(await lastUse(credential)).toBe(0)
  })

  test('a malformed session cookie is refused without a D1 request', async () => {
    const { apiKey } = await newApiKey()
    for (const credential of ['', 'x', apiKey, sessionElsewhere, 'x'.repeat(9000)]) {
      const request = new Request(`${ORIGIN}/dashboard`, { headers: { Cookie: `__Host-session=${credential}` } })
      const reply = await visit(request)
      expect(reply.status).toBe(303)
      expect(reply.trips).toBe(0)
    }
    const reply = await visit(
      new Request(`${ORIGIN}/dashboard`, { headers: { Cookie: `__Host-session=${unknownSession}` } }),
    )
    expect([reply.status, reply.trips]).toEqual([303, 1])
  })

  test('a session authenticates no call of the API, whether it is sent as a cookie or as an API key', async () => {
    const { credential } = await signedIn()
    expect((await call(credential, 'GET', '/connect/applications')).status).toBe(401)
    const headers = { Authorization: '', Cookie: `__Host-session=${credential}` }
    expect((await call('', 'GET', '/connect/applications', { headers })).status).toBe(401)
    expect((await call('', 'GET', '/events', { headers })).status).toBe(401)
  })

  test('an API key in the session cookie starts no session', async () => {
    const { apiKey } = await newApiKey()
    const visitor = new Visitor()
    visitor.session = apiKey
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })
})

describe('a form', () => {
  const form = 'application/x-www-form-urlencoded'
  const refused: [string, Record<string, string>][] = [
    ['from another site', { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site', 'Content-Type': form }],
    [
      'from another site that hides its origin',
      { Origin: 'null', 'Sec-Fetch-Site': 'cross-site', 'Content-Type': form },
    ],
    ['from a sibling host', { Origin: 'https://x.oncekey.test', 'Sec-Fetch-Site': 'same-site', 'Content-Type': form }],
    ['without an origin', { 'Content-Type': form }],
    ['without an origin, whatever its Sec-Fetch-Site', { 'Sec-Fetch-Site': 'same-origin', 'Content-Type': form }],
    ['whose headers contradict each other', { Origin: ORIGIN, 'Sec-Fetch-Site': 'cross-site', 'Content-Type': form }],
    ['from a hidden origin in an old browser', { Origin: 'null', 'Content-Type': form }],
    ['over http', { Origin: 'http://oncekey.test', 'Content-Type': form }],
    ['as text', { Origin: ORIGIN, 'Content-Type': 'text/plain' }],
    ['as text, from another site', { Origin: 'https://evil.example', 'Content-Type': 'text/plain' }],
    ['as JSON', { Origin: ORIGIN, 'Content-Type': 'application/json' }],
    ['as JSON, from another site', { Origin: 'https://evil.example', 'Content-Type': 'application/json' }],
    ['as multipart', { Origin: ORIGIN, 'Content-Type': 'multipart/form-data; boundary=x' }],
    ['without a media type', { Origin: ORIGIN, 'Content-Type': '' }],
  ]
  const paths = [
    ...new Set(
      app.routes
        .filter(({ method, path }) => method === 'POST' && path.startsWith('/dashboard'))
        .map(({ path }) => path),
    ),
  ]

  test.each(refused)('a form %s is refused without a D1 request', async (_, headers) => {
    const { visitor, apiKey } = await signedIn()
    const { id } = await newApplication(apiKey)
    for (const path of paths) {
      const request = new Request(ORIGIN + path.replace(':id', id), {
        method: 'POST',
        headers: { ...headers, Cookie: `__Host-session=${visitor.session}` },
        body: 'name=x',
      })
      const reply = await visit(request)
      expect([path, reply.status, reply.trips]).toEqual([path, 403, 0])
    }
  })

  test.each([
    ['of a browser that names the origin', { Origin: ORIGIN, 'Sec-Fetch-Site': 'same-origin' }],
    ['of an older browser', { Origin: ORIGIN, 'Sec-Fetch-Site': '' }],
    ['of a browser that hides the origin under no-referrer', { Origin: 'null', 'Sec-Fetch-Site': 'same-origin' }],
  ])('a form %s is accepted', async (_, headers) => {
    const { visitor } = await signedIn()
    const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''))
    const request = new Request(`${ORIGIN}/dashboard/sign-out`, {
      method: 'POST',
      headers: { ...given, Cookie: `__Host-session=${visitor.session}`, 'Content-Type': form },
      redirect: 'manual',
    })
    expect((await visit(request)).status).toBe(303)
  })
})
