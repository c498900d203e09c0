import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { call, m2mApplication, newApiKey, newApplication, send } from '../api.ts'
import { firstPartyApplication, getToken, introspect, newClient, requestToken, seen } from '../oauth/client.ts'
import { iso, secretsOf } from '../requests.ts'

const SCOPED = { ...m2mApplication, scopes: ['read', 'write', 'admin'] }
const DAY_MS = 24 * 60 * 60 * 1000
const from = (address: string) => ({ headers: { 'CF-Connecting-IP': address } })
const messagesOf = (json: { errors?: { message: string }[] }) => json.errors?.map(({ message }) => message)

/** An application with scopes, and a secret of it with these limits. */
async function limited(body: object) {
  const client = await newClient(SCOPED)
  const { status, json } = await call(client.apiKey, 'POST', secretsOf(client.applicationId), { body })
  expect(status).toBe(201)
  return { ...client, secretId: json.id as string, secret: json.secret as string, created: json }
}

const setPolicy = (apiKey: string, days: number | null) =>
  call(apiKey, 'PATCH', '/connect/environment', { body: { max_lifetime_days: days } })

describe('the scopes and IP ranges of a secret', () => {
  test('every response with a secret has its scopes and allowed_ips, and omits these members if the secret has none', async () => {
    const client = await limited({ scopes: ['read'], allowed_ips: ['203.0.113.7/32', '2001:DB8::/32'] })
    const limits = { scopes: ['read'], allowed_ips: ['203.0.113.7', '2001:db8::/32'] }
    expect(client.created).toMatchObject(limits)
    const get = async (path: string) => (await call(client.apiKey, 'GET', path)).json
    const path = `/connect/client_secrets/${client.secretId}`
    expect(await get(path)).toMatchObject(limits)
    const [other, listed] = await get(secretsOf(client.applicationId))
    expect(listed).toMatchObject(limits)
    expect(Object.keys(other)).not.toContain('scopes')
    expect(Object.keys(other)).not.toContain('allowed_ips')
    expect((await get('/connect/client_secrets?limit=1')).data).toMatchObject([limits])
    expect((await get(`/connect/client_secrets?hint=${client.created.secret_hint}`))[0]).toMatchObject(limits)
    const { data } = await get('/events?events=connect_application_secret.created&limit=1&order=desc')
    expect(data[0].data).toMatchObject(limits)
  })

  test.each([
    [{ scopes: ['read', 'delete'] }, 'scopes must have only scopes of the application.'],
    [
      { scopes: [] },
      'scopes must have at least one scope. Leave it out, or use null, for all scopes of the application.',
    ],
    [
      { allowed_ips: ['10.0.0.1/8'] },
      'allowed_ips.0 must be zero after the prefix: 203.0.113.0/24, not 203.0.113.7/24.',
    ],
  ])('a create and an update with %j are refused', async (body, message) => {
    const client = await newClient(SCOPED)
    for (const [method, path] of [
      ['POST', secretsOf(client.applicationId)],
      ['PATCH', `/connect/client_secrets/${client.secretId}`],
    ] as const) {
      const { status, json } = await call(client.apiKey, method, path, { body })
      expect(status).toBe(422)
      expect(messagesOf(json)).toEqual([message])
    }
    expect((await call(client.apiKey, 'GET', secretsOf(client.applicationId))).json).toHaveLength(1)
  })

  test('an update sets the limits it contains, keeps those it omits, and removes those that are null', async () => {
    const { apiKey, secretId } = await limited({ scopes: ['read'] })
    const patch = async (body: object) =>
      (await call(apiKey, 'PATCH', `/connect/client_secrets/${secretId}`, { body })).json
    expect(await patch({ allowed_ips: ['10.0.0.0/8'] })).toMatchObject({
      scopes: ['read'],
      allowed_ips: ['10.0.0.0/8'],
    })
    expect(await patch({ scopes: ['write', 'admin'] })).toMatchObject({ scopes: ['write', 'admin'] })
    const cleared = await patch({ scopes: null, allowed_ips: null })
    expect(Object.keys(cleared).filter((name) => name === 'scopes' || name === 'allowed_ips')).toEqual([])
  })

  test('an update of the name may keep a scope that the application no longer has', async () => {
    const { apiKey, applicationId, secretId } = await limited({ scopes: ['read', 'admin'] })
    await call(apiKey, 'PUT', `/connect/applications/${applicationId}`, { body: { scopes: ['read'] } })
    const body = { name: 'ci', scopes: ['read', 'admin'] }
    expect((await call(apiKey, 'PATCH', `/connect/client_secrets/${secretId}`, { body })).json).toMatchObject(body)
  })

  test('a replay of a create returns the same limits, and other limits with the same Idempotency-Key are refused', async () => {
    const { apiKey } = await newApiKey()
    const { id } = await newApplication(apiKey, SCOPED)
    const create = (body: object) =>
      call(apiKey, 'POST', secretsOf(id), { body, headers: { 'Idempotency-Key': 'limits' } })
    const first = await create({ scopes: ['read'], allowed_ips: ['::1'] })
    expect((await create({ scopes: ['read'], allowed_ips: ['::1'] })).text).toBe(first.text)
    expect((await create({ scopes: ['write'], allowed_ips: ['::1'] })).json.code).toBe('idempotency_key_reused')
  })

  test('a rotation gives the new secret the limits of the latest secret that is not disabled', async () => {
    const client = await limited({ scopes: ['read'], allowed_ips: ['10.0.0.0/8'] })
    const disabled = await call(client.apiKey, 'POST', secretsOf(client.applicationId), { body: { scopes: ['admin'] } })
    await call(client.apiKey, 'PATCH', `/connect/client_secrets/${disabled.json.id}`, { body: { disabled: true } })
    const rotate = () => call(client.apiKey, 'POST', `${secretsOf(client.applicationId)}/rotate`, { body: {} })
    const limits = { scopes: ['read'], allowed_ips: ['10.0.0.0/8'] }
    expect((await rotate()).json).toMatchObject(limits)
    expect((await rotate()).json).toMatchObject(limits)
  })

  test('if the secret that a rotation created is revoked, the next rotation gives the new secret the same limits', async () => {
    const client = await limited({ scopes: ['read'] })
    await call(client.apiKey, 'DELETE', `/connect/client_secrets/${(await secretAt(client, 0)).id}`)
    const path = `${secretsOf(client.applicationId)}/rotate`
    const { json } = await call(client.apiKey, 'POST', path, { body: {} })
    await call(client.apiKey, 'DELETE', `/connect/client_secrets/${json.id}`)
    expect((await call(client.apiKey, 'POST', path, { body: {} })).json).toMatchObject({ scopes: ['read'] })
  })

  test('if all secrets are revoked or expired, a rotation gives the new secret the limits of the latest one', async () => {
    const client = await limited({ scopes: ['read'], allowed_ips: ['10.0.0.0/8'] })
    const path = secretsOf(client.applicationId)
    const rotate = async () => (await call(client.apiKey, 'POST', `${path}/rotate`, { body: {} })).json
    const limits = { scopes: ['read'], allowed_ips: ['10.0.0.0/8'] }
    await call(client.apiKey, 'DELETE', path)
    const { id } = await rotate()
    expect(await secretAt(client, 0)).toMatchObject({ id, ...limits })
    // Expired, and not noted by cleanup yet.
    await call(client.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: { scopes: ['admin'] } })
    await env.DB.prepare('UPDATE client_secrets SET expires_at = 1 WHERE id = ?').bind(id).run()
    expect(await rotate()).toMatchObject({ ...limits, scopes: ['admin'] })
  })

  test('if the secret that replaced all others is revoked or disabled, the next rotation keeps its limits, even while a replaced secret still works', async () => {
    const client = await limited({ scopes: ['read', 'write'] })
    const path = secretsOf(client.applicationId)
    const rotate = async () => (await call(client.apiKey, 'POST', `${path}/rotate`, { body: {} })).json
    const patch = (id: string, body: object) => call(client.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body })
    const second = await rotate()
    await patch(second.id, { scopes: ['read'] })
    await call(client.apiKey, 'DELETE', `/connect/client_secrets/${second.id}`)
    const third = await rotate()
    expect(third).toMatchObject({ scopes: ['read'] })
    await patch(third.id, { disabled: true })
    expect(await rotate()).toMatchObject({ scopes: ['read'] })
  })

  test('if all secrets are revoked, a rotation keeps the limits of the newest one, even if an older one was revoked later', async () => {
    const client = await limited({ scopes: ['read', 'write'] })
    const path = secretsOf(client.applicationId)
    const { id } = (await call(client.apiKey, 'POST', path, { body: { scopes: ['read'] } })).json
    await call(client.apiKey, 'DELETE', `/connect/client_secrets/${id}`)
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 1_000)
    await call(client.apiKey, 'DELETE', path)
    expect((await call(client.apiKey, 'POST', `${path}/rotate`, { body: {} })).json).toMatchObject({ scopes: ['read'] })
    vi.restoreAllMocks()
  })

  const secretAt = async ({ apiKey, applicationId }: { apiKey: string; applicationId: string }, index: number) =>
    (await call(apiKey, 'GET', secretsOf(applicationId))).json[index]
})

describe('the scopes of a secret', () => {
  test('a token has the scopes of its secret, and no other scope of the application can be requested', async () => {
    const client = await limited({ scopes: ['write', 'read'] })
    expect((await requestToken(client)).json.scope).toBe('read write')
    expect((await requestToken(client, { scope: 'read' })).json.scope).toBe('read')
    expect((await requestToken(client, { scope: 'openid read' })).json.scope).toBe('read')
    expect((await requestToken(client, { scope: 'admin' })).json.error).toBe('invalid_scope')
  })

  test('introspection returns the scopes that the token, the application and the secret all have', async () => {
    const client = await limited({ scopes: ['read', 'write'] })
    const reader = await newClient(firstPartyApplication, client)
    const token = await getToken(client)
    const scopeOf = async () => (await introspect(reader, token)).json.scope
    expect(await scopeOf()).toBe('read write')
    const patch = (body: object) => call(client.apiKey, 'PATCH', `/connect/client_secrets/${client.secretId}`, { body })
    await patch({ scopes: ['write', 'admin'] })
    expect(await scopeOf()).toBe('write')
    await call(client.apiKey, 'PUT', `/connect/applications/${client.applicationId}`, { body: { scopes: ['admin'] } })
    expect((await introspect(reader, token)).json).toMatchObject({ active: true })
    expect(await scopeOf()).toBeUndefined()
    await patch({ scopes: null })
    await call(client.apiKey, 'PUT', `/connect/applications/${client.applicationId}`, { body: { scopes: ['read'] } })
    expect(await scopeOf()).toBe('read')
  })

  test('if the application no longer has any of the secret’s scopes, the token has no scopes', async () => {
    const client = await limited({ scopes: ['admin'] })
    await call(client.apiKey, 'PUT', `/connect/applications/${client.applicationId}`, { body: { scopes: ['read'] } })
    const { status, json } = await requestToken(client)
    expect(status).toBe(200)
    expect(json).not.toHaveProperty('scope')
  })
})

describe('the IP ranges of a secret', () => {
  const ranges = { allowed_ips: ['203.0.113.0/24', '2001:db8::/32'] }

  test.each([
    ['203.0.113.9', 200],
    ['::ffff:203.0.113.9', 200],
    ['2001:db8:1::9', 200],
    ['203.0.114.9', 401],
    ['2001:db9::1', 401],
  ])('a client at %s gets status %i from the token endpoint and from introspection', async (address, status) => {
    const client = await limited(ranges)
    expect((await requestToken(client, {}, from(address))).status).toBe(status)
    expect((await introspect(client, 'x', from(address))).status).toBe(status)
  })

  test('a client without a known IP address is refused', async () => {
    expect((await requestToken(await limited(ranges))).status).toBe(401)
  })

  test('a client outside the IP ranges gets the same response as for a wrong secret, and an event records its IP address', async () => {
    const log = vi.spyOn(console, 'log')
    const client = await limited(ranges)
    const before = await call(client.apiKey, 'GET', `/connect/client_secrets/${client.secretId}`)
    const refused = await requestToken(client, {}, from('198.51.100.7'))
    const wrong = await requestToken({ ...client, secret: `${client.secret}x` }, {}, from('198.51.100.7'))
    expect(seen(refused)).toEqual(seen(wrong))
    expect(log.mock.calls.map(([entry]) => entry)).toContainEqual(
      expect.objectContaining({ reason: 'address_not_allowed', secret_id: client.secretId, address: '198.51.100.7' }),
    )
    const { json } = await call(client.apiKey, 'GET', '/events?events=connect_application_secret.refused')
    expect(json.data).toMatchObject([
      { data: { id: client.secretId, reason: 'address_not_allowed' }, context: { ip_address: '198.51.100.7' } },
    ])
    expect((await call(client.apiKey, 'GET', `/connect/client_secrets/${client.secretId}`)).text).toBe(before.text)
    log.mockRestore()
  })

  test('verify checks the member ip_address, or the IP address of its caller if that member is absent', async () => {
    const client = await limited(ranges)
    const verify = async (ip_address: string | undefined, address: string) =>
      (
        await call(client.apiKey, 'POST', '/connect/client_secrets/verify', {
          body: { client_secret: client.secret, client_id: client.clientId, ip_address },
          ...from(address),
        })
      ).json
    expect(await verify('203.0.113.9', '198.51.100.7')).toMatchObject({ valid: true, client_secret: ranges })
    expect(await verify(undefined, '203.0.113.9')).toMatchObject({ valid: true })
    expect(await verify(undefined, '198.51.100.7')).toEqual({ valid: false })
    expect(await verify('198.51.100.8', '203.0.113.9')).toEqual({ valid: false })
    expect(messagesOf(await verify('203.0.113.09', '203.0.113.9'))).toEqual([
      'ip_address must be an IPv4 or IPv6 address, without a zone ID.',
    ])
    const { json } = await call(client.apiKey, 'GET', '/events?events=connect_application_secret.refused')
    expect(json.data).toMatchObject([
      { data: { id: client.secretId, reason: 'address_not_allowed' }, context: { ip_address: '198.51.100.7' } },
    ])
  })

  test.each([
    ['198.51.100.7', { valid: false }],
    ['203.0.113.9', { valid: true }],
  ])(
    'verify with the client’s IP address %s stores neither the country nor the user agent of its caller',
    async (ip_address, found) => {
      const client = await limited(ranges)
      const request = new Request('https://oncekey.test/connect/client_secrets/verify', {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${client.apiKey}`,
          'Content-Type': 'application/json',
          'User-Agent': 'gateway/1',
          'CF-Connecting-IP': '192.0.2.1',
        },
        body: JSON.stringify({ client_secret: client.secret, ip_address }),
        cf: { country: 'DE' },
      })
      expect((await send(request)).json).toMatchObject(found)
      const last = await env.DB.prepare(
        'SELECT last_used_address, last_used_country, last_used_agent FROM client_secrets WHERE id = ?',
      )
        .bind(client.secretId)
        .first()
      expect(last).toEqual({
        last_used_address: found.valid ? '203.0.113.0/24' : null,
        last_used_country: null,
        last_used_agent: null,
      })
      const { json } = await call(client.apiKey, 'GET', '/events?events=connect_application_secret.refused')
      const contexts = json.data.map(({ context }: { context: object }) => context)
      expect(contexts).toMatchObject(found.valid ? [] : [{ ip_address, country: null, user_agent: null }])
    },
  )
})

describe('the maximum lifetime of secrets in an environment', () => {
  const inDays = (days: number) => iso(Date.now() + days * DAY_MS)
  const daysLeft = ({ expires_at }: { expires_at: string }) => (Date.parse(expires_at) - Date.now()) / DAY_MS
  const TOO_LATE = 'expires_at must be within the longest lifetime of secrets in this environment.'

  test('a create and a rotation without an expiry get the maximum lifetime', async () => {
    const { apiKey } = await newApiKey()
    const { id } = await newApplication(apiKey)
    await setPolicy(apiKey, 90)
    for (const path of [secretsOf(id), `${secretsOf(id)}/rotate`]) {
      const { status, json } = await call(apiKey, 'POST', path, { body: {} })
      expect(status).toBe(201)
      expect(daysLeft(json)).toBeCloseTo(90, 2)
    }
  })

  test('a create with an expiry after the maximum lifetime is refused, and one with an earlier expiry keeps its expiry', async () => {
    const { apiKey } = await newApiKey()
    const { id } = await newApplication(apiKey)
    await setPolicy(apiKey, 90)
    const create = (days: number) => call(apiKey, 'POST', secretsOf(id), { body: { expires_at: inDays(days) } })
    expect((await create(90)).status).toBe(201)
    expect(daysLeft((await create(5)).json)).toBeCloseTo(5, 2)
    const refused = await create(91)
    expect(refused.status).toBe(422)
    expect(messagesOf(refused.json)).toEqual([TOO_LATE])
    expect((await call(apiKey, 'GET', secretsOf(id))).json).toHaveLength(2)
  })

  test('the latest expiry that an update can set is the creation plus the maximum lifetime, and null sets exactly this expiry', async () => {
    const client = await limited({ expires_at: inDays(5) })
    await setPolicy(client.apiKey, 90)
    const patch = (expires_at: string | null) =>
      call(client.apiKey, 'PATCH', `/connect/client_secrets/${client.secretId}`, { body: { expires_at } })
    expect((await patch(inDays(89))).status).toBe(200)
    const refused = await patch(inDays(91))
    expect(refused.status).toBe(422)
    expect(messagesOf(refused.json)).toEqual([TOO_LATE])
    const { json } = await patch(null)
    expect(Date.parse(json.expires_at) - Date.parse(json.created_at)).toBe(90 * DAY_MS)
  })

  test('a secret that was created before the maximum lifetime was set keeps its expiry, and can get an earlier one', async () => {
    const never = await limited({})
    const later = await limited({ expires_at: inDays(400) })
    for (const client of [never, later]) {
      await setPolicy(client.apiKey, 90)
      const patch = (body: object) =>
        call(client.apiKey, 'PATCH', `/connect/client_secrets/${client.secretId}`, { body })
      expect((await patch({ name: 'old' })).json.expires_at).toBe(client.created.expires_at)
      expect((await patch({ expires_at: client.created.expires_at ?? null })).json.expires_at).toBe(
        client.created.expires_at,
      )
      expect((await patch({ expires_at: inDays(401) })).status).toBe(422)
      expect(daysLeft((await patch({ expires_at: inDays(60) })).json)).toBeCloseTo(60, 2)
    }
    expect(
      (
        await call(later.apiKey, 'PATCH', `/connect/client_secrets/${later.secretId}`, {
          body: { expires_at: inDays(91) },
        })
      ).status,
    ).toBe(422)
  })

  test('after the maximum lifetime is removed, a new secret has no expiry', async () => {
    const { apiKey } = await newApiKey()
    const { id } = await newApplication(apiKey)
    await setPolicy(apiKey, 1)
    await setPolicy(apiKey, null)
    expect((await call(apiKey, 'POST', secretsOf(id), { body: {} })).json).not.toHaveProperty('expires_at')
  })
})
