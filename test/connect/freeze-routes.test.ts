import { env } from 'cloudflare:workers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, m2mApplication, newApiKey, operatorDatabase } from '../api.ts'
import { Visitor } from '../dashboard/pages.ts'
import { type Client, newClient, newSecret } from '../oauth/client.ts'
import { secretsOf } from '../requests.ts'

/**
 * Each route that can change something, in a frozen environment. `refused` issues a credential, or lets one do more or
 * work for longer. `works` does neither: it names what is there, or restricts it.
 */

const APPLICATION = '/dashboard/applications/{application}'
const SECRET = `${APPLICATION}/secrets/{secret}`
const IN_A_YEAR = new Date(Date.now() + 365 * 86_400_000).toISOString()
const SOON = new Date(Date.now() + 86_400_000).toISOString()
const NEW_SECRET = { name: 'new', lifetime: '0', token: '{token}' }
const SETTINGS = { leak_reaction: 'disable', max_lifetime_days: '90', max_unused_days: '90' }

type Body = Readonly<Record<string, unknown>>
type Case = readonly [route: string, body: Body]
const withBodies = (cases: readonly (readonly [route: string, body?: Body])[]): Case[] =>
  cases.map(([route, body = {}]) => [route, body])

const REFUSED = withBodies([
  ['POST /connect/applications/{application}/client_secrets'],
  ['POST /connect/applications/{application}/client_secrets/rotate'],
  ['PUT /connect/applications/{application}', { scopes: ['a', 'b', 'c'] }],
  ['PATCH /connect/client_secrets/{disabled}', { disabled: false }],
  ['PATCH /connect/client_secrets/{secret}', { expires_at: IN_A_YEAR }],
  ['PATCH /connect/client_secrets/{secret}', { expires_at: null }],
  ['PATCH /connect/client_secrets/{rotated}', { expires_at: IN_A_YEAR }],
  ['PATCH /connect/client_secrets/{secret}', { scopes: null }],
  ['PATCH /connect/client_secrets/{secret}', { scopes: ['b'] }],
  ['PATCH /connect/client_secrets/{secret}', { allowed_ips: null }],
  ['PATCH /connect/client_secrets/{secret}', { allowed_ips: ['203.0.112.0/23'] }],
  ['PATCH /connect/client_secrets/{secret}', { allowed_ips: ['203.0.113.7', '2001:db8::1', '::1'] }],
  ['PATCH /connect/client_secrets/{secret}', { name: 'renamed', scopes: null }],
  ['PATCH /connect/environment', { leak_reaction: 'notify' }],
  ['PATCH /connect/environment', { max_lifetime_days: 91 }],
  ['PATCH /connect/environment', { max_lifetime_days: null }],
  ['PATCH /connect/environment', { max_unused_days: 91 }],
  ['PATCH /connect/environment', { max_unused_days: null, leak_reaction: 'revoke' }],
  [`POST ${APPLICATION}/edit`, { type: 'm2m', name: 'renamed', scopes: 'a b c' }],
  [`POST ${APPLICATION}/new-secret`, NEW_SECRET],
  [`POST ${APPLICATION}/rotate`, { ...NEW_SECRET, grace: '3600' }],
  [`POST ${APPLICATION}/replace-secret`, { ...NEW_SECRET, secret: '{secret}' }],
  [`POST ${SECRET}/edit`, { name: 'renamed', lifetime: '0', scopes: 'a', allowed_ips: '203.0.113.0/24' }],
  [`POST ${SECRET}/edit`, { name: 'renamed', lifetime: 'same', scopes: '', allowed_ips: '203.0.113.0/24' }],
  [`POST ${APPLICATION}/secrets/{disabled}/enable`],
  [`POST ${APPLICATION}/secrets/{rotated}/keep`],
  ['POST /dashboard/secrets/{disabled}/enable'],
  ['POST /dashboard/secrets/{rotated}/keep'],
  ['POST /dashboard/settings', { ...SETTINGS, leak_reaction: 'notify' }],
  ['POST /dashboard/keys/new', { name: 'new', access: 'read', lifetime: '0', token: '{token}' }],
  ['POST /dashboard/webhooks/new', { url: 'https://other.example/hooks', token: '{token}' }],
])

/** In an order in which none takes away what a later one needs. */
const WORKS = withBodies([
  ['POST /connect/client_secrets/verify', { client_secret: '{plaintext}' }],
  ['POST /connect/applications', m2mApplication],
  ['PUT /connect/applications/{application}', { name: 'renamed', scopes: ['b', 'a'] }],
  ['PUT /connect/applications/{application}', { scopes: ['a'] }],
  ['PATCH /connect/client_secrets/{secret}', { name: 'renamed', disabled: false }],
  ['PATCH /connect/client_secrets/{secret}', { allowed_ips: ['203.0.113.128/25', '2001:db8:0:1::/64'] }],
  ['PATCH /connect/client_secrets/{secret}', { allowed_ips: ['203.0.113.200'] }],
  ['PATCH /connect/client_secrets/{secret}', { expires_at: SOON, scopes: ['a'] }],
  ['PATCH /connect/client_secrets/{unlimited}', { expires_at: SOON, scopes: ['a'], allowed_ips: ['::/0'] }],
  ['PATCH /connect/client_secrets/{unlimited}', { disabled: true }],
  ['PATCH /connect/environment', { leak_reaction: 'revoke', max_lifetime_days: 89, max_unused_days: 89 }],
  ['PATCH /connect/environment', { frozen: true }],
  ['POST /dashboard/sign-in', { api_key: '{apiKey}' }],
  ['POST /dashboard/search', { q: 'x' }],
  ['POST /dashboard/find', { q: 'x' }],
  ['POST /dashboard/secrets'],
  ['POST /dashboard/events'],
  ['POST /dashboard/applications/new', { ...NEW_SECRET, kind: 'm2m', organization_id: m2mApplication.organization_id }],
  [`POST ${APPLICATION}/edit`, { type: 'm2m', name: 'renamed', scopes: 'a' }],
  [`POST ${SECRET}/edit`, { name: 'again', lifetime: 'same', scopes: 'a', allowed_ips: '203.0.113.200' }],
  [`POST ${SECRET}/disable`],
  ['POST /dashboard/secrets/{secret}/disable'],
  [`POST ${SECRET}/revoke`],
  ['POST /dashboard/secrets/{rotated}/revoke'],
  ['POST /dashboard/secrets/bulk', { secret: '{unlimited}', action: 'revoke' }],
  ['POST /dashboard/secrets/bulk/confirm', { secrets: '{unlimited} {disabled}', action: 'revoke', typed: 'revoke 2' }],
  ['POST /dashboard/webhooks/{endpoint}/pause'],
  ['POST /dashboard/webhooks/{endpoint}/resume'],
  ['POST /dashboard/webhooks/{endpoint}/resend'],
  ['POST /dashboard/webhooks/{endpoint}/test'],
  ['POST /dashboard/webhooks/resend', { endpoint: '{endpoint}', event: 'event_0' }],
  ['POST /dashboard/webhooks/{endpoint}/delete'],
  ['POST /dashboard/settings', { ...SETTINGS, leak_reaction: 'revoke', max_lifetime_days: '1', max_unused_days: '1' }],
  ['POST /dashboard/keys/{key}/rename', { name: 'renamed' }],
  ['POST /dashboard/keys/{key}/revoke'],
  ['DELETE /connect/client_secrets/{secret}'],
  ['DELETE /connect/applications/{application}/client_secrets'],
  [`POST ${APPLICATION}/revoke-all`],
  [`POST ${APPLICATION}/delete`, { name: 'renamed', expected: 'renamed' }],
  ['DELETE /connect/applications/{application}'],
  ['POST /dashboard/settings/freeze'],
  ['POST /dashboard/settings/unfreeze'],
  ['POST /dashboard/sessions/{session}/end'],
  ['POST /dashboard/sign-out'],
])

const visitor = new Visitor()
let client: Client
let values: Record<string, string>

const fill = (text: string) =>
  text.replace(/\{(\w+)\}/g, (_, name) =>
    name === 'token' ? `${Date.now().toString(36)}-${crypto.randomUUID()}` : `${values[name]}`,
  )

async function send([route, body]: Case): Promise<{ status: number; text: string }> {
  const [method = '', path = ''] = fill(route).split(' ')
  const filled = JSON.parse(JSON.stringify(body), (_, value) => (typeof value === 'string' ? fill(value) : value))
  if (!path.startsWith('/dashboard')) return call(client.apiKey, method, path, { body: filled })
  const { status, html } = await visitor.post(path, filled)
  return { status, text: html }
}

async function rows(): Promise<unknown> {
  const tables = ['applications', 'client_secrets', 'events', 'api_keys', 'webhook_endpoints']
  const results = await env.DB.batch<object>([
    ...tables.map((table) =>
      env.DB.prepare(`SELECT * FROM ${table} WHERE environment_id = ?`).bind(client.environmentId),
    ),
    env.DB.prepare('SELECT * FROM environments WHERE id = ?').bind(client.environmentId),
  ])
  return results.map(({ results }) => results.map((row) => ({ ...row, last_used_at: null })))
}

afterAll(() => void vi.unstubAllGlobals())

beforeAll(async () => {
  // Webhooks stay inside.
  vi.stubGlobal('fetch', async () => new Response())
  client = await newClient({ ...m2mApplication, scopes: ['a', 'b'] })
  const { apiKey, applicationId, environmentId } = client
  const patch = (id: string, body: object) => call(apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body })
  const rotated = client.secretId
  const { json: secret } = await call(apiKey, 'POST', `${secretsOf(applicationId)}/rotate`)
  await patch(secret.id, {
    ...{ expires_at: new Date(Date.now() + 30 * 86_400_000).toISOString(), scopes: ['a'] },
    allowed_ips: ['203.0.113.0/24', '2001:db8::/32'],
  })
  const [disabled, unlimited] = [await newSecret(client), await newSecret(client)]
  await patch(disabled.secretId, { disabled: true })
  const key = await newApiKey({ environmentId })
  const endpoint = newId('we', Date.now())
  const hook = { id: endpoint, environmentId, url: 'https://hook.example/', events: [], createdAt: Date.now() }
  await createWebhookEndpoint(operatorDatabase(), { ...hook, secret: (await issueCredential('whsec', '0')).plaintext })
  await env.DB.prepare(
    `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
    VALUES (?, 'event_0', ?, 'dead', 1, 1, 1)`,
  )
    .bind(endpoint, environmentId)
    .run()
  await visitor.signIn(apiKey)
  const session = await env.DB.prepare('SELECT id FROM sessions WHERE environment_id = ?')
    .bind(environmentId)
    .first('id')
  values = {
    ...{ application: applicationId, secret: secret.id, rotated, disabled: disabled.secretId },
    ...{
      unlimited: unlimited.secretId,
      plaintext: unlimited.secret,
      key: key.id,
      apiKey,
      endpoint,
      session: `${session}`,
    },
  }
  await call(apiKey, 'PATCH', '/connect/environment', {
    body: { leak_reaction: 'disable', max_lifetime_days: 90, max_unused_days: 90 },
  })
  expect((await call(apiKey, 'PATCH', '/connect/environment', { body: { frozen: true } })).json.frozen_at).toMatch(/Z$/)
})

describe('in a frozen environment', () => {
  test.each(REFUSED)('%s %j is refused, and changes nothing', async (...one: Case) => {
    const before = await rows()
    const { status, text } = await send(one)
    expect([status, text]).toEqual([422, expect.stringMatching(/environment_frozen|The environment is frozen/)])
    expect(await rows()).toEqual(before)
  })

  test.each(WORKS)('%s %j works', async (...one: Case) => {
    const { status, text } = await send(one)
    expect(status, text).toBeLessThan(400)
  })
})

test('the tests of a frozen environment call every route that can change something', () => {
  const generic = ([route]: Case) =>
    route
      .replace(/\/applications\/\{\w+\}|\/keys\/\{\w+\}|\/sessions\/\{\w+\}|\/webhooks\/\{\w+\}/g, (part) =>
        part.replace(/\{\w+\}/, ':id'),
      )
      .replace(/\/client_secrets\/\{\w+\}/, '/client_secrets/:id')
      .replace(/\/secrets\/\{\w+\}/, '/secrets/:secret')
  const routes = app.routes
    .filter(({ method }) => method !== 'ALL' && method !== 'GET')
    .map(({ method, path }) => `${method} ${path}`)
  // The OAuth endpoints and reports of leaks have no API key: see freeze.test.ts and leaks.test.ts.
  const others = ['POST /oauth2/token', 'POST /oauth2/introspection', 'POST /leaks']
  expect([...new Set([...REFUSED, ...WORKS].map(generic)), ...others].sort()).toEqual([...new Set(routes)].sort())
})
