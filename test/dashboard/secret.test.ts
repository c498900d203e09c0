import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { requestToken } from '../oauth/client.ts'
import { Visitor } from './pages.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const owner = new Visitor()
let apiKey: string
let environmentId: string

beforeAll(async () => {
  ;({ apiKey, environmentId } = await newApiKey())
  await owner.signIn(apiKey)
})
afterEach(() => vi.useRealTimers())

/** A secret of an application of its own. */
async function create(body: object = {}, application: object = m2mApplication) {
  const { id: applicationId, client_id: clientId } = await newApplication(apiKey, application)
  const { json } = await call(apiKey, 'POST', `/connect/applications/${applicationId}/client_secrets`, { body })
  return {
    id: json.id as string,
    secret: json.secret as string,
    hint: json.secret_hint as string,
    applicationId,
    clientId,
  }
}

const patch = (id: string, body: object) => call(apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body })
const show = async (id: string) => (await owner.get(`/dashboard/secrets/${id}`)).html
/** The text of a page, without its tags and the isolates of names. */
const textOf = (html: string) => html.replace(/<[^>]+>|[\u2068\u2069]/g, '').replace(/\s+/g, ' ')

describe('the page of a secret', () => {
  test('the page of a secret says who created the secret, and how the secret was used', async () => {
    const expires_at = new Date(Date.now() + 30 * DAY).toISOString()
    const { id, ...client } = await create({ name: 'production', expires_at })
    const headers = { 'CF-Connecting-IP': '192.0.2.7', 'User-Agent': 'worker/1.0' }
    await requestToken({ ...client, secretId: id, apiKey, environmentId, audience: '' }, {}, { headers })
    const { html, trips } = await owner.get(`/dashboard/secrets/${id}`)
    const text = textOf(html)
    expect(text).toMatch(/Created.*by API key test/)
    expect(text).toContain('from 192.0.2.0/24 with worker/1.0')
    expect(text).not.toContain('192.0.2.7')
    expect(html).toContain('aria-label="Used on 1 of the last 30 days, in at most 1 minute of a day."')
    expect(text).toContain('this is not the number of uses')
    expect(html.match(/<rect /g)).toHaveLength(30)
    expect(trips).toBe(1)
    expect(html.length).toBeLessThan(60_000)
  })

  test('the page of a secret has each change with the values before and after it', async () => {
    const { id } = await create({ name: 'old <b>' })
    await patch(id, { name: 'new' })
    await patch(id, { disabled: true })
    const html = await show(id)
    expect(html).toContain('<del><bdi>old &lt;b&gt;</bdi></del> → <ins><bdi>new</bdi></ins>')
    expect(textOf(html)).toContain('State: Enabled → Disabled')
    const labels = [...html.matchAll(/<a href="\/dashboard\/events\/[^"]*">([^<]*)</g)].map(([, label]) => label)
    expect(labels).toEqual(['Secret disabled', 'Secret renamed', 'Secret created'])
  })

  test('the page of a secret names the secret that replaced it in a rotation', async () => {
    const { id, applicationId } = await create()
    const { json } = await call(apiKey, 'POST', `/connect/applications/${applicationId}/client_secrets/rotate`)
    const text = textOf(await show(id))
    expect(text).toContain(`Replaced in a rotation by API key test, with …${json.secret_hint}`)
    expect(text).toContain('Expires soon (rotated)')
    expect(textOf(await show(json.id))).toContain('Created in a rotation by API key test')
  })

  test('the page of a secret reads a bounded number of rows to find its events among 20,000 others', async () => {
    const { id } = await create()
    await patch(id, { name: 'x' })
    await env.DB.prepare(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
       INSERT INTO events (seq, id, environment_id, type, data, created_at)
       SELECT i, 'event_' || i, ?, 'connect_application_secret.refused', '{}', i FROM n`,
    )
      .bind(environmentId)
      .run()
    const { html, rowsRead } = await owner.get(`/dashboard/secrets/${id}`)
    expect(html).toContain('Secret renamed')
    expect(rowsRead).toBeLessThan(700)
    await env.DB.prepare("DELETE FROM events WHERE id LIKE 'event_%' AND length(id) < 20").run()
  })

  test('the page of a revoked secret lists its refused uses, with IP address and user agent', async () => {
    const { id, ...client } = await create()
    await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)
    const headers = { 'CF-Connecting-IP': '203.0.113.9', 'User-Agent': 'thief/1' }
    await requestToken({ ...client, secretId: id, apiKey, environmentId, audience: '' }, {}, { headers })
    expect(textOf(await show(id))).toContain('Secret refused by System')
    expect(textOf(await show(id))).toContain('203.0.113.9 · thief/1')
  })

  test('the page of a secret returns 404 if the secret is in another environment or does not exist', async () => {
    const { id } = await create()
    const stranger = new Visitor()
    await stranger.signIn((await newApiKey()).apiKey)
    for (const path of [`/dashboard/secrets/${id}`, '/dashboard/secrets/secret_x'])
      expect((await stranger.get(path)).status).toBe(404)
  })
})

describe('the page of a leaked secret', () => {
  test('the page of a leaked secret revokes it with one button, and says when its last access token expires', async () => {
    vi.setSystemTime(Date.UTC(2030, 0, 15, 3, 12))
    const visitor = new Visitor()
    await visitor.signIn(apiKey)
    const { id, hint } = await create()
    const before = textOf((await visitor.get(`/dashboard/secrets/${id}`)).html)
    expect(before).toContain(
      'accept the last one until 15 Jan 2030, 04:12 UTC at the latest, if you revoke the secret now',
    )
    expect(before).toContain(`Revoke …${hint} now`)
    expect(before).toContain('This application has no other working secret.')
    expect((await visitor.post(`/dashboard/secrets/${id}/revoke`)).headers.get('Location')).toBe(
      `/dashboard/secrets/${id}`,
    )
    vi.setSystemTime(Date.UTC(2030, 0, 15, 3, 30))
    const after = textOf((await visitor.get(`/dashboard/secrets/${id}`)).html)
    expect(after).toContain('it was revoked by API key test 15 Jan 2030, 03:12 UTC 18 minutes ago')
    expect(after).toContain('accept the last one until 15 Jan 2030, 04:12 UTC.')
    expect(after).not.toContain(`Revoke …${hint} now`)
  })

  test('the page of a leaked secret says that secrets of OAuth applications obtain no tokens', async () => {
    const { id } = await create({}, { name: 'x', application_type: 'oauth', is_first_party: true })
    expect(textOf(await show(id))).toContain('obtain no access tokens')
  })

  test('the page of a leaked secret still shows the secret after its application is deleted', async () => {
    const { id, applicationId } = await create()
    await call(apiKey, 'DELETE', `/connect/applications/${applicationId}`)
    const text = textOf(await show(id))
    expect(text).toContain('Revoked with its application by API key test')
    expect(text).toContain('(deleted)')
  })
})

test('disabling, enabling and keeping a secret redirects to the page of the secret', async () => {
  const { id, applicationId } = await create()
  await call(apiKey, 'POST', `/connect/applications/${applicationId}/client_secrets/rotate`)
  for (const [action, notice] of [
    ['disable', 'Secret disabled.'],
    ['enable', 'Secret enabled.'],
    ['keep', 'Secret kept.'],
  ]) {
    const reply = await owner.post(`/dashboard/secrets/${id}/${action}`)
    expect(reply.headers.get('Location')).toBe(`/dashboard/secrets/${id}`)
    expect(await show(id)).toContain(notice)
  }
})
