import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import { createApiKey } from '../../src/storage/operator/api-keys.ts'
import { listEnvironments } from '../../src/storage/operator/environments.ts'
import { recordSigningKeyRotation } from '../../src/storage/operator/events.ts'
import { createWebhookEndpoint, deleteWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { call, newApiKey, newApplication, operatorDatabase, send } from '../api.ts'
import { hiddenFields, Visitor } from '../dashboard/pages.ts'

// biome-ignore lint/suspicious/noExplicitAny: its type depends on the type of the event, and the contract has been checked.
type Json = any

async function eventsOf(apiKey: string, type: string): Promise<Json[]> {
  return (await call(apiKey, 'GET', `/events?limit=100&events=${type}`)).json.data
}

const ORIGIN = { 'CF-Connecting-IP': '203.0.113.7', 'User-Agent': 'test/1.0', 'X-Request-ID': 'mine-1' }

describe('the events of API keys', () => {
  test('creating an API key records one event, with the operator as its actor', async () => {
    const { apiKey, environmentId } = await newApiKey()
    const now = Date.now()
    const id = newId('api_key', now)
    const digest = await sha256('of a key')
    await createApiKey(operatorDatabase(), {
      id,
      environmentId,
      name: 'deploy',
      digest,
      access: 'read',
      createdAt: now,
    })
    const [event, ...others] = await eventsOf(apiKey, 'api_key.created')
    expect(others).toEqual([])
    const limits = { permissions: null, allowed_ips: null, expires_at: null }
    expect(event.data).toEqual({ object: 'api_key', id, name: 'deploy', access: 'read', ...limits })
    expect(event.context).toMatchObject({ actor: 'operator', api_key: null, session_id: null, ip_address: null })
  })

  test('revoking an API key twice in the dashboard records one event, with the caller and the IP address', async () => {
    const admin = await newApiKey()
    const victim = await newApiKey({ environmentId: admin.environmentId })
    const visitor = new Visitor()
    await visitor.signIn(admin.apiKey)
    const form = hiddenFields((await visitor.get(`/dashboard/keys/${victim.id}/revoke`)).html)
    for (const _ of [1, 2]) await visitor.post(`/dashboard/keys/${victim.id}/revoke`, form, ORIGIN)
    expect((await call(victim.apiKey, 'GET', '/events')).status).toBe(401)
    const events = await eventsOf(admin.apiKey, 'api_key.revoked')
    expect(events).toHaveLength(1)
    expect(events[0].data).toMatchObject({ object: 'api_key', id: victim.id })
    const [signedIn] = await eventsOf(admin.apiKey, 'session.created')
    expect(events[0].context).toMatchObject({
      actor: 'session',
      api_key: { id: admin.id, name: 'test' },
      session_id: signedIn.data.id,
      ip_address: '203.0.113.7',
      user_agent: 'test/1.0',
      client_request_id: 'mine-1',
    })
  })

  test('a session that revokes its own API key records the event', async () => {
    const own = await newApiKey()
    const other = await newApiKey({ environmentId: own.environmentId })
    const visitor = new Visitor()
    await visitor.signIn(own.apiKey)
    await visitor.submit(`/dashboard/keys/${own.id}/revoke`)
    expect(await eventsOf(other.apiKey, 'api_key.revoked')).toHaveLength(1)
  })
})

describe('the events of sessions', () => {
  test('sign-in and sign-out record one event each', async () => {
    const { id, apiKey } = await newApiKey({ access: 'read' })
    const visitor = new Visitor()
    await visitor.signIn(apiKey)
    await visitor.post('/dashboard/sign-out', {}, ORIGIN)
    const [created] = await eventsOf(apiKey, 'session.created')
    const [revoked] = await eventsOf(apiKey, 'session.revoked')
    expect(created.data).toEqual({ object: 'session', id: expect.any(String), api_key: { id, name: 'test' } })
    expect(created.context).toMatchObject({ actor: 'api_key', api_key: { id }, session_id: null })
    expect(revoked.data).toEqual(created.data)
    expect(revoked.context).toMatchObject({ actor: 'session', session_id: created.data.id, ip_address: '203.0.113.7' })
  })

  test('ending another session twice records one event', async () => {
    const { apiKey } = await newApiKey()
    const [stolen, own] = [new Visitor(), new Visitor()]
    await stolen.signIn(apiKey)
    await own.signIn(apiKey)
    const [{ data }] = await eventsOf(apiKey, 'session.created')
    const form = hiddenFields((await own.get('/dashboard/keys')).html)
    for (const _ of [1, 2]) await own.post(`/dashboard/sessions/${data.id}/end`, form)
    const events = await eventsOf(apiKey, 'session.revoked')
    expect(events.map((event) => event.data.id)).toEqual([data.id])
  })
})

test('creating and deleting a webhook endpoint records one event each, without the query of its URL', async () => {
  const { apiKey, environmentId } = await newApiKey()
  const database = operatorDatabase()
  const id = newId('we', Date.now())
  const url = 'https://hooks.example.com/in?token=hush'
  const endpoint = { id, environmentId, url, events: [], secret: 'whsec_test', createdAt: Date.now() }
  await createWebhookEndpoint(database, endpoint)
  for (const _ of [1, 2]) await deleteWebhookEndpoint(database, id, Date.now())
  const data = { object: 'webhook_endpoint', id, url: 'https://hooks.example.com/in', events: [] }
  expect((await eventsOf(apiKey, 'webhook_endpoint.created')).map((event) => event.data)).toEqual([data])
  expect((await eventsOf(apiKey, 'webhook_endpoint.deleted')).map((event) => event.data)).toEqual([data])
})

test('a rotation of the signing key records one event in every environment', async () => {
  const keys = [await newApiKey(), await newApiKey()]
  const database = operatorDatabase()
  const rotation = { kid: 'new', algorithm: 'RS256', isLeaked: true }
  for (const { id } of await listEnvironments(database)) {
    await recordSigningKeyRotation(database, id, Date.now(), rotation)
  }
  for (const { apiKey } of keys) {
    const events = await eventsOf(apiKey, 'signing_key.rotated')
    expect(events.map((event) => event.data)).toEqual([
      { object: 'signing_key', kid: 'new', algorithm: 'RS256', leaked: true },
    ])
  }
})

test('each replay that returns a plaintext again records an event', async () => {
  const { apiKey } = await newApiKey()
  const { id } = await newApplication(apiKey)
  const create = () =>
    call(apiKey, 'POST', `/connect/applications/${id}/client_secrets`, {
      body: { name: 'again' },
      headers: { 'Idempotency-Key': 'one', ...ORIGIN },
    })
  const { json } = await create()
  expect(await eventsOf(apiKey, 'connect_application_secret.replayed')).toEqual([])
  const replies = [await create(), await create()]
  expect(replies.map((reply) => reply.json.secret)).toEqual([json.secret, json.secret])
  const events = await eventsOf(apiKey, 'connect_application_secret.replayed')
  expect(events.map((event) => event.data.id)).toEqual([json.id, json.id])
  expect(events[0].context).toMatchObject({ actor: 'api_key', ip_address: '203.0.113.7', user_agent: 'test/1.0' })
  expect(JSON.stringify(events)).not.toContain(json.secret)
})

describe('the events of uses of a secret', () => {
  const use = async (clientId: string, secret: string) =>
    (
      await send(
        new Request('https://oncekey.test/oauth2/token', {
          method: 'POST',
          headers: { Authorization: `Basic ${btoa(`${clientId}:${secret}`)}`, ...ORIGIN },
          body: new URLSearchParams({ grant_type: 'client_credentials' }),
        }),
      )
    ).status

  test.each([
    ['revoked', (apiKey: string, id: string) => call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)],
    [
      'disabled',
      (apiKey: string, id: string) =>
        call(apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: { disabled: true } }),
    ],
  ] as const)('uses of a secret after it was %s record one event an hour, with the IP address', async (reason, end) => {
    const { apiKey } = await newApiKey()
    const application = await newApplication(apiKey)
    const { json } = await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)
    expect(await use(application.client_id, json.secret)).toBe(200)
    expect(await eventsOf(apiKey, 'connect_application_secret.refused')).toEqual([])
    await end(apiKey, json.id)
    const now = Date.UTC(2030, 0, 1, 12)
    for (const minutes of [1, 2, 30, 61]) {
      vi.useFakeTimers({ toFake: ['Date'], now: now + minutes * 60_000 })
      expect(await use(application.client_id, json.secret)).toBe(401)
      vi.useRealTimers()
    }
    const events = await eventsOf(apiKey, 'connect_application_secret.refused')
    expect(events.map(({ data }) => [data.id, data.application_id, data.reason])).toEqual([
      [json.id, application.id, reason],
      [json.id, application.id, reason],
    ])
    expect(events[0].context).toMatchObject({ actor: 'system', ip_address: '203.0.113.7', user_agent: 'test/1.0' })
    expect(JSON.stringify(events)).not.toContain(json.secret)
  })

  test('if a rotation has set the expiry of a secret, uses in the last 24 hours before this expiry record one event', async () => {
    const type = 'connect_application_secret.used_while_expiring'
    const { apiKey } = await newApiKey()
    const application = await newApplication(apiKey)
    const secrets = `/connect/applications/${application.id}/client_secrets`
    const { json: replaced } = await call(apiKey, 'POST', secrets)
    await call(apiKey, 'POST', `${secrets}/rotate`, { body: { grace_period_seconds: 3 * 86_400 } })
    const now = Date.now()
    for (const [hours, count] of [
      [1, 0],
      [47, 0],
      [49, 1],
      [60, 1],
      [71, 1],
    ] as const) {
      vi.useFakeTimers({ toFake: ['Date'], now: now + hours * 3_600_000 })
      expect(await use(application.client_id, replaced.secret)).toBe(200)
      vi.useRealTimers()
      expect(await eventsOf(apiKey, type), `after ${hours} hours`).toHaveLength(count)
    }
    const [event] = await eventsOf(apiKey, type)
    expect(event.data).toMatchObject({ id: replaced.id, application_id: application.id })
    expect(event.context).toMatchObject({ actor: 'system', user_agent: 'test/1.0' })
  })

  test('if no rotation has set the expiry of a secret, a use shortly before this expiry records no event', async () => {
    const { apiKey } = await newApiKey()
    const application = await newApplication(apiKey)
    const expires_at = new Date(Date.now() + 3_600_000).toISOString()
    const { json } = await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`, {
      body: { expires_at },
    })
    expect(await use(application.client_id, json.secret)).toBe(200)
    expect(await eventsOf(apiKey, 'connect_application_secret.used_while_expiring')).toEqual([])
  })

  test('the use of an unknown secret records no event', async () => {
    const { apiKey } = await newApiKey()
    const application = await newApplication(apiKey)
    const { plaintext } = await issueCredential('cs', '0')
    expect(await use(application.client_id, plaintext)).toBe(401)
    expect(await eventsOf(apiKey, 'connect_application_secret.refused')).toEqual([])
  })
})

test('a header that may contain a credential is not stored in the event', async () => {
  const { apiKey } = await newApiKey()
  const headers = { 'User-Agent': `curl ${apiKey}`, 'X-Request-ID': apiKey.slice(0, 50) }
  await call(apiKey, 'POST', '/connect/applications', {
    body: { name: 'x', application_type: 'm2m', organization_id: 'org_1' },
    headers,
  })
  const { results } = await env.DB.prepare('SELECT * FROM events').all()
  expect(JSON.stringify(results)).not.toContain(apiKey.slice(0, 40))
})
