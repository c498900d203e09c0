import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { call, newApiKey } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { type Client, getToken, introspect, newClient, newSecret, requestToken, revoke } from '../oauth/client.ts'
import { secretsOf } from '../requests.ts'

/** The response to a leak: find the secret, then revoke all of them at once. */
const MINUTE_MS = 60_000

let client: Client

beforeEach(async () => {
  stopClock()
  client = await newClient()
})

const hintOf = ({ secret }: Client) => secret.slice(-6)
const search = (apiKey: string, query: string) => call(apiKey, 'GET', `/connect/client_secrets${query}`)
const searchFor = (of: Client, as = of.apiKey) => search(as, `?hint=${hintOf(of)}`)
const list = async (of: Client) => (await call(of.apiKey, 'GET', secretsOf(of.applicationId))).json
const revokeAll = (of: Client, id = of.applicationId, options = {}) =>
  call(of.apiKey, 'DELETE', `/connect/applications/${id}/client_secrets`, options)
const patch = ({ apiKey, secretId }: Client, body: object) =>
  call(apiKey, 'PATCH', `/connect/client_secrets/${secretId}`, { body })

async function eventsOf({ environmentId }: Client, type: string) {
  const { results } = await env.DB.prepare('SELECT data FROM events WHERE environment_id = ? AND type = ? ORDER BY seq')
    .bind(environmentId, `connect_application_secret.${type}`)
    .all<{ data: string }>()
  return results.map(({ data }) => JSON.parse(data))
}

describe('search by hint', () => {
  test('the search returns the active secret with this hint, and the ID of its application', async () => {
    await newSecret(client)
    const { status, json } = await searchFor(client)
    expect(status).toBe(200)
    const [listed] = (await list(client)).filter(({ id }: { id: string }) => id === client.secretId)
    expect(json).toEqual([{ ...listed, application_id: client.applicationId }])
  })

  test('the search returns all secrets with this hint in the environment, oldest first', async () => {
    const other = await newClient(undefined, client)
    const third = await newSecret(client)
    const rows = [third, client, other].map(({ secretId }, i) =>
      env.DB.prepare('UPDATE client_secrets SET secret_hint = ?, created_at = ? WHERE id = ?').bind(
        'abc123',
        i,
        secretId,
      ),
    )
    await env.DB.batch(rows)
    const { json } = await search(client.apiKey, '?hint=abc123')
    expect(json.map(({ id }: { id: string }) => id)).toEqual([third.secretId, client.secretId, other.secretId])
  })

  test('the search returns disabled and expiring secrets, with their state', async () => {
    await patch(client, { disabled: true, name: 'Leaked' })
    await call(client.apiKey, 'POST', `${secretsOf(client.applicationId)}/rotate`)
    expect((await searchFor(client)).json).toMatchObject([
      { id: client.secretId, disabled: true, name: 'Leaked', expires_at: expect.any(String) },
    ])
  })

  test('the search returns no secret that is revoked, expired or of a deleted application', async () => {
    const expired = await newSecret(client)
    const deleted = await newClient(undefined, client)
    await revoke(client)
    await patch(expired, { expires_at: new Date(Date.now() + MINUTE_MS).toISOString() })
    expect((await searchFor(expired)).json).toHaveLength(1)
    advance(MINUTE_MS)
    await call(client.apiKey, 'DELETE', `/connect/applications/${deleted.applicationId}`)
    for (const gone of [client, expired, deleted]) expect((await searchFor(gone)).json).toEqual([])
  })

  test('the search returns no secret of another environment, and hints are case-sensitive', async () => {
    const { apiKey } = await newApiKey()
    expect((await searchFor(client, apiKey)).json).toEqual([])
    await env.DB.prepare('UPDATE client_secrets SET secret_hint = ? WHERE id = ?').bind('abcDEF', client.secretId).run()
    expect((await search(client.apiKey, '?hint=abcDEF')).json).toHaveLength(1)
    for (const hint of ['abcdef', 'ABCDEF', 'abcDEG'])
      expect((await search(client.apiKey, `?hint=${hint}`)).json).toEqual([])
  })

  test('a read-only API key may search by hint', async () => {
    const { apiKey } = await newApiKey({ access: 'read', environmentId: client.environmentId })
    expect((await searchFor(client, apiKey)).json).toHaveLength(1)
  })

  test.each([
    ['an empty hint', '?hint=', 'hint_malformed'],
    ['a hint of five characters', '?hint=abc12', 'hint_malformed'],
    ['a hint of seven characters', '?hint=abc1234', 'hint_malformed'],
    ['two hints', '?hint=abc123&hint=abc123', 'hint_required'],
    ['wildcards', '?hint=%25%25%25%25%25%25', 'hint_malformed'],
    ['underscores', '?hint=______', 'hint_malformed'],
    ['a line end behind the hint', '?hint=abc123%0A', 'hint_malformed'],
    ['SQL', `?hint=${encodeURIComponent("' OR 1")}`, 'hint_malformed'],
  ])('a search with %s is refused', async (_, query, code) => {
    const { status, json } = await search(client.apiKey, query)
    expect([status, json.code, json.errors.map((error: { code: string }) => error.code)]).toEqual([
      422,
      'invalid_request_parameters',
      [code],
    ])
  })

  test('a search with a whole secret is refused, and the response repeats no part of it', async () => {
    const { status, text, headers } = await search(client.apiKey, `?hint=${client.secret}`)
    expect(status).toBe(422)
    const said = text + JSON.stringify([...headers])
    expect(said).not.toContain(client.secret.slice(0, 20))
    expect(said).not.toContain(hintOf(client))
  })
})

describe('revoking all secrets of an application', () => {
  test('revoking all secrets makes the secrets and their tokens invalid, and records one event that lists the secrets', async () => {
    advance(1)
    const second = await newSecret(client)
    await patch(second, { disabled: true })
    await call(client.apiKey, 'POST', `${secretsOf(client.applicationId)}/rotate`)
    const bystander = await newClient(undefined, client)
    const watcher = await newClient({ name: 'Console', application_type: 'oauth', is_first_party: true }, client)
    const token = await getToken(client)
    expect((await introspect(watcher, token)).json.active).toBe(true)
    const secrets = await list(client)
    expect(secrets).toHaveLength(3)

    expect((await revokeAll(client)).status).toBe(204)
    expect(await list(client)).toEqual([])
    expect((await requestToken(client)).json.error).toBe('invalid_client')
    expect((await introspect(watcher, token)).json).toEqual({ active: false })
    for (const { id } of secrets)
      expect((await call(client.apiKey, 'GET', `/connect/client_secrets/${id}`)).status).toBe(404)
    expect((await requestToken(bystander)).status).toBe(200)
    const named = secrets.map(({ id, secret_hint }: Record<string, string>) => ({ id, secret_hint }))
    const [event, ...others] = await eventsOf(client, 'deleted')
    expect(others).toEqual([])
    expect(Object.keys(event)).toEqual(['application_id', 'client_secrets'])
    expect(event.application_id).toBe(client.applicationId)
    expect(event.client_secrets).toHaveLength(3)
    expect(event.client_secrets).toEqual(expect.arrayContaining(named))
  })

  test('revoking all secrets accepts the client ID of the application', async () => {
    expect((await revokeAll(client, client.clientId)).status).toBe(204)
    expect(await list(client)).toEqual([])
    expect(await eventsOf(client, 'deleted')).toHaveLength(1)
  })

  test('revoking all secrets again, or when none is active, returns 204 and records no event', async () => {
    await revokeAll(client)
    const empty = await newClient(undefined, client)
    await revoke(empty)
    const before = await eventsOf(client, 'deleted')
    expect(before).toHaveLength(2)
    for (const of of [client, empty]) expect((await revokeAll(of)).status).toBe(204)
    expect(await eventsOf(client, 'deleted')).toEqual(before)
  })

  test('revoking all secrets does not change secrets that are revoked or expired already', async () => {
    const revoked = await newSecret(client)
    const expired = await newSecret(client)
    await revoke(revoked)
    await patch(expired, { expires_at: new Date(Date.now() + MINUTE_MS).toISOString() })
    advance(MINUTE_MS)
    await revokeAll(client)
    expect((await eventsOf(client, 'deleted')).at(-1).client_secrets).toEqual([
      { id: client.secretId, secret_hint: hintOf(client) },
    ])
    expect((await call(client.apiKey, 'GET', `/connect/client_secrets/${expired.secretId}`)).status).toBe(200)
  })

  test('after all secrets are revoked, new secrets can be created up to the limit', async () => {
    await revokeAll(client)
    for (let i = 0; i < 5; i++) expect(await newSecret(client)).toHaveProperty('secret', expect.any(String))
    expect(await list(client)).toHaveLength(5)
  })

  test('revoking all secrets returns 404 if the application is unknown, deleted or in another environment', async () => {
    const stranger = await newClient()
    const deleted = await newClient(undefined, client)
    await call(client.apiKey, 'DELETE', `/connect/applications/${deleted.applicationId}`)
    for (const id of ['unknown', stranger.applicationId, stranger.clientId, deleted.applicationId, client.secretId]) {
      const { status, json } = await revokeAll(client, id)
      expect([status, json.code, json.entity_id]).toEqual([404, 'entity_not_found', id])
    }
    expect((await requestToken(stranger)).status).toBe(200)
  })

  test('revoking all secrets with a read-only API key gets 403', async () => {
    const { apiKey } = await newApiKey({ access: 'read', environmentId: client.environmentId })
    expect((await revokeAll({ ...client, apiKey })).status).toBe(403)
    expect((await requestToken(client)).status).toBe(200)
  })
})
