import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { cleanUp } from '../../src/storage/cleanup.ts'
import { call, newApiKey, newApplication, operatorDatabase } from '../api.ts'
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
  return { ...key, visitor, reply, credential: visitor.cookie.split('=')[1] ?? '' }
}

/** As if the session had rested for so long. */
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
  test('is a cookie of this host, out of reach of scripts and of other sites', async () => {
    const { reply, credential } = await signedIn()
    expect(reply.headers.get('Location')).toBe('/dashboard')
    expect(reply.headers.get('Set-Cookie')).toBe(
      `__Host-session=${credential}; Path=/; HttpOnly; Secure; SameSite=Strict`,
    )
    expect(credential).toMatch(/^session_0[0-9A-Za-z]{49}$/)
    expect(reply.trips).toBe(1)
  })

  test('is kept as a digest', async () => {
    const { credential } = await signedIn()
    const { results } = await env.DB.prepare('SELECT * FROM sessions').all()
    expect(JSON.stringify(results)).not.toContain(credential)
    expect(await lastUse(credential)).toBeGreaterThan(0)
  })

  test.each([
    ['nothing', '', 0],
    ['no key', 'hello', 0],
    ['a key with a letter wrong', `sk_0${'1'.repeat(49)}`, 0],
    ['a client secret', clientSecret, 0],
    ['a session', unknownSession, 0],
    ['a key of a region that is not there', keyElsewhere, 0],
    ['a key that nobody has', unknownKey, 1],
    ['far too much', 'sk_'.repeat(10_000), 0],
  ])('is not begun with %s', async (_, apiKey, trips) => {
    const visitor = new Visitor()
    const reply = await visitor.post('/dashboard/sign-in', { api_key: apiKey })
    expect(reply.status).toBe(422)
    expect(visitor.cookie).toBe('')
    expect(reply.trips).toBe(trips)
    if (apiKey) expect(reply.html).not.toContain(apiKey)
    expect(reply.html).toContain('aria-describedby="api_key-help api_key-error"')
  })

  test('is not begun with a revoked key', async () => {
    const { id, apiKey } = await newApiKey()
    await env.DB.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(id).run()
    expect((await new Visitor().post('/dashboard/sign-in', { api_key: apiKey })).status).toBe(422)
  })

  test.each([
    ['/dashboard/events', '/dashboard/events'],
    ['https://evil.example/', '/dashboard'],
    ['//evil.example/dashboard', '/dashboard'],
    ['/dashboard/../connect', '/dashboard'],
    ['/dashboard/sign-out?x', '/dashboard'],
  ])('leads on to a page of the dashboard alone: %s', async (to, location) => {
    const { apiKey } = await newApiKey()
    const reply = await new Visitor().post('/dashboard/sign-in', { api_key: apiKey, to })
    expect(reply.headers.get('Location')).toBe(location)
  })

  test('ends after 30 minutes of rest, and not before', async () => {
    const { visitor, credential } = await signedIn()
    await rest(credential, 29 * MINUTE_MS)
    expect((await visitor.get('/dashboard')).status).toBe(200)
    await rest(credential, 31 * MINUTE_MS)
    const reply = await visitor.get('/dashboard/events')
    expect(reply.status).toBe(303)
    expect(reply.headers.get('Location')).toBe('/dashboard/sign-in?ended=&to=%2Fdashboard%2Fevents')
    expect(visitor.cookie).toBe('')
    // Being asked for has not brought it back.
    visitor.cookie = `__Host-session=${credential}`
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('goes on while it is used', async () => {
    const { visitor, credential } = await signedIn()
    for (const _ of ['half an hour', 'almost an hour']) {
      await rest(credential, 29 * MINUTE_MS)
      expect((await visitor.get('/dashboard')).status).toBe(200)
    }
  })

  test('notes its use once a minute, along with the page', async () => {
    const { visitor, credential } = await signedIn()
    await rest(credential, 5 * MINUTE_MS)
    const before = await lastUse(credential)
    const reply = await visitor.get('/dashboard')
    expect(reply.trips).toBe(1)
    expect(await lastUse(credential)).toBeGreaterThan(before)
  })

  test('ends at sign-out', async () => {
    const { visitor, credential } = await signedIn()
    const reply = await visitor.post('/dashboard/sign-out')
    expect(reply.headers.get('Location')).toBe('/dashboard/sign-in?out')
    expect(visitor.cookie).toBe('')
    visitor.cookie = `__Host-session=${credential}`
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('of a key that may only read can be ended, too', async () => {
    const { visitor } = await signedIn({ access: 'read' })
    expect((await visitor.post('/dashboard/sign-out')).headers.get('Location')).toBe('/dashboard/sign-in?out')
  })

  test('ends with its key, and others do not', async () => {
    const { visitor, id, environmentId } = await signedIn()
    const other = await signedIn({ environmentId })
    const reply = await other.visitor.post(`/dashboard/keys/${id}/revoke`)
    expect(reply.headers.get('Location')).toBe('/dashboard/keys?notice=key-revoked')
    expect((await visitor.get('/dashboard')).status).toBe(303)
    expect((await other.visitor.get('/dashboard')).status).toBe(200)
  })

  test('can be ended by another of its environment', async () => {
    const { visitor, environmentId, credential } = await signedIn()
    const other = await signedIn({ environmentId })
    const id = await env.DB.prepare('SELECT id FROM sessions WHERE digest = ?')
      .bind(await sha256(credential))
      .first<string>('id')
    expect((await other.visitor.get('/dashboard/keys')).html).toContain(`/dashboard/sessions/${id}/end`)
    await other.visitor.post(`/dashboard/sessions/${id}/end`)
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('is forgotten a day after its last use', async () => {
    const { credential } = await signedIn()
    const now = Date.now()
    const house = (at: number) => cleanUp(operatorDatabase(env.DB), at, 365)
    await house(now + 24 * 60 * MINUTE_MS - MINUTE_MS)
    expect(await lastUse(credential)).toBeGreaterThan(0)
    await house(now + 24 * 60 * MINUTE_MS + MINUTE_MS)
    expect(await lastUse(credential)).toBe(0)
  })

  test('costs nothing to refuse where it cannot be one', async () => {
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

  test('opens no call of the API, by its cookie or as a key (matrix 45)', async () => {
    const { visitor, credential } = await signedIn()
    expect((await call(credential, 'GET', '/connect/applications')).status).toBe(401)
    const headers = { Authorization: '', Cookie: visitor.cookie }
    expect((await call('', 'GET', '/connect/applications', { headers })).status).toBe(401)
    expect((await call('', 'GET', '/events', { headers })).status).toBe(401)
  })

  test('is not opened by an API key in its cookie', async () => {
    const { apiKey } = await newApiKey()
    const visitor = new Visitor()
    visitor.cookie = `__Host-session=${apiKey}`
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })
})

describe('a form', () => {
  const form = 'application/x-www-form-urlencoded'
  const refused: [string, Record<string, string>][] = [
    ['from another site', { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site', 'Content-Type': form }],
    ['from another site that hides', { Origin: 'null', 'Sec-Fetch-Site': 'cross-site', 'Content-Type': form }],
    ['from a sibling', { Origin: 'https://x.oncekey.test', 'Sec-Fetch-Site': 'same-site', 'Content-Type': form }],
    ['from nowhere', { 'Content-Type': form }],
    ['from nowhere, whatever it says of its site', { 'Sec-Fetch-Site': 'same-origin', 'Content-Type': form }],
    ['that contradicts itself', { Origin: ORIGIN, 'Sec-Fetch-Site': 'cross-site', 'Content-Type': form }],
    ['from an origin that is hidden, in an old browser', { Origin: 'null', 'Content-Type': form }],
    ['over http', { Origin: 'http://oncekey.test', 'Content-Type': form }],
    ['as text', { Origin: ORIGIN, 'Content-Type': 'text/plain' }],
    ['as text, from elsewhere', { Origin: 'https://evil.example', 'Content-Type': 'text/plain' }],
    ['as JSON', { Origin: ORIGIN, 'Content-Type': 'application/json' }],
    ['as JSON, from elsewhere', { Origin: 'https://evil.example', 'Content-Type': 'application/json' }],
    ['in parts', { Origin: ORIGIN, 'Content-Type': 'multipart/form-data; boundary=x' }],
    ['of no type', { Origin: ORIGIN, 'Content-Type': '' }],
  ]
  const paths = [
    ...new Set(
      app.routes
        .filter(({ method, path }) => method === 'POST' && path.startsWith('/dashboard'))
        .map(({ path }) => path),
    ),
  ]

  test.each(refused)('%s is 403, and asks nobody (matrix 224)', async (_, headers) => {
    const { visitor, apiKey } = await signedIn()
    const { id } = await newApplication(apiKey)
    for (const path of paths) {
      const request = new Request(ORIGIN + path.replace(':id', id), {
        method: 'POST',
        headers: { ...headers, Cookie: visitor.cookie },
        body: 'name=x',
      })
      const reply = await visit(request)
      expect([path, reply.status, reply.trips]).toEqual([path, 403, 0])
    }
  })

  test.each([
    ['of a browser that names the origin', { Origin: ORIGIN, 'Sec-Fetch-Site': 'same-origin' }],
    ['of an older one', { Origin: ORIGIN, 'Sec-Fetch-Site': '' }],
    ['of one that keeps no-referrer’s promise', { Origin: 'null', 'Sec-Fetch-Site': 'same-origin' }],
  ])('%s is taken', async (_, headers) => {
    const { visitor } = await signedIn()
    const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''))
    const request = new Request(`${ORIGIN}/dashboard/sign-out`, {
      method: 'POST',
      headers: { ...given, Cookie: visitor.cookie, 'Content-Type': form },
      redirect: 'manual',
    })
    expect((await visit(request)).status).toBe(303)
  })

  test('that is too large is refused', async () => {
    const { visitor } = await signedIn()
    const reply = await visitor.post('/dashboard/applications/new', { name: 'x'.repeat(70_000) })
    expect(reply.status).toBe(413)
  })
})
