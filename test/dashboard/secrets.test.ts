import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { call, newApiKey, newApplication } from '../api.ts'
import { hiddenFields, shownSecret, Visitor } from './pages.ts'

const owner = new Visitor()
let apiKey: string

beforeAll(async () => {
  apiKey = (await newApiKey()).apiKey
  await owner.signIn(apiKey)
})

const create = async (application: string, body?: object) =>
  (await call(apiKey, 'POST', `/connect/applications/${application}/client_secrets`, { body })).json
const list = async (application: string) =>
  (await call(apiKey, 'GET', `/connect/applications/${application}/client_secrets`)).json
const verify = async (client_secret: string) =>
  (await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret } })).json.valid
const daysFromNow = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
const lifetimeInDays = ({ created_at, expires_at }: { created_at: string; expires_at: string }) =>
  Math.round((Date.parse(expires_at) - Date.parse(created_at)) / 86_400_000)

describe('a new secret', () => {
  test.each(['new-secret', 'rotate'])(
    'the form %s creates one secret and shows it once, however often the form is sent',
    async (form) => {
      const { id } = await newApplication(apiKey)
      const page = `/dashboard/applications/${id}`
      const { html } = await owner.get(`${page}/${form}`)
      const fields = { ...hiddenFields(html), grace: '3600', name: 'one', lifetime: '30' }
      const first = await owner.post(`${page}/${form}`, fields)
      const plaintext = shownSecret(first.html)
      expect(plaintext).toMatch(/^cs_[0-9A-Za-z]{50}$/)
      expect(await verify(plaintext)).toBe(true)
      expect(first.trips).toBe(1)
      for (const again of [fields, { ...fields, name: 'two', grace: '0' }]) {
        const second = await owner.post(`${page}/${form}`, again)
        expect(second.status).toBe(409)
        expect(second.html).toContain('This secret was already created')
        expect(second.html).not.toContain(plaintext)
      }
      // Nor to the same person in a new session.
      const anew = new Visitor()
      await anew.signIn(apiKey)
      expect((await anew.post(`${page}/${form}`, fields)).status).toBe(409)
      expect(await list(id)).toHaveLength(1)
      for (const later of [
        page,
        '/dashboard/events',
        `${page}/${form}`,
        `/dashboard/find?hint=${plaintext.slice(-6)}`,
      ]) {
        const { html: seen } = await owner.get(later)
        expect(seen).not.toContain(plaintext)
        expect(seen).not.toContain(plaintext.slice(0, 20))
      }
      // Nothing can be derived from its record.
      const { results } = await env.DB.prepare('SELECT DISTINCT hex(salt) AS salt FROM idempotency_records').all()
      expect(results).toContainEqual({ salt: '00'.repeat(32) })
    },
  )

  test('a form whose hidden token is missing, malformed or older than an hour creates no secret', async () => {
    const { id } = await newApplication(apiKey)
    const old = `${(Date.now() - 3_600_001).toString(36)}-${crypto.randomUUID()}`
    for (const token of ['', 'x', old]) {
      const reply = await owner.post(`/dashboard/applications/${id}/new-secret`, { token, lifetime: '0' })
      expect([reply.status, reply.trips]).toEqual([422, 1])
      expect(reply.html).toContain('Reopen the form')
    }
    expect(await list(id)).toEqual([])
  })

  test.each(['', 'constructor', '__proto__', 'toString', '-1', '1e3', '3651', 'Infinity'])(
    'a new secret is not created with the lifetime %j',
    async (lifetime) => {
      const { id } = await newApplication(apiKey)
      const reply = await owner.submit(`/dashboard/applications/${id}/new-secret`, { name: 'kept', lifetime })
      expect([reply.status, reply.trips]).toEqual([422, 1])
      expect(reply.html).toContain('value="kept"')
      expect(await list(id)).toEqual([])
    },
  )

  test('a new secret beyond the limit is refused, and the page links to the rotation', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    const { html } = await owner.get(`${page}/new-secret`)
    for (let i = 0; i < 5; i++) await create(id)
    const reply = await owner.post(`${page}/new-secret`, { ...hiddenFields(html), lifetime: '0' })
    expect([reply.status, reply.trips]).toEqual([422, 1])
    expect(reply.html).toContain(`${page}/rotate`)
    expect((await owner.get(page)).html).toContain('5 of 5')
    expect((await owner.get(page)).html).not.toContain(`${page}/new-secret`)
  })

  test('the page of a new secret shows URLs of the issuer', async () => {
    const { id } = await newApplication(apiKey)
    const { html } = await owner.submit(`/dashboard/applications/${id}/new-secret`, { lifetime: '0' })
    expect(html).toContain('ONCEKEY_URL=https://oncekey.test')
    expect(html).toContain('https://oncekey.test/oauth2/token')
    expect(html).not.toContain('allowInsecureRequests')
  })

  test('the pages of a new secret and a new API key show the URL of the setting ISSUER, even if they are opened at another host', async () => {
    const { id } = await newApplication(apiKey)
    const visitor = new Visitor()
    visitor.bindings = { ISSUER: 'https://secrets.example.com' }
    await visitor.signIn(apiKey)
    const secret = await visitor.submit(`/dashboard/applications/${id}/new-secret`, { lifetime: '0' })
    const key = await visitor.submit('/dashboard/keys/new', { name: 'CI', access: 'read', lifetime: '0' })
    for (const { status, html } of [secret, key]) {
      expect(status).toBe(200)
      expect(html).toContain('ONCEKEY_URL=https://secrets.example.com')
      expect(html).not.toContain('https://oncekey.test')
    }
  })
})

describe('a secret that did not arrive', () => {
  test('a secret that did not arrive is replaced by one with the same name and lifetime, even at the limit', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    for (let i = 0; i < 4; i++) await create(id)
    const form = { ...hiddenFields((await owner.get(`${page}/new-secret`)).html), name: 'production', lifetime: '90' }
    const lost = shownSecret((await owner.post(`${page}/new-secret`, form)).html)
    const again = await owner.post(`${page}/new-secret`, form)
    expect([again.status, again.html.includes(lost)]).toEqual([409, false])
    expect(again.html).toContain('Replace secret')
    const replacement = hiddenFields(again.html)
    const replaced = await owner.post(`${page}/replace-secret`, replacement)
    const shown = shownSecret(replaced.html)
    expect([replaced.status, replaced.trips]).toEqual([200, 1])
    expect([await verify(lost), await verify(shown)]).toEqual([false, true])
    const secrets = await list(id)
    expect(secrets).toHaveLength(5)
    expect(secrets.at(-1)).toMatchObject({ name: 'production', secret_hint: shown.slice(-6) })
    expect(lifetimeInDays(secrets.at(-1))).toBe(90)
    expect((await owner.post(`${page}/replace-secret`, replacement)).status).toBe(409)
    expect(await list(id)).toHaveLength(5)
  })

  test.each(['secret_01HXYZK8N5V3Q2W1R0T9M8P7J6', '', 'x'])(
    'at the limit, the form for a replacement creates no secret if the secret to replace is unknown or was rotated out: %j',
    async (secret) => {
      const { id } = await newApplication(apiKey)
      const page = `/dashboard/applications/${id}`
      const token = () => owner.get(`${page}/new-secret`).then(({ html }) => hiddenFields(html).token ?? '')
      for (let i = 0; i < 5; i++) await create(id)
      const before = await list(id)
      const fields = { secret, name: '', lifetime: '0', token: await token() }
      expect((await owner.post(`${page}/replace-secret`, fields)).status).toBe(422)
      expect(await list(id)).toEqual(before)
      // Nor is one that is on its way out already.
      const [first] = before
      await owner.submit(`${page}/rotate`, { grace: '604800', lifetime: '0' })
      for (let i = 0; i < 4; i++) await create(id)
      const out = { ...fields, secret: first.id, token: await token() }
      expect((await owner.post(`${page}/replace-secret`, out)).status).toBe(422)
    },
  )
})

describe('a rotation', () => {
  test('the form of a rotation suggests the name and the lifetime of the secret that it replaces', async () => {
    const { id } = await newApplication(apiKey)
    const old = await create(id, { name: 'production', expires_at: daysFromNow(90) })
    const newer = await create(id, { name: 'newer' })
    const page = `/dashboard/applications/${id}`
    await call(apiKey, 'PATCH', `/connect/client_secrets/${newer.id}`, { body: { disabled: true } })
    const { html } = await owner.get(`${page}/rotate`)
    const [, name = ''] = /value="([^"]*)" id="name"/.exec(html) ?? []
    const [, lifetime = ''] = /name="lifetime" value="(\d+)" checked/.exec(html) ?? []
    expect([name, lifetime]).toEqual(['production', '90'])
    await owner.submit(`${page}/rotate`, { grace: '86400', name, lifetime })
    const created = (await list(id)).find(({ id }: { id: string }) => id !== old.id && id !== newer.id)
    expect(created.name).toBe('production')
    expect(lifetimeInDays(created)).toBe(90)
  })

  test.each(['', 'constructor', '__proto__', 'toString', '1', '86400 '])(
    'a rotation with the invalid grace period %j changes nothing',
    async (grace) => {
      const { id } = await newApplication(apiKey)
      const old = await create(id, { expires_at: daysFromNow(5) })
      const reply = await owner.submit(`/dashboard/applications/${id}/rotate`, { grace, lifetime: '0' })
      expect([reply.status, reply.trips]).toEqual([422, 1])
      expect(await list(id)).toEqual([expect.objectContaining({ id: old.id, expires_at: old.expires_at })])
    },
  )
})

describe('an existing secret', () => {
  test('the dashboard can rotate a secret, keep the old one after all, disable, enable, rename and revoke it', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    const old = await create(id)
    const read = async () => (await call(apiKey, 'GET', `/connect/client_secrets/${old.id}`)).json
    await owner.submit(`${page}/rotate`, { grace: '604800', lifetime: '0' })
    expect((await owner.get(page)).html).toMatch(/1 of 5 \(\+1 expiring\).*Expires soon \(rotated\).*in 7 days.*Keep/s)
    expect((await read()).expires_at).toBeDefined()
    await owner.post(`${page}/secrets/${old.id}/keep`)
    expect((await read()).expires_at).toBeUndefined()
    expect((await owner.get(page)).html).toContain('2 of 5')
    await owner.post(`${page}/secrets/${old.id}/disable`)
    expect((await read()).disabled).toBe(true)
    expect((await owner.get(page)).html).toContain('Disabled')
    await owner.post(`${page}/secrets/${old.id}/enable`)
    expect((await read()).disabled).toBeUndefined()
    await owner.submit(`${page}/secrets/${old.id}/edit`, { name: 'kept', lifetime: '90' })
    expect(await read()).toMatchObject({ name: 'kept', expires_at: expect.any(String) })
    await owner.submit(`${page}/secrets/${old.id}/edit`, { name: '', lifetime: 'same' })
    expect((await read()).name).toBeUndefined()
    for (const lifetime of ['constructor', '']) {
      expect((await owner.submit(`${page}/secrets/${old.id}/edit`, { name: 'x', lifetime })).status).toBe(422)
    }
    const revoked = await owner.submit(`${page}/secrets/${old.id}/revoke`)
    expect(revoked.headers.get('Location')).toBe(page)
    expect((await call(apiKey, 'GET', `/connect/client_secrets/${old.id}`)).status).toBe(404)
    await owner.submit(`${page}/revoke-all`)
    expect((await owner.get(page)).html).toContain('No client secrets')
  })

  test('an existing secret is not changed by a form of another application', async () => {
    const [{ id }, other] = [await newApplication(apiKey), await newApplication(apiKey)]
    const secret = await create(id, { name: 'kept' })
    const fields = { name: 'changed', lifetime: '30' }
    for (const wrong of [other.id, other.client_id, 'conn_app_01HXYZK8N5V3Q2W1R0T9M8P7J6', 'x']) {
      for (const action of ['disable', 'enable', 'keep', 'edit', 'revoke']) {
        const reply = await owner.post(`/dashboard/applications/${wrong}/secrets/${secret.id}/${action}`, fields)
        expect([action, reply.status, reply.trips]).toEqual([action, 404, 1])
      }
    }
    const { secret: _, ...unchanged } = secret
    expect(await list(id)).toEqual([unchanged])
  })

  test('the page that revokes a secret warns if the secret was used within a week, or is the last active one', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}/secrets`
    const created = await create(id)
    const ask = async () => (await owner.get(`${page}/${created.id}/revoke`)).html
    expect(await ask()).toContain(`…${created.secret_hint}`)
    expect(await ask()).toContain('Nightly export')
    expect(await ask()).toContain('Never used')
    expect(await ask()).toContain('the last secret that works')
    expect(await ask()).not.toContain('within the last week')
    await verify(created.secret)
    expect(await ask()).toContain('within the last week')
    const disabled = await create(id)
    await call(apiKey, 'PATCH', `/connect/client_secrets/${disabled.id}`, { body: { disabled: true } })
    expect(await ask()).toContain('the last secret that works')
    const soon = await create(id, { expires_at: daysFromNow(2) })
    expect(await ask()).toContain('the last active secret')
    await call(apiKey, 'DELETE', `/connect/client_secrets/${soon.id}`)
    await create(id)
    expect(await ask()).not.toMatch(/the last (active )?secret/)
  })

  test('a secret counts as the last active one if a rotation has made all others expire', async () => {
    const { id } = await newApplication(apiKey)
    const page = `/dashboard/applications/${id}`
    await create(id)
    await owner.submit(`${page}/rotate`, { grace: '604800', lifetime: '0' })
    const [, latest] = await list(id)
    const { html } = await owner.get(`${page}/secrets/${latest.id}/revoke`)
    expect(html).toContain('the last active secret')
    expect(html).toContain('in 7 days')
  })
})

describe('the limits of a secret', () => {
  const SCOPED = { name: 'Nightly', application_type: 'm2m', organization_id: 'org_1', scopes: ['read', 'write'] }
  const limits = { scopes: ['read'], allowed_ips: ['203.0.113.0/24', '2001:db8::1'] }
  const fields = { scopes: ' read ', allowed_ips: '203.0.113.0/24\r\n2001:DB8::1, ', lifetime: '0' }

  test('a new secret has the limits of the form, and its page shows them', async () => {
    const { id } = await newApplication(apiKey, SCOPED)
    const reply = await owner.submit(`/dashboard/applications/${id}/new-secret`, fields)
    expect([reply.status, reply.trips]).toEqual([200, 1])
    const [secret] = await list(id)
    expect(secret).toMatchObject(limits)
    const { html } = await owner.get(`/dashboard/secrets/${secret.id}`)
    expect(html).toContain('<code>read</code>')
    expect(html).toContain('<code>203.0.113.0/24 2001:db8::1</code>')
  })

  test('a refused form with an invalid limit keeps its fields, and marks the invalid field', async () => {
    const { id } = await newApplication(apiKey, SCOPED)
    const page = `/dashboard/applications/${id}/new-secret`
    const refused = await owner.submit(page, { ...fields, allowed_ips: '203.0.113.7/24' })
    expect([refused.status, refused.trips]).toEqual([422, 1])
    expect(refused.html).toContain('>203.0.113.7/24</textarea>')
    expect(refused.html).toContain('Must be zero after the prefix')
    const unknown = await owner.submit(page, { ...fields, scopes: 'admin' })
    expect([unknown.status, unknown.trips]).toEqual([422, 1])
    expect(unknown.html).toContain('scopes must have only scopes of the application.')
    expect(await list(id)).toEqual([])
  })

  test('the form of a secret shows its limits, keeps unchanged ones when it is saved, and removes those that are emptied', async () => {
    const { id } = await newApplication(apiKey, SCOPED)
    const secret = await create(id, limits)
    const form = `/dashboard/applications/${id}/secrets/${secret.id}/edit`
    const { html } = await owner.get(form)
    expect(html).toContain('value="read"')
    expect(html).toContain('>203.0.113.0/24\n2001:db8::1</textarea>')
    const shown = { name: 'x', lifetime: 'same', scopes: 'read', allowed_ips: '203.0.113.0/24\r\n2001:db8::1' }
    await owner.submit(form, shown)
    expect((await list(id))[0]).toMatchObject({ name: 'x', ...limits })
    await owner.submit(form, { ...shown, allowed_ips: '' })
    expect((await list(id))[0]).not.toHaveProperty('allowed_ips')
    expect((await list(id))[0]).toMatchObject({ scopes: ['read'] })
  })

  test('the replacement of a secret, in a rotation or because the secret did not arrive, has the same limits', async () => {
    const { id } = await newApplication(apiKey, SCOPED)
    const page = `/dashboard/applications/${id}`
    const form = { ...hiddenFields((await owner.get(`${page}/new-secret`)).html), ...fields }
    await owner.post(`${page}/new-secret`, form)
    await create(id, { scopes: ['write'] })
    const again = await owner.post(`${page}/new-secret`, form)
    await owner.post(`${page}/replace-secret`, hiddenFields(again.html))
    expect((await list(id)).at(-1)).toMatchObject(limits)
    await owner.submit(`${page}/rotate`, { grace: '3600', lifetime: '0' })
    expect((await list(id)).at(-1)).toMatchObject(limits)
  })

  test('the forms offer no lifetime above the maximum of the environment', async () => {
    const { apiKey } = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(apiKey)
    const { id } = await newApplication(apiKey)
    const { json } = await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`, { body: {} })
    const page = `/dashboard/applications/${id}`
    const offered = async (path: string) =>
      [...(await visitor.get(path)).html.matchAll(/name="lifetime" value="(\w+)"( checked)?/g)].map(
        ([, days, isChosen]) => [days, isChosen !== undefined],
      )
    // A secret that never expires keeps it by the first choice, so there is no other one for it.
    const choices = (await offered(`${page}/secrets/${json.id}/edit`)).map(([days]) => days)
    expect(choices).toEqual(['same', '30', '90', '365'])
    await call(apiKey, 'PATCH', '/connect/environment', { body: { max_lifetime_days: 60 } })
    for (const form of ['new-secret', 'rotate']) {
      expect(await offered(`${page}/${form}`)).toEqual([
        ['60', true],
        ['30', false],
      ])
    }
    expect(await offered(`${page}/secrets/${json.id}/edit`)).toEqual([
      ['same', true],
      ['30', false],
    ])
    const refused = await visitor.submit(`${page}/new-secret`, { lifetime: '90' })
    expect([refused.status, refused.trips]).toEqual([422, 1])
    expect(refused.html).toContain('within the longest lifetime of secrets in this environment')
  })
})
