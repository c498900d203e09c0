import { beforeAll, describe, expect, test } from 'vitest'
import { cleanUp } from '../../src/storage/cleanup.ts'
import { EVENT_TYPES } from '../../src/storage/events.ts'
import { call, m2mApplication, newApiKey, newApplication, operatorDatabase, type Reply } from '../api.ts'
import { secretsOf } from '../requests.ts'

type Key = Awaited<ReturnType<typeof newApiKey>>
// biome-ignore lint/suspicious/noExplicitAny: its type depends on the type of the event, and the contract has been checked.
type Json = any

const ULID = '[0-7][0-9A-HJKMNP-TV-Z]{25}'
const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

let key: Key
beforeAll(async () => {
  key = await newApiKey()
})

const eventsOf = async ({ apiKey }: Key): Promise<Json[]> => (await call(apiKey, 'GET', '/events?limit=100')).json.data

/** Does something, and gives its answer and the events that it made. */
async function eventsBy(change: () => Promise<Reply>): Promise<{ json: Json; events: Json[] }> {
  const before = await eventsOf(key)
  const { json, headers } = await change()
  const events = (await eventsOf(key)).slice(before.length)
  for (const event of events) expect(event.context.request_id).toBe(headers.get('X-Request-ID'))
  return { json, events }
}

/** An ID that the caller chooses must not become the event's. */
const REQUEST = { headers: { 'X-Request-ID': 'chosen-by-the-caller' } }

/** The event of a change that the request above asked for, with exactly this data. */
function eventOf(event: string, data: object): Json {
  return {
    object: 'event',
    id: expect.stringMatching(new RegExp(`^event_${ULID}$`)),
    event,
    data,
    created_at: time,
    context: {
      actor: 'api_key',
      api_key: { id: key.id, name: 'test' },
      session_id: null,
      request_id: expect.stringMatching(/^[\da-f-]{36}$/),
      client_request_id: 'chosen-by-the-caller',
      ip_address: null,
      country: null,
      user_agent: null,
    },
  }
}

const newSecret = async (application: string, body = {}): Promise<Json> =>
  (await call(key.apiKey, 'POST', secretsOf(application), { body })).json
const touched = ({ id, secret_hint }: Json) => ({ id, secret_hint })

/** The secrets that an event names have no order: here they stand as they were made. */
function inOrder(event: Json): Json {
  event.data.client_secrets.sort((a: Json, b: Json) => (a.id < b.id ? -1 : 1))
  return event
}

describe('each change records one event with the new state of the object', () => {
  const firstParty = { name: 'Console', application_type: 'oauth', is_first_party: true, description: 'x' }
  const thirdParty = { ...firstParty, is_first_party: false, organization_id: 'org_1', scopes: ['a'] }
  test.each([
    ['m2m', m2mApplication] as const,
    ['first-party', firstParty] as const,
    ['third-party', thirdParty] as const,
  ])('creating an application records one connect_application.created event: %s', async (_, body) => {
    const made = await eventsBy(() => call(key.apiKey, 'POST', '/connect/applications', { body, ...REQUEST }))
    expect(made.events).toStrictEqual([eventOf('connect_application.created', made.json)])
  })

  test('updating an application records one connect_application.updated event', async () => {
    const { id } = await newApplication(key.apiKey)
    const body = { name: 'Renamed – Żółw 🐢', scopes: ['b'] }
    const path = `/connect/applications/${id}`
    const made = await eventsBy(() => call(key.apiKey, 'PUT', path, { body, ...REQUEST }))
    expect(made.json).toMatchObject(body)
    expect(made.events).toStrictEqual([eventOf('connect_application.updated', made.json)])
  })

  test('the event connect_application.deleted has the secrets that were revoked with the application', async () => {
    const application = await newApplication(key.apiKey)
    const revoked = await newSecret(application.id)
    await call(key.apiKey, 'DELETE', `/connect/client_secrets/${revoked.id}`)
    const secrets = [await newSecret(application.id), await newSecret(application.id, { name: 'second' })]
    const path = `/connect/applications/${application.client_id}`
    const { events } = await eventsBy(() => call(key.apiKey, 'DELETE', path, REQUEST))
    const data = { ...application, updated_at: time, client_secrets: secrets.map(touched) }
    expect(events.map(inOrder)).toStrictEqual([eventOf('connect_application.deleted', data)])
  })

  test('creating a secret records one connect_application_secret.created event', async () => {
    const { id } = await newApplication(key.apiKey)
    const body = { name: 'CI', expires_at: '2099-01-01T00:00:00+01:00' }
    const made = await eventsBy(() => call(key.apiKey, 'POST', secretsOf(id), { body, ...REQUEST }))
    const { secret, ...rest } = made.json
    expect(rest).toMatchObject({ name: 'CI', expires_at: '2098-12-31T23:00:00.000Z' })
    expect(made.events).toStrictEqual([eventOf('connect_application_secret.created', { ...rest, application_id: id })])
  })

  test.each([{ name: 'other' }, { disabled: true }, { expires_at: '2099-01-01T00:00:00.000Z' }])(
    'updating a secret with %o records one connect_application_secret.updated event',
    async (body) => {
      const { id } = await newApplication(key.apiKey)
      const path = `/connect/client_secrets/${(await newSecret(id)).id}`
      const made = await eventsBy(() => call(key.apiKey, 'PATCH', path, { body, ...REQUEST }))
      expect(made.json).toMatchObject(body)
      const data = { ...made.json, application_id: id }
      expect(made.events).toStrictEqual([eventOf('connect_application_secret.updated', data)])
    },
  )

  test('the event connect_application_secret.rotated has the new secret and the secrets that it replaces', async () => {
    const { id } = await newApplication(key.apiKey)
    const old = [await newSecret(id), await newSecret(id)]
    const made = await eventsBy(() => call(key.apiKey, 'POST', `${secretsOf(id)}/rotate`, REQUEST))
    const { secret, ...rest } = made.json
    const data = { ...rest, application_id: id, client_secrets: old.map(touched) }
    expect(made.events.map(inOrder)).toStrictEqual([eventOf('connect_application_secret.rotated', data)])
  })

  test('revoking a secret records one connect_application_secret.deleted event', async () => {
    const { id } = await newApplication(key.apiKey)
    const { secret, ...rest } = await newSecret(id)
    await newSecret(id)
    const { events } = await eventsBy(() => call(key.apiKey, 'DELETE', `/connect/client_secrets/${rest.id}`, REQUEST))
    const data = { ...rest, updated_at: time, application_id: id }
    expect(events).toStrictEqual([eventOf('connect_application_secret.deleted', data)])
  })

  test('revoking all secrets of an application records one connect_application_secret.deleted event', async () => {
    const { id } = await newApplication(key.apiKey)
    const secrets = [await newSecret(id), await newSecret(id)]
    const { events } = await eventsBy(() => call(key.apiKey, 'DELETE', secretsOf(id), REQUEST))
    const data = { application_id: id, client_secrets: secrets.map(touched) }
    expect(events.map(inOrder)).toStrictEqual([eventOf('connect_application_secret.deleted', data)])
  })

  test('the event connect_application_secret.expired has the actor “system”, without an API key or a request', async () => {
    const { id } = await newApplication(key.apiKey)
    const expires_at = new Date(Date.now() + 60_000).toISOString()
    const { secret, ...rest } = await newSecret(id, { expires_at })
    const now = Date.parse(expires_at) + 1
    const before = await eventsOf(key)
    await cleanUp(operatorDatabase(), now, 365)
    expect((await eventsOf(key)).slice(before.length)).toStrictEqual([
      {
        ...eventOf('connect_application_secret.expired', { ...rest, application_id: id }),
        created_at: new Date(now).toISOString(),
        context: {
          actor: 'system',
          api_key: null,
          session_id: null,
          request_id: null,
          client_request_id: null,
          ip_address: null,
          country: null,
          user_agent: null,
        },
      },
    ])
  })

  test('these tests record every event type of changes to applications and secrets', async () => {
    const seen = new Set((await eventsOf(key)).map(({ event }) => event))
    const ofChanges = EVENT_TYPES.filter((type) =>
      /^connect_.*(?<!replayed|refused|expiring|unused|leaked)$/.test(type),
    )
    expect([...seen].sort()).toEqual(ofChanges.sort())
  })
})

describe('the events of requests that change nothing', () => {
  test('reads, refused requests and repeated changes record no event, but a replay that returns a plaintext records one', async () => {
    const application = await newApplication(key.apiKey)
    const path = `/connect/applications/${application.id}`
    const headers = { 'Idempotency-Key': crypto.randomUUID() }
    const { id, secret } = (await call(key.apiKey, 'POST', secretsOf(application.id), { headers })).json
    const [gone, empty] = [await newApplication(key.apiKey), await newApplication(key.apiKey)]
    const goneSecret = await newSecret(application.id)
    await call(key.apiKey, 'DELETE', `/connect/applications/${gone.id}`)
    await call(key.apiKey, 'DELETE', `/connect/client_secrets/${goneSecret.id}`)
    await call(key.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: { name: 'same' } })
    const reader = await newApiKey({ access: 'read', environmentId: key.environmentId })

    const before = await eventsOf(key)
    const statuses = [
      await call(key.apiKey, 'GET', path),
      await call(key.apiKey, 'GET', secretsOf(application.id)),
      await call(key.apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret } }),
      await call(key.apiKey, 'POST', secretsOf(application.id), { headers }),
      await call(key.apiKey, 'DELETE', `/connect/applications/${gone.id}`),
      await call(key.apiKey, 'DELETE', `/connect/client_secrets/${goneSecret.id}`),
      await call(key.apiKey, 'DELETE', secretsOf(empty.id)),
      await call(key.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: { name: 'same' } }),
      await call(key.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: {} }),
      await call(key.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body: { name: '' } }),
      await call(key.apiKey, 'POST', secretsOf('unknown')),
      await call(reader.apiKey, 'DELETE', path),
    ].map(({ status }) => status)
    expect(statuses).toEqual([200, 200, 200, 201, 204, 204, 204, 200, 200, 422, 404, 403])
    const after = await eventsOf(key)
    expect(after.slice(0, before.length)).toEqual(before)
    expect(after.slice(before.length).map(({ event }) => event)).toEqual(['connect_application_secret.replayed'])
  })
})
