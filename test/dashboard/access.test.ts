import { env } from 'cloudflare:workers'
import { exportJWK, generateKeyPair } from 'jose'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { EMAIL, ASSERTION_HEADER as HEADER, newTag } from '../access-team.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { countedRegions, newTenant } from '../regions.ts'
import { signInThroughAccess, Team } from './access.ts'
import { Visitor, visit } from './pages.ts'

const MINUTE_MS = 60_000

let team: Team

beforeEach(() => {
  team = new Team()
  vi.spyOn(console, 'error').mockImplementation(() => {})
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const sessionRow = async (credential: string) =>
  env.DB.prepare('SELECT * FROM sessions WHERE digest = ?')
    .bind(await sha256(credential))
    .first<Record<string, unknown>>()

/** Expects that a person cannot sign in, and that neither the page nor the sign-in asked the database. */
async function expectRefused(visitor: Visitor, text: RegExp, status = 422) {
  const page = await visitor.get('/dashboard/sign-in')
  expect([page.status, page.trips]).toEqual([200, 0])
  expect(page.html).not.toContain('Continue as')
  const reply = await signInThroughAccess(visitor)
  expect([reply.status, reply.trips, visitor.session]).toEqual([status, 0, ''])
  expect(reply.html).toMatch(text)
  // The API key remains.
  expect(reply.html).toContain('name="api_key"')
}

describe('a sign-in through Cloudflare Access', () => {
  test('a person with a valid assertion signs in with one button, and gets a session with their email address', async () => {
    const { id, environmentId } = await newApiKey()
    const visitor = await team.visitor(id)
    const page = await visitor.get('/dashboard/sign-in?to=/dashboard/events')
    expect([page.trips, visitor.session]).toEqual([0, ''])
    expect(page.html).toContain(`Continue as <bdi class="name">${EMAIL}</bdi>`)
    expect(page.html).toContain('href="/cdn-cgi/access/logout"')
    const reply = await visitor.submit('/dashboard/sign-in?to=/dashboard/events', { through: 'access' })
    expect([reply.status, reply.trips]).toEqual([303, 1])
    const next = await visitor.get(reply.headers.get('Location') ?? '')
    expect(next.headers.get('Location')).toBe('/dashboard/events')
    const overview = await visitor.get('/dashboard')
    expect(overview.html).toContain(`<bdi class="name">${EMAIL}</bdi> through Cloudflare Access`)
    expect(overview.html).toContain('API key <bdi class="name">test</bdi>')
    expect(await sessionRow(visitor.session)).toMatchObject({
      api_key_id: id,
      environment_id: environmentId,
      session_person: EMAIL,
    })
    expect(team.fetched).toEqual([`${team.domain}/cdn-cgi/access/certs`])
  })

  test('opening the sign-in page starts no session, and does not end the session that the browser has', async () => {
    const key = await newApiKey()
    const visitor = await team.visitor(key.id)
    await visitor.signIn(key.apiKey)
    const before = visitor.session
    await visitor.get('/dashboard/sign-in')
    expect(visitor.session).toBe(before)
    expect((await sessionRow(before))?.ended_at).toBeNull()
  })

  test('a sign-in form that another site sends starts no session', async () => {
    const { id } = await newApiKey()
    const visitor = await team.visitor(id)
    const foreign = { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' }
    const reply = await visitor.post('/dashboard/sign-in', { through: 'access' }, foreign)
    expect([reply.status, reply.trips, visitor.session]).toEqual([403, 0, ''])
  })

  test('an assertion in the cookie of Access is ignored', async () => {
    const { id } = await newApiKey()
    const visitor = new Visitor()
    visitor.bindings = team.settings(id)
    visitor.cookies.set('CF_Authorization', await team.assertion())
    await expectRefused(visitor, /did not come through Cloudflare Access/)
    expect(team.fetched).toEqual([])
  })

  test('an assertion at a host other than the issuer’s is ignored, because Access does not protect other hosts', async () => {
    const { id } = await newApiKey()
    const visitor = await team.visitor(id)
    visitor.bindings = { ...visitor.bindings, ISSUER: 'https://secrets.example.com' }
    await expectRefused(visitor, /did not come through Cloudflare Access/)
  })

  test('without the settings of Cloudflare Access, an assertion is ignored, and no public keys are fetched', async () => {
    const visitor = new Visitor()
    visitor.headers = { [HEADER]: await team.assertion() }
    await expectRefused(visitor, /Invalid or revoked API key/)
    expect(team.fetched).toEqual([])
  })

  test('with the settings of Cloudflare Access, an API key can still sign in, and its session has no person', async () => {
    const key = await newApiKey()
    const visitor = await team.visitor(key.id)
    await visitor.signIn(key.apiKey)
    expect(await sessionRow(visitor.session)).toMatchObject({ session_person: null, session_expires_at: null })
  })

  test('the new session ends the earlier session of the browser, even if the earlier session belongs to another API key', async () => {
    const [own, other] = await Promise.all([newApiKey(), newApiKey()])
    const visitor = await team.visitor(own.id)
    await visitor.signIn(other.apiKey)
    const before = visitor.session
    await signInThroughAccess(visitor)
    expect((await sessionRow(before))?.ended_at).not.toBeNull()
    expect(await sessionRow(visitor.session)).toMatchObject({ api_key_id: own.id, ended_at: null })
  })
})

describe('an assertion', async () => {
  const { id } = await newApiKey()
  const now = () => Math.floor(Date.now() / 1000)
  const invalid = /assertion of Cloudflare Access is invalid or has expired/

  test.each<[string, () => object]>([
    ['for another audience', () => ({ aud: [newTag()] })],
    ['for an audience that begins with ours', () => ({ aud: [`${team.tag}0`] })],
    ['for no audience', () => ({ aud: undefined })],
    ['for an empty audience', () => ({ aud: [] })],
    ['of another team', () => ({ iss: 'https://evil.cloudflareaccess.com' })],
    ['of our team with a slash', () => ({ iss: `${team.domain}/` })],
    ['of no team', () => ({ iss: undefined })],
    ['that has expired', () => ({ exp: now() - 60 })],
    ['that expires now', () => ({ exp: now() })],
    ['that never expires', () => ({ exp: undefined })],
    ['whose expiry is a text', () => ({ exp: `${now() + 600}` })],
    ['whose expiry is 1e300', () => ({ exp: 1e300 })],
    ['that is not valid yet', () => ({ nbf: now() + 60 })],
    ['of the type “org”, which is not for an application', () => ({ type: 'org' })],
    ['without a type', () => ({ type: undefined })],
  ])('an assertion %s starts no session', async (_, claims) => {
    await expectRefused(await team.visitor(id, claims() as never), invalid)
  })

  const signed = async (assertion: string) => {
    const visitor = await team.visitor(id)
    visitor.headers = { [HEADER]: assertion }
    return visitor
  }
  const encoded = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll('=', '').replaceAll('+', '-').replaceAll('/', '_')

  test('an assertion that another key signed starts no session', async () => {
    const { privateKey } = await generateKeyPair('RS256')
    await expectRefused(await signed(await team.assertion({}, { key: privateKey })), invalid)
  })

  test.each(['RS384', 'RS512', 'PS256', 'ES256'])(
    'an assertion that is signed with %s starts no session',
    async (alg) => {
      const { privateKey, publicKey } = await generateKeyPair(alg)
      const jwk = { ...(await exportJWK(publicKey)), kid: team.kid }
      team.answer = async () => Response.json({ keys: [jwk] })
      await expectRefused(await signed(await team.assertion({}, { alg, key: privateKey })), invalid)
    },
  )

  test('an unsigned assertion starts no session', async () => {
    for (const alg of ['none', 'None', 'NONE']) {
      const unsigned = `${encoded({ alg, kid: team.kid })}.${encoded(team.claims())}.`
      await expectRefused(await signed(unsigned), invalid)
    }
  })

  test('an assertion that is signed with the public key as a shared secret starts no session', async () => {
    const secret = new TextEncoder().encode(JSON.stringify(team.jwk))
    await expectRefused(await signed(await team.assertion({}, { alg: 'HS256', key: secret })), invalid)
  })

  test('an assertion whose claims were changed starts no session', async () => {
    const [header, , signature] = (await team.assertion()).split('.')
    await expectRefused(
      await signed(`${header}.${encoded(team.claims({ email: 'eve@example.com' }))}.${signature}`),
      invalid,
    )
  })

  test.each(['x', '.', '..', 'a.b.c', `${'a'.repeat(5000)}.b.c`, 'eyJhbGciOiJSUzI1NiJ9..'])(
    'a malformed assertion starts no session: %s',
    async (assertion) => {
      await expectRefused(await signed(assertion), invalid)
    },
  )

  test('two assertions in one request start no session, even if both are valid', async () => {
    const headers = new Headers({ Origin: 'https://oncekey.test', 'Content-Type': 'application/x-www-form-urlencoded' })
    for (const _ of ['one', 'two']) headers.append(HEADER, await team.assertion())
    const init = { method: 'POST', headers, body: 'through=access', redirect: 'manual' } as const
    const reply = await visit(new Request('https://oncekey.test/dashboard/sign-in', init), team.settings(id))
    expect([reply.status, reply.trips]).toEqual([422, 0])
    expect(reply.headers.getSetCookie()).toEqual([])
  })

  test.each<[string, object]>([
    ['of a service token', { email: undefined, sub: '', common_name: 'e367826f93b8d71185e03fe518aff3b4.access' }],
    ['with an empty email address', { email: '' }],
    ['with a blank email address', { email: ' ' }],
    ['with an email address of 255 characters', { email: `${'a'.repeat(243)}@example.com` }],
    ['with a list of email addresses', { email: [EMAIL] }],
    ['with a line break in the email address', { email: 'ada\n@example.com' }],
    ['with a null character in the email address', { email: 'ada\0@example.com' }],
    ['with a character in the email address that reverses the text', { email: 'ada\u202e@example.com' }],
    ['with a lone surrogate in the email address', { email: 'ada\ud800@example.com' }],
    ['with an email address without an at sign', { email: 'ada' }],
  ])('an assertion %s starts no session', async (_, claims) => {
    await expectRefused(await team.visitor(id, claims as never), /sent no email address/)
  })

  test('an assertion with an email address of 254 characters starts a session with this address', async () => {
    const email = `${'a'.repeat(242)}@example.com`
    const visitor = await team.signedIn(id, { email })
    expect(await sessionRow(visitor.session)).toMatchObject({ session_person: email })
  })

  test('an assertion is accepted although the clock of Access is three seconds ahead', async () => {
    await team.signedIn(id, { nbf: now() + 3, iat: now() + 3 })
  })

  test('an assertion whose audience is a text in place of a list is accepted', async () => {
    await team.signedIn(id, { aud: team.tag })
  })
})

describe('the public keys of Cloudflare Access', async () => {
  const { id } = await newApiKey()
  const unavailable = /public keys of Cloudflare Access could not be read/
  const later = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds)

  test('after a rotation, the keys are fetched again, at most every ten seconds', async () => {
    await team.signedIn(id)
    team.kid = crypto.randomUUID()
    const visitor = await team.visitor(id)
    expect((await signInThroughAccess(visitor)).status).toBe(422)
    expect(team.fetched).toHaveLength(1)
    later(10_000)
    await team.signedIn(id)
    expect(team.fetched).toHaveLength(2)
  })

  test('the keys are kept for ten minutes, and a key that is no longer published is not trusted for longer', async () => {
    const visitor = await team.visitor(id, { exp: Math.floor(Date.now() / 1000) + 3600 })
    expect((await signInThroughAccess(visitor)).status).toBe(303)
    team.answer = async () => Response.json({ keys: [] })
    later(10 * MINUTE_MS - 1000)
    expect((await signInThroughAccess(visitor)).status).toBe(303)
    later(1000)
    expect((await signInThroughAccess(visitor)).status).toBe(422)
    expect(team.fetched).toHaveLength(2)
  })

  const never = (signal: AbortSignal) =>
    new Promise<Response>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

  test.each<[string, Team['answer']]>([
    ['cannot be reached', () => Promise.reject(new TypeError('network'))],
    ['do not arrive', never],
    ['are refused', async () => new Response('', { status: 403 })],
    ['are a redirect', async () => new Response(null, { status: 302, headers: { Location: 'https://evil.example' } })],
    ['are no JSON', async () => new Response('<html>')],
    ['are other JSON', async () => Response.json({ public_certs: [] })],
    ['have no IDs', async () => Response.json({ keys: [{ kty: 'RSA' }] })],
  ])('while the keys %s, no person can sign in, and the keys are fetched once in ten seconds', async (_, answer) => {
    team.answer = answer
    await expectRefused(await team.visitor(id), unavailable, 503)
    expect(team.fetched).toHaveLength(1)
    team.answer = async () => Response.json({ keys: [team.jwk] })
    later(10_000)
    await team.signedIn(id)
    expect(team.fetched).toHaveLength(2)
  })

  test('while the keys cannot be read, an assertion with an unknown key does not stop other people from signing in', async () => {
    await team.signedIn(id)
    team.answer = () => Promise.reject(new TypeError('network'))
    later(10_000)
    const visitor = await team.visitor(id)
    visitor.headers = { [HEADER]: await team.assertion({}, { kid: 'unknown' }) }
    expect((await signInThroughAccess(visitor)).status).toBe(503)
    await team.signedIn(id)
  })

  test('after ten minutes in which the keys cannot be read, the earlier keys are not trusted any more', async () => {
    const visitor = await team.visitor(id)
    await signInThroughAccess(visitor)
    team.answer = () => Promise.reject(new TypeError('network'))
    later(10 * MINUTE_MS)
    expect((await signInThroughAccess(visitor)).status).toBe(503)
  })

  test('a refused assertion is logged with its reason', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {})
    await signInThroughAccess(await team.visitor(id, { aud: [newTag()] }))
    expect(log.mock.calls.map(([entry]) => entry)).toContainEqual(
      expect.objectContaining({ route: '/dashboard/sign-in', reason: expect.any(String) }),
    )
    log.mockClear()
    await signInThroughAccess(await team.visitor(id))
    for (const [entry] of log.mock.calls) expect(entry).not.toHaveProperty('reason')
  })

  test('after 100 refused assertions, an IP address gets 429, and another IP address does not', async () => {
    const visitor = await team.visitor(id, { aud: [newTag()] })
    const from = (address: string) => {
      visitor.headers = { ...visitor.headers, 'CF-Connecting-IP': address }
      return signInThroughAccess(visitor)
    }
    for (let i = 0; i < 100; i++) expect((await from('192.0.2.77')).status).toBe(422)
    expect([(await from('192.0.2.77')).status, (await from('192.0.2.78')).status]).toEqual([429, 422])
  })

  test('an assertion that fails repeatedly because the API key is revoked gets 429, and other assertions do not', async () => {
    const key = await newApiKey()
    await env.DB.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(key.id).run()
    const limit = async ({ key }: { key: string }) => ({ success: !key.startsWith('key ') })
    const signIn = async (visitor: Visitor) => {
      visitor.bindings = { ...team.settings(key.id), FAILED_AUTHENTICATIONS: { limit } }
      return (await signInThroughAccess(visitor)).status
    }
    const [visitor, other] = [await team.visitor(key.id), await team.visitor(key.id, { email: 'bob@example.com' })]
    expect([await signIn(visitor), await signIn(visitor), await signIn(other)]).toEqual([422, 429, 422])
  })

  test('an assertion starts no session if the published key is not an RSA key', async () => {
    team.answer = async () => Response.json({ keys: [{ kid: team.kid, kty: 'oct', k: 'AAAA' }] })
    const visitor = await team.visitor(id)
    expect((await signInThroughAccess(visitor)).status).toBe(422)
  })
})

describe('the API key that people act with', () => {
  const refused = /API key for sign-ins through Cloudflare Access/

  test.each([
    ['is revoked', 'UPDATE api_keys SET revoked_at = 1 WHERE id = ?'],
    ['has expired', 'UPDATE api_keys SET key_expires_at = 1 WHERE id = ?'],
    ['is deleted', 'DELETE FROM api_keys WHERE id = ?'],
  ])('when this API key %s, no person can sign in, and existing sessions have ended', async (_, statement) => {
    const key = await newApiKey()
    const before = await team.visitor(key.id)
    const isDeleted = statement.startsWith('DELETE')
    if (!isDeleted) await signInThroughAccess(before)
    await env.DB.prepare(statement).bind(key.id).run()
    if (!isDeleted) expect((await before.get('/dashboard')).status).toBe(303)
    const visitor = await team.visitor(key.id)
    const reply = await signInThroughAccess(visitor)
    expect([reply.status, reply.trips, visitor.session]).toEqual([422, 1, ''])
    expect(reply.html).toMatch(refused)
  })

  test('the IP ranges of this API key apply to the sign-in and to each page', async () => {
    const { id } = await newApiKey({ allowedIps: ['203.0.113.0/24'] })
    const visitor = await team.visitor(id)
    const from = (address: string) => {
      visitor.headers = { ...visitor.headers, 'CF-Connecting-IP': address }
    }
    from('198.51.100.7')
    expect((await signInThroughAccess(visitor)).html).toMatch(refused)
    from('203.0.113.7')
    expect((await signInThroughAccess(visitor)).status).toBe(303)
    expect((await visitor.get('/dashboard')).status).toBe(200)
    from('198.51.100.7')
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('a person can do only what the access and the permissions of this API key allow', async () => {
    const reading = await team.signedIn((await newApiKey({ access: 'read' })).id)
    expect((await reading.get('/dashboard/keys')).status).toBe(200)
    expect((await reading.get('/dashboard/applications/new')).status).toBe(403)
    expect((await reading.post('/dashboard/settings/freeze')).status).toBe(403)
    const narrow = await team.signedIn((await newApiKey({ access: 'read', permissions: ['secrets:write'] })).id)
    expect((await narrow.get('/dashboard/secrets')).status).toBe(200)
    expect((await narrow.get('/dashboard/keys')).status).toBe(403)
    const gateway = await team.visitor((await newApiKey({ access: 'read', permissions: ['secrets:verify'] })).id)
    expect([(await signInThroughAccess(gateway)).status, gateway.session]).toEqual([403, ''])
  })

  test('a person can sign in to a frozen environment, and cannot create a secret there', async () => {
    const { id, apiKey } = await newApiKey()
    const application = await newApplication(apiKey)
    const visitor = await team.signedIn(id)
    await visitor.post('/dashboard/settings/freeze')
    const again = await team.signedIn(id)
    expect((await again.get('/dashboard')).html).toContain('This environment is frozen.')
    const reply = await again.submit(`/dashboard/applications/${application.id}/new-secret`, { lifetime: '0' })
    expect(reply.status).toBe(422)
  })

  test('people of two audiences act with the API key of their audience, and an assertion for both audiences starts no session', async () => {
    const [first, second] = await Promise.all([newApiKey(), newApiKey({ access: 'read' })])
    const tag = newTag()
    const settings = { ...team.settings(first.id), ACCESS_AUDIENCES: `${team.tag}=${first.id},${tag}=${second.id}` }
    for (const [aud, key] of [
      [[team.tag], first],
      [[tag], second],
      [[newTag(), tag], second],
    ] as const) {
      const visitor = await team.visitor(first.id, { aud: [...aud] })
      visitor.bindings = settings
      await signInThroughAccess(visitor)
      expect(await sessionRow(visitor.session)).toMatchObject({ api_key_id: key.id, environment_id: key.environmentId })
    }
    const both = await team.visitor(first.id, { aud: [team.tag, tag] })
    both.bindings = settings
    await expectRefused(both, /invalid or has expired/)
  })

  test('if this API key is not in the first region, the sign-in makes one D1 request, to the region of the key', async () => {
    const tenant = await newTenant('1')
    const { bindings, trips } = countedRegions(3)
    const visitor = await team.visitor(tenant.id)
    visitor.bindings = { ...bindings, ...team.settings(tenant.id) }
    expect((await signInThroughAccess(visitor)).status).toBe(303)
    expect(trips()).toEqual({ '0': 0, '1': 1, '2': 0 })
    expect(visitor.session).toMatch(/^session_1/)
    expect((await visitor.get('/dashboard')).html).toContain(EMAIL)
  })

  test('neither the ID of this API key nor an assertion authenticates a call of the API', async () => {
    const { id } = await newApiKey()
    const bindings = team.settings(id)
    const headers = { [HEADER]: await team.assertion() }
    for (const key of ['', id, headers[HEADER] ?? '']) {
      expect((await call(key, 'GET', '/connect/applications', { headers, bindings })).status).toBe(401)
      expect((await call(key, 'GET', '/events', { headers, bindings })).status).toBe(401)
    }
  })

  test('the page that revokes this API key says that people act with it', async () => {
    const { id } = await newApiKey()
    const visitor = await team.signedIn(id)
    expect((await visitor.get(`/dashboard/keys/${id}/revoke`)).html).toContain(
      'People sign in through Cloudflare Access with this key.',
    )
  })
})

describe('a session through Cloudflare Access', () => {
  const ends = (visitor: Visitor) => sessionRow(visitor.session).then((row) => row?.session_expires_at)

  test('the session ends when its assertion expires', async () => {
    const { id } = await newApiKey()
    const exp = Math.floor(Date.now() / 1000) + 600
    const visitor = await team.signedIn(id, { exp })
    expect(await ends(visitor)).toBe(exp * 1000)
    expect((await visitor.get('/dashboard/keys')).html).toContain(new Date(exp * 1000).toISOString())
    await env.DB.prepare('UPDATE sessions SET session_expires_at = ? WHERE session_expires_at = ?')
      .bind(Date.now() - 1, exp * 1000)
      .run()
    expect((await visitor.get('/dashboard')).headers.get('Location')).toBe('/dashboard/sign-in?ended=')
  })

  test('the session ends after 12 hours, even if the assertion is valid for a month', async () => {
    const { id } = await newApiKey()
    const visitor = await team.signedIn(id, { exp: Math.floor(Date.now() / 1000) + 30 * 86_400 })
    await env.DB.prepare('UPDATE sessions SET created_at = created_at - ? WHERE digest = ?')
      .bind(12 * 60 * MINUTE_MS, await sha256(visitor.session))
      .run()
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('the session ends when the same person signs in ten more times, and not when other people do', async () => {
    const { id } = await newApiKey()
    const visitor = await team.signedIn(id)
    for (let i = 0; i < 10; i++) await team.signedIn(id, { email: `${i}@example.com` })
    expect((await visitor.get('/dashboard')).status).toBe(200)
    for (let i = 0; i < 10; i++) await team.signedIn(id)
    expect((await visitor.get('/dashboard')).status).toBe(303)
  })

  test('the session ends at sign-out, and the next page offers to sign out of Access', async () => {
    const { id } = await newApiKey()
    const visitor = await team.signedIn(id)
    const { session } = visitor
    const reply = await visitor.post('/dashboard/sign-out')
    const page = await visitor.get(reply.headers.get('Location') ?? '')
    expect(page.html).toContain('You are signed out.')
    expect(page.html).toContain('href="/cdn-cgi/access/logout"')
    expect((await sessionRow(session))?.ended_at).not.toBeNull()
  })

  test('the list of sessions shows the email address of the person', async () => {
    const key = await newApiKey()
    await team.signedIn(key.id)
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    expect((await visitor.get('/dashboard/keys')).html).toContain(`<bdi>${EMAIL}</bdi>`)
  })
})
