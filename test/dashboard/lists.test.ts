import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { Visitor } from './pages.ts'

const owner = new Visitor()
const reader = new Visitor()
const stranger = new Visitor()

beforeAll(async () => {
  const { apiKey, environmentId } = await newApiKey()
  await owner.signIn(apiKey)
  await reader.signIn((await newApiKey({ environmentId, access: 'read' })).apiKey)
  await stranger.signIn((await newApiKey()).apiKey)
  await createWebhookEndpoint(operatorDatabase(env.DB), {
    id: newId('we', Date.now()),
    environmentId,
    url: 'https://localhost/hooks?token=of-the-receiver',
    events: [],
    secret: 'whsec_inside',
    createdAt: Date.now(),
  })
  await newApplication(apiKey)
})

describe('the list of webhooks', () => {
  test('a failed delivery is listed, and the page can send it again', async () => {
    await env.DB.prepare("UPDATE webhook_deliveries SET state = 'dead', last_outcome = '500', attempts = 11").run()
    const { html } = await owner.get('/dashboard/webhooks')
    expect(html).toContain('Failed')
    const [form = ''] = /action="\/dashboard\/webhooks\/resend".*?<\/form>/s.exec(html) ?? []
    const field = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(form)?.[1] ?? ''
    const delivery = { endpoint: field('endpoint'), event: field('event') }
    expect((await stranger.post('/dashboard/webhooks/resend', delivery)).status).toBe(404)
    expect((await reader.post('/dashboard/webhooks/resend', delivery)).status).toBe(403)
    const reply = await owner.post('/dashboard/webhooks/resend', delivery)
    expect(reply.headers.get('Location')).toBe('/dashboard/webhooks')
    const state = await env.DB.prepare('SELECT state FROM webhook_deliveries WHERE event_id = ?')
      .bind(delivery.event)
      .first('state')
    expect(state).not.toBe('dead')
  })

  test('the list of webhooks shows URLs without their query, which may contain a token', async () => {
    for (const visitor of [owner, reader]) {
      const { html } = await visitor.get('/dashboard/webhooks')
      expect(html).toContain('https://localhost/hooks?…')
      expect(html).not.toContain('of-the-receiver')
    }
  })

  test('the list of webhooks says so if it shows only the latest ten deliveries', async () => {
    expect((await owner.get('/dashboard/webhooks')).html).not.toContain('Only the latest 10')
    await env.DB.prepare(
      `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
      SELECT webhook_endpoints.id, 'event_' || value, environment_id, 'delivered', 1, 0, 0 FROM webhook_endpoints, json_each(?)
      WHERE url LIKE 'https://localhost/hooks?%'`,
    )
      .bind(JSON.stringify(Array.from({ length: 10 }, (_, i) => i)))
      .run()
    expect((await owner.get('/dashboard/webhooks')).html).toContain('Only the latest 10')
  })
})

describe('a notice', () => {
  test('a notice is shown once, on the page after the change', async () => {
    const { headers } = await owner.submit('/dashboard/applications/new', {
      kind: 'm2m',
      name: 'x',
      organization_id: 'org_1',
    })
    const path = headers.get('Location') ?? ''
    expect((await owner.get(path)).html).toContain('Application created.')
    expect((await owner.get(path)).html).not.toContain('Application created.')
  })

  test.each(['/dashboard?notice=application-deleted', '/dashboard?notice=constructor'])(
    'the URL %s cannot create a notice',
    async (path) => {
      expect((await owner.get(path)).html).not.toContain('class="notice')
    },
  )

  test('if the cookie that names a notice has an unknown value, the page shows no notice', async () => {
    for (const notice of ['constructor', '__proto__', '<b>']) {
      owner.cookies.set('__Host-notice', notice)
      expect((await owner.get('/dashboard')).html).not.toContain('class="notice')
    }
  })
})
