import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { call, newApiKey, newApplication, send } from '../api.ts'
import { hiddenFields, ORIGIN, shownSecret, Visitor } from './pages.ts'

const KEYS = '/dashboard/keys'
const WEBHOOKS = '/dashboard/webhooks'
const JSON_BODY = { 'Content-Type': 'application/json' }

const owner = new Visitor()
const reader = new Visitor()
const stranger = new Visitor()
let apiKey: string
let environmentId: string

beforeAll(async () => {
  const key = await newApiKey()
  apiKey = key.apiKey
  environmentId = key.environmentId
  await owner.signIn(apiKey)
  await reader.signIn((await newApiKey({ environmentId, access: 'read' })).apiKey)
  await stranger.signIn((await newApiKey()).apiKey)
})

/** Types of the latest events of the environment, newest first. */
async function latestEvents(limit: number): Promise<{ event: string; data: Record<string, unknown> }[]> {
  return (await call(apiKey, 'GET', `/events?limit=${limit}&order=desc`)).json.data
}

describe('an API key', () => {
  test.each(['read', 'write'])('an API key is created with %s access, and shown once', async (access) => {
    const { html } = await owner.get(`${KEYS}/new`)
    const fields = { ...hiddenFields(html), name: `robot ${access}`, access, lifetime: '0' }
    const created = await owner.post(`${KEYS}/new`, fields)
    expect([created.status, created.trips]).toEqual([200, 1])
    const plaintext = shownSecret(created.html)
    expect(plaintext).toMatch(/^sk_0[0-9A-Za-z]{49}$/)
    expect(created.html).toContain(`ONCEKEY_API_KEY=${plaintext}`)
    expect((await call(plaintext, 'GET', '/events?limit=1')).status).toBe(200)
    const made = await call(plaintext, 'POST', '/connect/applications', {
      body: { name: 'x', application_type: 'm2m', organization_id: 'org_1' },
    })
    expect(made.status).toBe(access === 'write' ? 201 : 403)
    const list = await owner.get(KEYS)
    expect(list.html).toContain(`robot ${access}`)
    expect(list.html).not.toContain(plaintext)
    const event = (await latestEvents(5)).find(({ event }) => event === 'api_key.created')
    expect(event?.data).toMatchObject({ name: `robot ${access}`, access })
    expect(JSON.stringify(await latestEvents(5))).not.toContain(plaintext)

    const again = await owner.post(`${KEYS}/new`, fields)
    expect(again.status).toBe(409)
    expect(again.html).toContain('This API key was already created')
    expect(shownSecret(again.html)).toBe('')
    const count = 'SELECT count(*) AS n FROM api_keys WHERE name = ?'
    expect(await env.DB.prepare(count).bind(`robot ${access}`).first('n')).toBe(1)
  })

  test.each([
    [{ name: '', access: 'read' }, 'name'],
    [{ name: 'x', access: 'admin' }, 'access'],
    [{ name: '\u0007', access: 'read' }, 'name'],
  ])('an API key is not created with the invalid fields %j', async (fields, member) => {
    const reply = await owner.submit(`${KEYS}/new`, { lifetime: '0', ...fields })
    expect([reply.status, reply.trips]).toEqual([422, 1])
    expect(reply.html).toContain(member === 'name' ? 'id="name-error"' : 'class="error"')
  })

  test('an API key is not created if the environment has 100 keys that have not expired', async () => {
    const full = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(full.apiKey)
    await env.DB.prepare(
      `INSERT INTO api_keys (id, environment_id, name, digest, access, created_at)
      SELECT 'k' || value || ?1, ?1, 'filler', randomblob(32), 'read', 1
      FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 99) SELECT value FROM n)`,
    )
      .bind(full.environmentId)
      .run()
    const reply = await visitor.submit(`${KEYS}/new`, { name: 'one more', access: 'read', lifetime: '0' })
    expect(reply.status).toBe(422)
    expect(reply.html).toContain('Limit reached')
    expect(reply.html).toContain('Sign out')
    await env.DB.prepare("UPDATE api_keys SET key_expires_at = ? WHERE environment_id = ? AND name = 'filler'")
      .bind(Date.now(), full.environmentId)
      .run()
    expect((await visitor.submit(`${KEYS}/new`, { name: 'one more', access: 'read', lifetime: '0' })).html).toContain(
      'sk_',
    )
    // The list shows 100 keys, and expired ones last.
    const { html } = await visitor.get(KEYS)
    expect(html.indexOf('one more')).toBeLessThan(html.indexOf('filler'))
  })

  test('an expired API key counts neither as a key with write access nor as an unused key', async () => {
    const only = await newApiKey()
    const expired = await newApiKey({ environmentId: only.environmentId, expiresAt: Date.now() })
    await env.DB.prepare('UPDATE api_keys SET created_at = 1 WHERE id = ?').bind(expired.id).run()
    const visitor = new Visitor()
    await visitor.signIn(only.apiKey)
    const text = 'This is the last API key with write access'
    expect((await visitor.get(`${KEYS}/${only.id}/revoke`)).html).toContain(text)
    expect((await visitor.get(`${KEYS}/${expired.id}/revoke`)).html).not.toContain(text)
    const { html } = await visitor.get('/dashboard')
    expect(html).toContain('<a href="/dashboard/keys"><b>1</b>')
    expect(html).not.toContain('Unused API key')
  })

  test.each([
    ['an expiry', 'key_expires_at = unixepoch() * 1000 + 3600000'],
    ['IP ranges', `allowed_ips = '{"::/0":"","0.0.0.0/0":""}'`],
  ])("an API key with %s can't create a key, because the new key would not have this limit", async (_, limit) => {
    const limited = await newApiKey()
    await env.DB.exec(`UPDATE api_keys SET ${limit} WHERE id = '${limited.id}'`)
    const visitor = new Visitor()
    await visitor.signIn(limited.apiKey)
    const reply = await visitor.submit(`${KEYS}/new`, { name: 'wider', access: 'write', lifetime: '0' })
    expect(reply.status).toBe(403)
    const { results } = await env.DB.prepare('SELECT id FROM api_keys WHERE environment_id = ?')
      .bind(limited.environmentId)
      .all()
    expect(results).toEqual([{ id: limited.id }])
  })

  test('an API key is created with permissions, an expiry and IP ranges, and the list shows them', async () => {
    const limits = {
      access: 'some',
      'secrets:verify': 'on',
      lifetime: '90',
      allowed_ips: '203.0.113.0/24\n2001:DB8::/32',
    }
    const created = await owner.submit(`${KEYS}/new`, { name: 'gateway', ...limits })
    expect(created.status).toBe(200)
    const [event] = await latestEvents(1)
    expect(event?.data).toMatchObject({
      access: 'read',
      permissions: ['secrets:verify'],
      allowed_ips: ['203.0.113.0/24', '2001:db8::/32'],
      expires_at: expect.stringMatching(/Z$/),
    })
    const { html } = await owner.get(KEYS)
    expect(html).toContain('from 203.0.113.0/24, 2001:db8::/32')
    expect(html).toMatch(/secrets:verify<.*data-label="Expires"[^>]*><div><time/s)
    const headers = { 'CF-Connecting-IP': '203.0.113.9' }
    const verify = { body: { client_secret: 'cs_0' }, headers }
    const plaintext = shownSecret(created.html)
    expect((await call(plaintext, 'POST', '/connect/client_secrets/verify', verify)).status).toBe(200)
    expect((await call(plaintext, 'GET', '/events', { headers })).status).toBe(403)
  })

  test.each([
    [{ access: 'some' }, 'Choose at least one permission.'],
    [
      { access: 'read', 'secrets:verify': 'on' },
      'You selected single permissions. Choose “Only some permissions”, or clear your selection.',
    ],
    [{ access: 'read', lifetime: 'x' }, 'Choose when the key expires.'],
    [{ access: 'read', allowed_ips: '203.0.113' }, 'id="allowed_ips-error"'],
  ])('an API key is not created with the limits %j', async (fields, text) => {
    const reply = await owner.submit(`${KEYS}/new`, { name: 'x', lifetime: '0', ...fields })
    expect(reply.status).toBe(422)
    expect(reply.html).toContain(text)
  })

  test('an API key, an endpoint and a secret that are reported as leaked are marked in their lists', async () => {
    const leaked = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(leaked.apiKey)
    const application = await newApplication(leaked.apiKey)
    const { json } = await call(leaked.apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)
    const hook = await visitor.submit(`${WEBHOOKS}/new`, { url: 'https://hooks.example/leaked' })
    const lists = [KEYS, WEBHOOKS, '/dashboard/secrets']
    const marks = async () =>
      Promise.all(lists.map(async (path) => (await visitor.get(path)).html.split('Reported as leaked').length - 1))
    expect(await marks()).toEqual([0, 0, 0])
    for (const credential of [leaked.apiKey, shownSecret(hook.html), json.secret])
      await send(
        new Request(`${ORIGIN}/leaks`, { method: 'POST', body: JSON.stringify({ credential }), headers: JSON_BODY }),
      )
    expect(await marks()).toEqual([1, 1, 1])
    expect((await visitor.get(`${KEYS}/${leaked.id}/revoke`)).html).toContain('It was reported as leaked <time')
  })

  test('an API key is renamed, and keeps working', async () => {
    const key = await newApiKey({ environmentId })
    const path = `${KEYS}/${key.id}/rename`
    expect((await owner.submit(path, { name: ' ' })).status).toBe(422)
    for (let i = 0; i < 2; i++)
      expect((await owner.submit(path, { name: 'renamed' })).headers.get('Location')).toBe(KEYS)
    expect((await owner.get(KEYS)).html).toContain('API key renamed.')
    expect((await call(key.apiKey, 'GET', '/events?limit=1')).json.data).toHaveLength(1)
    const renames = (await latestEvents(20)).filter(({ event }) => event === 'api_key.updated')
    expect(renames.map(({ data }) => data)).toMatchObject([{ id: key.id, name: 'renamed' }])
    expect((await reader.get(path)).status).toBe(403)
    expect((await stranger.get(path)).status).toBe(404)
  })

  test('an API key is not created by a read-only key', async () => {
    expect((await reader.get(`${KEYS}/new`)).status).toBe(403)
    expect((await reader.get(KEYS)).html).not.toContain(`${KEYS}/new`)
  })
})

describe('sessions', () => {
  test('the list of sessions has the IP address and the browser of each sign-in, and the end of each session', async () => {
    const visitor = new Visitor()
    const key = await newApiKey()
    const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    const request = { 'User-Agent': agent, 'CF-Connecting-IP': '203.0.113.7' }
    const signedIn = await visitor.post('/dashboard/sign-in', { api_key: key.apiKey }, request)
    expect(signedIn.status).toBe(303)
    const { html } = await visitor.get(KEYS)
    expect(html).toContain('203.0.113.7')
    expect(html).toContain(`title="${agent}"><bdi>Firefox 140 on Linux<`)
    expect(html).toContain('after 12 hours')
    expect(html).toMatch(/Ends by.*in 12 hours/s)
  })
})

describe('a webhook endpoint', () => {
  const url = 'https://hooks.example/oncekey?token=of-the-receiver'

  /** Creates one in the dashboard, and returns its ID and secret. */
  async function create(fields: Record<string, string> = { url }) {
    const reply = await owner.submit(`${WEBHOOKS}/new`, fields)
    expect([reply.status, reply.trips]).toEqual([200, 1])
    const newest = 'SELECT id FROM webhook_endpoints WHERE environment_id = ? ORDER BY created_at DESC, id DESC'
    return { id: String(await env.DB.prepare(newest).bind(environmentId).first('id')), secret: shownSecret(reply.html) }
  }

  test('a webhook endpoint is created, and its signing secret is shown once', async () => {
    const { id, secret } = await create({ url, 'api_key.created': 'on', 'api_key.revoked': 'on' })
    expect(secret).toMatch(/^whsec_/)
    const { html } = await owner.get(WEBHOOKS)
    expect(html).toContain(id)
    expect(html).toContain('and 1 more')
    expect(html).not.toContain(secret)
    expect(html).not.toContain('of-the-receiver')
    const [event] = await latestEvents(1)
    expect(event).toMatchObject({
      event: 'webhook_endpoint.created',
      data: { id, url: 'https://hooks.example/oncekey', events: ['api_key.created', 'api_key.revoked'] },
    })
    const cursor = await env.DB.prepare('SELECT cursor FROM webhook_endpoints WHERE id = ?').bind(id).first('cursor')
    const newest = 'SELECT seq FROM events WHERE environment_id = ? ORDER BY seq DESC'
    expect(cursor).toBe(await env.DB.prepare(newest).bind(environmentId).first('seq'))
  })

  test('a webhook endpoint is created once, however often its form is sent', async () => {
    const { html } = await owner.get(`${WEBHOOKS}/new`)
    const fields = { ...hiddenFields(html), url: 'https://once.example/' }
    expect((await owner.post(`${WEBHOOKS}/new`, fields)).status).toBe(200)
    const again = await owner.post(`${WEBHOOKS}/new`, fields)
    expect(again.status).toBe(409)
    expect(again.html).not.toContain('whsec_')
    const count = "SELECT count(*) AS n FROM webhook_endpoints WHERE url = 'https://once.example/'"
    expect(await env.DB.prepare(count).first('n')).toBe(1)
  })

  test.each(['http://hooks.example/', 'https://10.0.0.1/', 'https://localhost/', 'nothing', ''])(
    'a webhook endpoint is not created for the URL %s',
    async (invalid) => {
      const reply = await owner.submit(`${WEBHOOKS}/new`, { url: invalid })
      expect(reply.status).toBe(422)
      expect(reply.html).toContain('id="url-error"')
    },
  )

  test('a webhook endpoint is not created if the environment has 20 endpoints', async () => {
    const full = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(full.apiKey)
    // Each endpoint receives the creation of the next one.
    vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response(null, { status: 204 }))
    for (let i = 0; i < 20; i++) expect((await visitor.submit(`${WEBHOOKS}/new`, { url })).status).toBe(200)
    const reply = await visitor.submit(`${WEBHOOKS}/new`, { url })
    expect(reply.status).toBe(422)
    expect(reply.html).toContain('Limit reached')
    expect(reply.html).toContain('Sign out')
    vi.restoreAllMocks()
  })

  test.each([
    ['delivered', 204, 'Test event delivered', 'The receiver answered 204.'],
    ['refused', 500, 'Test event failed', 'The receiver answered 500.'],
  ])(
    'a test of a webhook endpoint sends one signed sample, and the page says that it was %s',
    async (_, status, title, text) => {
      const { id } = await create()
      const sent = vi.spyOn(globalThis, 'fetch').mockImplementation(async () => new Response(null, { status }))
      try {
        const before = await latestEvents(1)
        const { html, trips } = await owner.post(`${WEBHOOKS}/${id}/test`)
        expect(trips).toBe(1)
        expect(html).toContain(title)
        expect(html).toContain(text)
        expect(html).not.toContain('of-the-receiver')
        expect(sent).toHaveBeenCalledTimes(1)
        const [target, init] = sent.mock.calls[0] ?? []
        expect(target).toBe(url)
        expect(new Headers(init?.headers as HeadersInit).get('WorkOS-Signature')).toMatch(/^t=\d+, v1=/)
        expect(JSON.parse(String(init?.body))).toMatchObject({ event: 'connect_application_secret.created' })
        expect(await latestEvents(1)).toEqual(before)
      } finally {
        sent.mockRestore()
      }
    },
  )

  test('a test of a webhook endpoint that cannot be reached says so', async () => {
    const { id } = await create()
    const sent = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('refused'))
    try {
      expect((await owner.post(`${WEBHOOKS}/${id}/test`)).html).toContain('The receiver could not be reached.')
    } finally {
      sent.mockRestore()
    }
  })

  test('deleting a webhook endpoint twice deletes its signing secret and records one event', async () => {
    const { id } = await create()
    expect((await owner.get(`${WEBHOOKS}/${id}/delete`)).html).toContain('This can’t be undone.')
    for (let i = 0; i < 2; i++) {
      const reply = await owner.post(`${WEBHOOKS}/${id}/delete`)
      expect(reply.headers.get('Location')).toBe(WEBHOOKS)
    }
    expect((await owner.get(WEBHOOKS)).html).toContain('Webhook endpoint deleted.')
    const row = await env.DB.prepare('SELECT secret, deleted_at FROM webhook_endpoints WHERE id = ?').bind(id).first()
    expect(row).toMatchObject({ secret: '', deleted_at: expect.any(Number) })
    const events = (await latestEvents(5)).filter(({ event }) => event === 'webhook_endpoint.deleted')
    expect(events).toHaveLength(1)
    expect((await owner.post(`${WEBHOOKS}/${id}/test`)).status).toBe(404)
  })
})
