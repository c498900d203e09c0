import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, newApiKey, newApplication, operatorDatabase } from '../api.ts'
import { storeManySecrets, storeSecrets } from '../connect/inventory-rows.ts'
import { Visitor } from './pages.ts'

const OVERVIEW = '/dashboard'
const DAY_MS = 86_400_000

describe('the overview of an empty environment', () => {
  const visitor = new Visitor()
  let apiKey: string

  beforeAll(async () => {
    apiKey = (await newApiKey()).apiKey
    await visitor.signIn(apiKey)
  })

  test('the overview of an empty environment is a checklist of three steps, each marked as done after the step', async () => {
    const done = async () =>
      (await visitor.get(OVERVIEW)).html.match(/<span class="state good">Done<\/span>/g)?.length ?? 0
    const { html } = await visitor.get(OVERVIEW)
    expect(html).toMatch(/Create an application.*Create a client secret.*See its first use/s)
    expect(html).toContain('href="/dashboard/applications/new"')
    expect(html).not.toContain('Needs attention')
    expect(await done()).toBe(0)
    const { id } = await newApplication(apiKey)
    expect(await done()).toBe(1)
    const { json } = await call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`)
    expect(await done()).toBe(2)
    await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: json.secret } })
    const after = (await visitor.get(OVERVIEW)).html
    expect(after).not.toContain('Get started')
    expect(after).toContain('Nothing needs attention.')
  })

  test('the overview of an empty environment has no links for changes if the API key is read-only', async () => {
    const reader = new Visitor()
    await reader.signIn((await newApiKey({ access: 'read' })).apiKey)
    expect((await reader.get(OVERVIEW)).html).not.toContain('/new"')
  })
})

describe('the overview', () => {
  const visitor = new Visitor()
  let apiKey: string
  let environmentId: string
  let application: { id: string }

  const createSecret = async (body: object = {}) =>
    (await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`, { body })).json as {
      id: string
      secret: string
      secret_hint: string
    }
  const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString()

  beforeAll(async () => {
    const key = await newApiKey()
    apiKey = key.apiKey
    environmentId = key.environmentId
    await visitor.signIn(apiKey)
    application = await newApplication(apiKey)
    const used = await createSecret({ name: 'in use', expires_at: inDays(5) })
    await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: used.secret } })
    await createSecret({ name: 'soon', expires_at: inDays(2) })
    const old = await createSecret({ name: 'forgotten' })
    const idle = await newApiKey({ environmentId })
    const ending = await newApiKey({ environmentId })
    const endpointId = newId('we', Date.now())
    await createWebhookEndpoint(operatorDatabase(env.DB), {
      id: endpointId,
      environmentId,
      url: 'https://hooks.example/oncekey?token=of-the-receiver',
      events: [],
      secret: 'whsec_inside',
      createdAt: Date.now(),
    })
    const longAgo = Date.now() - 100 * DAY_MS
    await env.DB.batch([
      env.DB.prepare('UPDATE client_secrets SET created_at = ? WHERE id = ?').bind(longAgo, old.id),
      env.DB.prepare("UPDATE api_keys SET created_at = ?, name = 'idle' WHERE id = ?").bind(longAgo, idle.id),
      env.DB.prepare("UPDATE api_keys SET key_expires_at = ?, name = 'ending' WHERE id = ?").bind(
        Date.now() + 3 * DAY_MS,
        ending.id,
      ),
      env.DB.prepare(
        `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
        VALUES (?, 'event_x', ?, 'dead', 11, 0, 0)`,
      ).bind(endpointId, environmentId),
    ])
  })

  test('the overview lists problems, first the expiring secrets that are still used', async () => {
    const { html, trips } = await visitor.get(OVERVIEW)
    expect(trips).toBe(1)
    expect(html).toMatch(/Expires soon, in use.*in use.*Expires soon.*soon.*1 secret was not used for 90 days/s)
    expect(html).toMatch(/Webhook fails.*https:\/\/hooks\.example\/oncekey\?….*1 failed delivery/s)
    expect(html).toMatch(/Unused API key.*idle.*was never used/s)
    expect(html).toMatch(/Expires soon<.*API key .*ending.*expires <time/s)
    expect(html).not.toContain('of-the-receiver')
    expect(html).not.toContain('whsec_')
  })

  test('the overview has totals, each with a link to the list of the counted objects', async () => {
    const { html } = await visitor.get(OVERVIEW)
    for (const [href, count] of [
      ['/dashboard/applications', 1],
      ['/dashboard/secrets', 3],
      ['/dashboard/secrets?state=expiring&amp;sort=expires', 2],
      ['/dashboard/secrets?unused=90', 1],
      ['/dashboard/secrets?expiry=never', 1],
      ['/dashboard/webhooks', 1],
      ['/dashboard/keys', 3],
    ] as const)
      expect(html).toContain(`<a href="${href}"><b>${count}</b>`)
  })

  test('the overview has the latest changes, without sign-ins', async () => {
    const { html } = await visitor.get(OVERVIEW)
    expect(html).toMatch(/Recent changes.*Secret created/s)
    expect(html).not.toContain('<b>Signed in</b>')
  })

  test('the overview shows nothing of another environment', async () => {
    const stranger = new Visitor()
    await stranger.signIn((await newApiKey()).apiKey)
    const { html } = await stranger.get(OVERVIEW)
    for (const text of [application.id, 'forgotten', 'hooks.example', 'idle']) expect(html).not.toContain(text)
  })

  test('the overview says which of its lists are shortened, and links to the full lists', async () => {
    const key = await newApiKey()
    const busy = new Visitor()
    await busy.signIn(key.apiKey)
    const { id } = await newApplication(key.apiKey)
    const leaked = Array.from({ length: 9 }, (_, i) => ({ createdAt: Date.now() - i, name: `leaked ${i}` }))
    await storeSecrets(key.environmentId, id, leaked.slice(0, 8))
    const report = () =>
      env.DB.prepare('UPDATE client_secrets SET leak_reported_at = created_at WHERE environment_id = ?')
        .bind(key.environmentId)
        .run()
    await report()
    const all = '<a href="/dashboard/secrets?state=leaked">'
    expect((await busy.get(OVERVIEW)).html).not.toContain(all)
    await storeSecrets(key.environmentId, id, leaked.slice(8))
    await report()
    for (let i = 0; i < 14; i++) await newApiKey({ environmentId: key.environmentId })
    const others = await env.DB.prepare('SELECT id FROM api_keys WHERE environment_id = ? AND id <> ?')
      .bind(key.environmentId, key.id)
      .all<{ id: string }>()
    const set = async (ids: { id: string }[], column: string, at: number) => {
      for (const one of ids)
        await env.DB.prepare(`UPDATE api_keys SET ${column} = ? WHERE id = ?`).bind(at, one.id).run()
    }
    await set(others.results.slice(0, 8), 'key_expires_at', Date.now() + DAY_MS)
    await set(others.results.slice(0, 8), 'leak_reported_at', Date.now())
    await set(others.results.slice(8), 'created_at', Date.now() - 100 * DAY_MS)
    const { html } = await busy.get(OVERVIEW)
    expect(html).toContain(`More than 8 secrets. ${all}`)
    expect(html.split('was reported <time').length - 1).toBe(8 + 5)
    expect(html).toMatch(/Reported as leaked<\/span><span><a href="\/dashboard\/keys">3 more API keys<\/a>/)
    expect(html).toMatch(/Expiring keys<\/span><span><a href="\/dashboard\/keys">3 more API keys<\/a>/)
    expect(html).toMatch(/Unused API key<\/span><span><a href="\/dashboard\/keys">1 more API key<\/a>/)
    expect((await busy.get('/dashboard/secrets?state=leaked')).html).toContain('leaked 8')
  })

  test('the overview reads a bounded number of rows for 10,100 secrets, and shows large counts as “5,000+” and “1,000+”', async () => {
    const key = await newApiKey()
    const busy = new Visitor()
    await busy.signIn(key.apiKey)
    await storeManySecrets(key.environmentId, 10_100)
    await env.DB.batch([
      env.DB.prepare('UPDATE environments SET application_count = 1 WHERE id = ?').bind(key.environmentId),
      // The oldest ones.
      env.DB.prepare('UPDATE client_secrets SET expires_at = ?1 WHERE environment_id = ?2 AND id < ?3').bind(
        Date.now() + DAY_MS,
        key.environmentId,
        `secret_${'0'.repeat(22)}1101`,
      ),
    ])
    const { html, rowsRead } = await busy.get(OVERVIEW)
    expect(html).toContain('<b>5,000+</b>')
    expect(html).toContain('<b>1,000+</b> <span>Expiring')
    expect(html.split('expires <time').length - 1).toBe(8)
    expect(rowsRead).toBeLessThan(20_000)
  })
})
