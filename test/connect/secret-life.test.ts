import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { call, newApiKey, type Reply } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { type Client, getToken, introspect, newClient, newSecret, requestToken, revoke } from '../oauth/client.ts'
import { iso, secretsOf } from '../requests.ts'

/** A secret after its creation: changed, looked up, disabled, enabled, expired. */
const MINUTE_MS = 60_000

let client: Client

beforeEach(async () => {
  stopClock()
  client = await newClient()
})

const inTokyo = (time: string) => iso(Date.parse(time) + 9 * 60 * MINUTE_MS).replace('Z', '+09:00')
const inAnHour = () => iso(Date.now() + 60 * MINUTE_MS)
const pathOf = ({ secretId }: Client) => `/connect/client_secrets/${secretId}`
const get = (of: Client) => call(of.apiKey, 'GET', pathOf(of))
const patch = (of: Client, body: unknown) => call(of.apiKey, 'PATCH', pathOf(of), { body })
const list = async ({ apiKey, applicationId }: Client) => (await call(apiKey, 'GET', secretsOf(applicationId))).json
const verify = async ({ apiKey, secret }: Client) =>
  (await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret } })).json

/** The row of a secret, and its events, oldest first. */
async function stored({ secretId }: Client) {
  const row = await env.DB.prepare('SELECT * FROM client_secrets WHERE id = ?').bind(secretId).first()
  const events = await env.DB.prepare(`SELECT type, data FROM events WHERE data ->> 'id' = ? ORDER BY seq`)
    .bind(secretId)
    .all<{ type: string; data: string }>()
  return { row, events: events.results.map(({ type, data }) => ({ type, data: JSON.parse(data) })) }
}

async function expectUnchanged(of: Client, ask: () => Promise<Reply>): Promise<Reply> {
  const before = await stored(of)
  advance(1)
  const reply = await ask()
  expect(await stored(of)).toEqual(before)
  return reply
}

describe('updating a secret', () => {
  const SET = { name: () => 'n', expires_at: inAnHour, disabled: () => true }
  const CLEARED = { name: null, expires_at: null, disabled: false }
  type Field = keyof typeof SET
  const SUBSETS = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({
    fields: (['name', 'expires_at', 'disabled'] as const).filter((_, i) => bits & (1 << i)),
  }))
  const set = (fields: Field[]) => Object.fromEntries(fields.map((field) => [field, SET[field]()]))

  test.each(SUBSETS)('PATCH sets $fields and leaves the other members unchanged', async ({ fields }) => {
    const before = (await get(client)).json
    const now = advance(1)
    const { status, json } = await patch(client, set(fields))
    expect(status).toBe(200)
    expect(json).toEqual({ ...before, ...set(fields), ...(fields.length > 0 && { updated_at: iso(now) }) })
    expect((await get(client)).json).toEqual(json)
    expect(await list(client)).toEqual([json])
  })

  test.each(SUBSETS)('PATCH clears $fields and leaves the other members unchanged', async ({ fields }) => {
    const before = (await patch(client, set(['name', 'expires_at', 'disabled']))).json
    const now = advance(1)
    const { json } = await patch(client, Object.fromEntries(fields.map((field) => [field, CLEARED[field]])))
    const left = Object.entries(before).filter(([name]) => !fields.includes(name as Field))
    expect(json).toEqual({ ...Object.fromEntries(left), ...(fields.length > 0 && { updated_at: iso(now) }) })
    expect((await get(client)).json).toEqual(json)
  })

  test('PATCH records one event with the new state of the secret, without its plaintext', async () => {
    const now = advance(1)
    await patch(client, { name: 'n', disabled: true })
    const { row, events } = await stored(client)
    expect(events.map(({ type }) => type)).toEqual([
      'connect_application_secret.created',
      'connect_application_secret.updated',
    ])
    expect(events[1]?.data).toMatchObject({ id: client.secretId, name: 'n', disabled_at: now, updated_at: now })
    expect(JSON.stringify([row, events])).not.toContain(client.secret)
  })

  test.each<[string, (expiresAt: string) => object]>([
    ['no member', () => ({})],
    ['the current values of all members', (time) => ({ name: 'n', expires_at: time, disabled: true })],
    ['the current value of one member', () => ({ disabled: true })],
    ['the current expiry in another time zone', (time) => ({ expires_at: inTokyo(time) })],
  ])('a PATCH with %s returns 200, records no event and leaves updated_at unchanged', async (_, body) => {
    const { json } = await patch(client, { name: 'n', expires_at: inAnHour(), disabled: true })
    const again = await expectUnchanged(client, () => patch(client, body(json.expires_at)))
    expect([again.status, again.json]).toEqual([200, json])
  })

  test.each([{ name: null }, { expires_at: null }, { disabled: false }])(
    'a PATCH with %j of a secret that has these values changes nothing',
    async (body) => {
      expect((await expectUnchanged(client, () => patch(client, body))).status).toBe(200)
    },
  )

  test('disabled_at is the time of the first disable, until the secret is enabled again', async () => {
    const disabledAt = Date.now()
    await patch(client, { disabled: true })
    advance(MINUTE_MS)
    await patch(client, { disabled: true, name: 'renamed' })
    expect((await stored(client)).row).toMatchObject({ disabled_at: disabledAt, name: 'renamed' })
    await patch(client, { disabled: false })
    await patch(client, { disabled: true })
    expect((await stored(client)).row?.disabled_at).toBe(disabledAt + MINUTE_MS)
  })

  test.each([null, 'true', 1, 0, 'yes', [], {}])(
    'a disabled member that is not a boolean is refused: %j',
    async (disabled) => {
      const reply = await expectUnchanged(client, () => patch(client, { name: 'n', disabled }))
      expect([reply.status, reply.json.errors[0].code]).toEqual([422, 'disabled_invalid'])
    },
  )

  test.each([[[]], [null], ['x'], [5], [true]])('a PATCH body that is not an object is refused: %j', async (body) => {
    const reply = await expectUnchanged(client, () => patch(client, body))
    expect([reply.status, reply.json.code]).toEqual([422, 'invalid_request_parameters'])
  })

  test('PATCH ignores members that a caller may not set', async () => {
    const theirs = {
      id: 'secret_x',
      secret: 'x',
      secret_hint: 'abcdef',
      created_at: inAnHour(),
      revoked_at: 1,
      digest: 'x',
    }
    expect((await expectUnchanged(client, () => patch(client, { ...theirs, is_retiring: 1 }))).status).toBe(200)
  })

  test.each([{}, { name: 'n' }, { expires_at: null }, { disabled: true }])(
    'a PATCH with %j gets 404 for a secret that is revoked, unknown or of a deleted application',
    async (body) => {
      const other = await newClient(undefined, client)
      await revoke(client)
      await call(other.apiKey, 'DELETE', `/connect/applications/${other.applicationId}`)
      for (const gone of [client, other, { ...client, secretId: 'secret_x' }]) {
        const reply = await expectUnchanged(gone, () => patch(gone, body))
        expect([reply.status, reply.json.code, reply.json.entity_id]).toEqual([404, 'entity_not_found', gone.secretId])
        expect((await get(gone)).status).toBe(404)
      }
    },
  )

  test.each([{}, { name: 'n' }, { expires_at: null }, { expires_at: '2999-01-01T00:00:00Z' }, { disabled: false }])(
    'a PATCH with %j of an expired secret gets 422',
    async (body) => {
      await patch(client, { expires_at: iso(Date.now() + MINUTE_MS) })
      advance(MINUTE_MS)
      const reply = await expectUnchanged(client, () => patch(client, body))
      expect([reply.status, reply.json.code]).toEqual([422, 'client_secret_expired'])
    },
  )

  test('PATCH with a read-only API key gets 403, and GET succeeds', async () => {
    const { apiKey } = await newApiKey({ access: 'read', environmentId: client.environmentId })
    const reply = await expectUnchanged(client, () => patch({ ...client, apiKey }, { disabled: true }))
    expect([reply.status, reply.json.code]).toEqual([403, 'forbidden'])
    expect((await get({ ...client, apiKey })).status).toBe(200)
  })
})

test('GET of one secret returns the same as the list of secrets, before and after a use of the secret', async () => {
  advance(1)
  const second = await newSecret(client)
  await patch(second, { name: 'Second' })
  await getToken(second)
  const listed = await list(client)
  expect([(await get(client)).json, (await get(second)).json]).toEqual(listed)
  expect(listed[1].last_used_at).toBe(iso(Date.now()))
})

/** The responses to a client, and to the introspection of a token that it got before. */
async function standing(of: Client, token: string, witness: Client) {
  const reply = await requestToken(of)
  return {
    token: reply.status === 200 || reply.json.error,
    verified: (await verify(of)).valid,
    ownIntrospection: (await introspect(of, token)).status,
    active: (await introspect(witness, token)).json.active,
  }
}
const GOOD = { token: true, verified: true, ownIntrospection: 200, active: true }
const REFUSED = { token: 'invalid_client', verified: false, ownIntrospection: 401, active: false }

describe('the states of a secret', () => {
  let witness: Client
  let token: string
  beforeEach(async () => {
    witness = await newSecret(client)
    token = await getToken(client)
  })

  test('a secret and its tokens are valid until expires_at, and from then on refused like an unknown secret', async () => {
    await patch(client, { expires_at: iso(Date.now() + MINUTE_MS) })
    advance(MINUTE_MS - 1)
    expect(await standing(client, token, witness)).toEqual(GOOD)
    advance(1)
    expect(await standing(client, token, witness)).toEqual(REFUSED)
    const wrong = await requestToken({ ...client, secret: (await newClient()).secret })
    expect((await requestToken(client)).text).toBe(wrong.text)
    expect((await introspect(witness, token)).json).toEqual({ active: false })
  })

  test('an expired secret is not in the list and does not count against the limit, but is still found by its ID', async () => {
    await patch(client, { expires_at: iso(Date.now() + MINUTE_MS) })
    for (let i = 0; i < 3; i++) await newSecret(client)
    const create = () => call(client.apiKey, 'POST', `/connect/applications/${client.applicationId}/client_secrets`)
    expect((await create()).json.code).toBe('client_secret_limit_reached')
    advance(MINUTE_MS)
    expect((await list(client)).map(({ id }: { id: string }) => id)).not.toContain(client.secretId)
    expect((await create()).status).toBe(201)
    expect((await get(client)).json).toMatchObject({ id: client.secretId, expires_at: iso(Date.now()) })
    expect((await revoke(client)).status).toBe(204)
    expect((await get(client)).status).toBe(404)
  })

  test('a secret whose expires_at is cleared stays valid', async () => {
    await patch(client, { expires_at: iso(Date.now() + MINUTE_MS) })
    await patch(client, { expires_at: null })
    advance(2 * MINUTE_MS)
    expect(await standing(client, token, witness)).toEqual(GOOD)
  })

  test('a disabled secret and its tokens are refused, and both are valid again when it is enabled', async () => {
    await patch(client, { disabled: true })
    expect(await standing(client, token, witness)).toEqual(REFUSED)
    const used = (await get(client)).json.last_used_at
    advance(2 * MINUTE_MS)
    await requestToken(client)
    expect((await get(client)).json.last_used_at).toBe(used)
    await patch(client, { disabled: false })
    expect(await standing(client, token, witness)).toEqual(GOOD)
  })

  test('a disabled secret stays in the list and counts against the limit, and can expire and be revoked', async () => {
    await patch(client, { disabled: true, expires_at: iso(Date.now() + MINUTE_MS) })
    await patch(witness, { disabled: true })
    expect(await list(client)).toMatchObject([{ disabled: true }, { disabled: true }])
    for (let i = 0; i < 3; i++) await newSecret(client)
    const { status, json } = await call(
      client.apiKey,
      'POST',
      `/connect/applications/${client.applicationId}/client_secrets`,
    )
    expect([status, json.code]).toEqual([422, 'client_secret_limit_reached'])
    advance(MINUTE_MS)
    expect((await patch(client, { disabled: false })).json.code).toBe('client_secret_expired')
    await revoke(witness)
    expect((await patch(witness, { disabled: false })).status).toBe(404)
    expect((await list(client)).length).toBe(3)
  })
})
