import { beforeAll, describe, expect, test } from 'vitest'
import { call, newApiKey } from '../api.ts'
import { Visitor } from '../dashboard/pages.ts'
import { type Client, getToken, introspect, newClient, newSecret, requestToken } from '../oauth/client.ts'
import { secretsOf } from '../requests.ts'

const SETTINGS = '/dashboard/settings'
const visitor = new Visitor()

let client: Client
let disabled: Awaited<ReturnType<typeof newSecret>>
let token: string

const manage = (method: string, path: string, body?: object, headers = {}) =>
  call(client.apiKey, method, path, { headers, ...(body && { body }) })
const secrets = () => secretsOf(client.applicationId)
const keyed = () => manage('POST', secrets(), {}, { 'Idempotency-Key': 'before-the-freeze' })
const eventsOf = async (type: string) => (await manage('GET', `/events?events=${type}`)).json.data

beforeAll(async () => {
  client = await newClient()
  disabled = await newSecret(client)
  await manage('PATCH', `/connect/client_secrets/${disabled.secretId}`, { disabled: true })
  token = await getToken(client)
  await keyed()
  await visitor.signIn(client.apiKey)
})

test('freezing an environment twice in the dashboard records one event, and so does unfreezing it twice', async () => {
  const asked = await visitor.get(`${SETTINGS}/freeze`)
  expect(asked.html).toContain('Freeze environment?')
  for (const _ of [1, 2]) expect((await visitor.post(`${SETTINGS}/freeze`)).status).toBe(303)
  const { json } = await manage('GET', '/connect/environment')
  expect(json.frozen_at).toMatch(/Z$/)
  expect((await visitor.get('/dashboard')).html).toContain('This environment is frozen.')
  const [frozen, ...more] = await eventsOf('environment.frozen')
  expect([frozen.data, more]).toEqual([json, []])
  expect(frozen.context.actor).toBe('session')
  for (const _ of [1, 2]) expect((await visitor.post(`${SETTINGS}/unfreeze`)).status).toBe(303)
  const lifted = await eventsOf('environment.unfrozen')
  expect(lifted.map(({ data }: { data: object }) => data)).toEqual([{ ...json, frozen_at: null }])
  expect((await visitor.get('/dashboard')).html).not.toContain('This environment is frozen.')
})

describe('while an environment is frozen', () => {
  beforeAll(async () => {
    await visitor.post(`${SETTINGS}/freeze`)
  })

  test('no secret is created, rotated, replayed or enabled', async () => {
    const before = (await manage('GET', secrets())).json
    const enabling = manage('PATCH', `/connect/client_secrets/${disabled.secretId}`, { disabled: false })
    for (const refused of [manage('POST', secrets()), manage('POST', `${secrets()}/rotate`), keyed(), enabling]) {
      const { status, json } = await refused
      expect([status, json.code]).toEqual([422, 'environment_frozen'])
    }
    expect((await manage('GET', secrets())).json).toEqual(before)
  })

  test('no API key is created in the dashboard', async () => {
    const created = await visitor.submit('/dashboard/keys/new', { name: 'x', access: 'write', lifetime: '0' })
    expect(created.status).toBe(422)
    expect(created.html).toContain('The environment is frozen')
    expect(await eventsOf('api_key.created')).toHaveLength(0)
  })

  test('no client gets a token, and only an authenticated client learns that the environment is frozen', async () => {
    const { status, json } = await requestToken(client)
    expect([status, json.error]).toEqual([400, 'unauthorized_client'])
    expect(json.error_description).toContain('frozen')
    expect((await requestToken({ ...client, secret: disabled.secret })).json.error).toBe('invalid_client')
  })

  test('reads, verification, introspection and revocation still work', async () => {
    const proof = { client_secret: client.secret, client_id: client.clientId }
    expect((await manage('POST', '/connect/client_secrets/verify', proof)).json.valid).toBe(true)
    expect((await introspect(client, token)).json.active).toBe(true)
    expect((await manage('GET', '/connect/client_secrets')).status).toBe(200)
    expect((await manage('DELETE', `/connect/client_secrets/${disabled.secretId}`)).status).toBe(204)
  })

  test('another environment is not frozen', async () => {
    expect((await requestToken(await newClient())).status).toBe(200)
  })

  test('a read-only key can’t lift the freeze', async () => {
    const reader = new Visitor()
    await reader.signIn((await newApiKey({ environmentId: client.environmentId, access: 'read' })).apiKey)
    expect((await reader.get(SETTINGS)).html).not.toContain('Lift the freeze')
    expect((await reader.post(`${SETTINGS}/unfreeze`)).status).toBe(403)
  })
})

test('after the freeze is lifted, a retry with the same Idempotency-Key returns the same secret, and clients get tokens', async () => {
  await visitor.post(`${SETTINGS}/unfreeze`)
  expect((await keyed()).headers.get('Idempotent-Replayed')).toBe('true')
  expect((await requestToken(client)).status).toBe(200)
})
