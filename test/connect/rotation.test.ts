import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Call, call, newApiKey } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { type Client, getToken, introspect, newClient, newSecret, requestToken, revoke } from '../oauth/client.ts'
import { iso, secretsOf } from '../requests.ts'

/** A new secret in place of the others, which stay good for as long as their holders need to change over. */
const DAY_SECONDS = 86_400
const LIMIT = 5

let client: Client

beforeEach(async () => {
  stopClock()
  client = await newClient()
})

const inSeconds = (seconds: number) => iso(Date.now() + seconds * 1000)
const rotate = (body?: object, options: Call = {}) =>
  call(client.apiKey, 'POST', `${secretsOf(client.applicationId)}/rotate`, { body, ...options })
const create = () => call(client.apiKey, 'POST', secretsOf(client.applicationId))
const list = async () => (await call(client.apiKey, 'GET', secretsOf(client.applicationId))).json
const get = async (id: string) => (await call(client.apiKey, 'GET', `/connect/client_secrets/${id}`)).json
const patch = (id: string, body: object) => call(client.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body })
const undo = (id: string) => patch(id, { expires_at: null })

async function events() {
  const { results } = await env.DB.prepare(
    `SELECT type, data FROM events WHERE environment_id = ? AND type LIKE 'connect_application_secret.%' ORDER BY seq`,
  )
    .bind(client.environmentId)
    .all<{ type: string; data: string }>()
  return results.map(({ type, data }) => ({ type: type.split('.')[1], data: JSON.parse(data) }))
}

/** Rotates `times` times, an hour apart. Gives the secrets, oldest first. */
async function rotated(times: number, body: object = {}) {
  const secrets: string[] = [client.secretId]
  for (let i = 0; i < times; i++) {
    advance(3_600_000)
    secrets.push((await rotate(body)).json.id)
  }
  return secrets
}

describe('rotation', () => {
  test('a rotation creates a secret with the documented members, and the other secrets expire in a day', async () => {
    const second = await newSecret(client)
    advance(1)
    const { status, json } = await rotate()
    expect(status).toBe(201)
    expect(Object.keys(json)).toEqual([
      'object',
      'id',
      'secret_hint',
      'last_used_at',
      'created_at',
      'updated_at',
      'secret',
    ])
    const { secret, ...issued } = json
    const [first, other, newest] = await list()
    expect(newest).toEqual(issued)
    for (const retired of [first, other]) {
      expect(retired).toMatchObject({ expires_at: inSeconds(DAY_SECONDS), updated_at: iso(Date.now()) })
    }
    for (const good of [client, second, { ...client, secret }]) expect((await requestToken(good)).status).toBe(200)
  })

  test('the old secrets and their tokens are valid until the millisecond in which the grace period ends', async () => {
    const token = await getToken(client)
    const fresh = { ...client, secret: (await rotate({ grace_period_seconds: 60 })).json.secret }
    advance(59_999)
    expect((await requestToken(client)).status).toBe(200)
    expect((await introspect(fresh, token)).json.active).toBe(true)
    advance(1)
    expect((await requestToken(client)).json.error).toBe('invalid_client')
    expect((await introspect(fresh, token)).json).toEqual({ active: false })
    expect(await list()).toHaveLength(1)
    expect((await requestToken(fresh)).status).toBe(200)
  })

  test('a grace period of 0 expires the old secrets immediately', async () => {
    const { json } = await rotate({ grace_period_seconds: 0 })
    expect((await requestToken(client)).json.error).toBe('invalid_client')
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual([json.id])
    expect((await undo(client.secretId)).json.code).toBe('client_secret_expired')
  })

  test.each([
    [1, 1],
    [2_592_000, 2_592_000],
    [null, DAY_SECONDS],
  ])('a grace period of %j seconds is accepted', async (given, seconds) => {
    expect((await rotate({ grace_period_seconds: given })).status).toBe(201)
    expect((await get(client.secretId)).expires_at).toBe(inSeconds(seconds))
  })

  test.each([-1, 2_592_001, 0.5, 1e300, '60', true, [60], {}])('a grace period of %j is refused', async (grace) => {
    const before = [await list(), await events()]
    const { status, json } = await rotate({ grace_period_seconds: grace })
    expect([status, json.code, json.errors]).toEqual([
      422,
      'invalid_request_parameters',
      [expect.objectContaining({ field: 'grace_period_seconds' })],
    ])
    expect([await list(), await events()]).toEqual(before)
  })

  test('a rotation does not extend the life of a secret that expires sooner', async () => {
    await patch(client.secretId, { expires_at: inSeconds(60) })
    const later = await newSecret(client)
    await patch(later.secretId, { expires_at: inSeconds(7200) })
    await rotate({ grace_period_seconds: 3600 })
    expect((await get(client.secretId)).expires_at).toBe(inSeconds(60))
    expect((await get(later.secretId)).expires_at).toBe(inSeconds(3600))
  })

  test('a rotation does not change expired or revoked secrets', async () => {
    const expired = await newSecret(client)
    const revoked = await newSecret(client)
    await patch(expired.secretId, { expires_at: inSeconds(60) })
    await revoke(revoked)
    advance(60_000)
    const before = await get(expired.secretId)
    await rotate()
    expect(await get(expired.secretId)).toEqual(before)
    expect((await events()).at(-1)?.data.client_secrets).toHaveLength(1)
  })

  test('a disabled secret stays disabled, and can be enabled within the grace period', async () => {
    await patch(client.secretId, { disabled: true })
    await rotate()
    expect(await get(client.secretId)).toMatchObject({ disabled: true, expires_at: inSeconds(DAY_SECONDS) })
    expect((await requestToken(client)).json.error).toBe('invalid_client')
    await patch(client.secretId, { disabled: false })
    expect((await requestToken(client)).status).toBe(200)
    expect((await get(client.secretId)).expires_at).toBe(inSeconds(DAY_SECONDS))
  })

  test('a rotation of an application without secrets creates its first secret', async () => {
    await revoke(client)
    const { status, json } = await rotate()
    expect(status).toBe(201)
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual([json.id])
    expect((await events()).at(-1)).toMatchObject({ type: 'rotated', data: { id: json.id, client_secrets: [] } })
  })

  test('a rotation does not change the secrets of other applications', async () => {
    const other = await newClient(undefined, client)
    const before = (await call(client.apiKey, 'GET', secretsOf(other.applicationId))).json
    await rotate({ grace_period_seconds: 0 })
    expect((await call(client.apiKey, 'GET', secretsOf(other.applicationId))).json).toEqual(before)
  })

  test('a rotation accepts the client ID, and gets 404 for an unknown or deleted application and 403 with a read-only key', async () => {
    const path = (id: string) => `/connect/applications/${id}/client_secrets/rotate`
    expect((await call(client.apiKey, 'POST', path(client.clientId))).status).toBe(201)
    const stranger = await newClient()
    const deleted = await newClient(undefined, client)
    await call(client.apiKey, 'DELETE', `/connect/applications/${deleted.applicationId}`)
    for (const id of ['unknown', deleted.applicationId, stranger.applicationId, client.secretId]) {
      const { status, json } = await call(client.apiKey, 'POST', path(id))
      expect([status, json.code, json.entity_id]).toEqual([404, 'entity_not_found', id])
    }
    const { apiKey } = await newApiKey({ access: 'read', environmentId: client.environmentId })
    expect((await call(apiKey, 'POST', path(client.applicationId))).status).toBe(403)
    expect((await requestToken(stranger)).status).toBe(200)
  })

  test('a rotation records one event with the new and the expiring secrets, without plaintext', async () => {
    const second = await newSecret(client)
    const { secret, ...issued } = (await rotate()).json
    const all = await events()
    expect(all.map(({ type }) => type)).toEqual(['created', 'created', 'rotated'])
    expect(all[2]?.data).toMatchObject({ id: issued.id, secret_hint: issued.secret_hint, expires_at: null })
    const named = all[2]?.data.client_secrets
    expect(named).toHaveLength(2)
    expect(named).toEqual(
      expect.arrayContaining([
        { id: client.secretId, secret_hint: client.secret.slice(-6) },
        { id: second.secretId, secret_hint: second.secret.slice(-6) },
      ]),
    )
    expect(JSON.stringify(all)).not.toContain(secret)
  })
})

describe('rotation and the limit of active secrets', () => {
  test('secrets that a rotation replaced do not count against the limit, and a rotation succeeds at the limit', async () => {
    for (let i = 1; i < LIMIT; i++) await create()
    expect((await create()).json.code).toBe('client_secret_limit_reached')
    expect((await rotate()).status).toBe(201)
    expect(await list()).toHaveLength(LIMIT + 1)
    for (let i = 1; i < LIMIT; i++) expect((await create()).status).toBe(201)
    expect((await create()).json.code).toBe('client_secret_limit_reached')
    expect(await list()).toHaveLength(2 * LIMIT)
  })

  test('if more secrets would expire than the limit allows, a rotation revokes the secret that expires first', async () => {
    const secrets = await rotated(LIMIT + 1, { grace_period_seconds: 2_592_000 })
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual(secrets.slice(1))
    const event = (await events()).at(-1)
    expect((await requestToken(client)).json.error).toBe('invalid_client')
    expect(await get(client.secretId)).toMatchObject({ code: 'entity_not_found' })
    expect(event?.type).toBe('rotated')
    const named = event?.data.client_secrets.map(({ id }: { id: string }) => id)
    expect(named).toHaveLength(LIMIT + 1)
    expect(named).toEqual(expect.arrayContaining(secrets.slice(0, -1)))
  })

  test('a rotation with too many expiring secrets revokes the one that expires first, even if another secret is older', async () => {
    const secrets = await rotated(LIMIT, { grace_period_seconds: 2_592_000 })
    await patch(secrets[2] ?? '', { expires_at: inSeconds(3600) })
    advance(1)
    secrets.push((await rotate({ grace_period_seconds: 2_592_000 })).json.id)
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual(secrets.filter((_, i) => i !== 2))
  })
})

describe('cancelling the expiry that a rotation has set', () => {
  test('a kept secret is valid after the grace period, and counts against the limit again', async () => {
    await rotate()
    advance(1)
    const { status, json } = await undo(client.secretId)
    expect([status, 'expires_at' in json]).toEqual([200, false])
    for (let i = 2; i < LIMIT; i++) expect((await create()).status).toBe(201)
    expect((await create()).json.code).toBe('client_secret_limit_reached')
    advance(2 * DAY_SECONDS * 1000)
    expect((await requestToken(client)).status).toBe(200)
    expect((await events()).map(({ type }) => type)).toContain('updated')
  })

  test('keeping a secret is refused and changes nothing while the application has the maximum number of active secrets', async () => {
    await rotate()
    for (let i = 1; i < LIMIT; i++) await create()
    const before = [await list(), await events()]
    for (const body of [{ expires_at: null }, { expires_at: null, name: 'kept' }]) {
      const { status, json } = await patch(client.secretId, body)
      expect([status, json.code]).toEqual([422, 'client_secret_limit_reached'])
    }
    expect([await list(), await events()]).toEqual(before)
    const another = before[0].find(({ expires_at }: { expires_at?: string }) => expires_at === undefined)
    await revoke({ ...client, secretId: another.id })
    expect((await undo(client.secretId)).status).toBe(200)
  })

  test('keeping a secret after the grace period is refused', async () => {
    await rotate({ grace_period_seconds: 60 })
    advance(60_000)
    const { status, json } = await undo(client.secretId)
    expect([status, json.code]).toEqual([422, 'client_secret_expired'])
  })

  test('keeping a secret twice returns 200 and records one event', async () => {
    await rotate()
    await undo(client.secretId)
    const before = await events()
    expect((await undo(client.secretId)).status).toBe(200)
    expect(await events()).toEqual(before)
  })

  test('an old secret whose expiry is moved within the grace period does not count against the limit', async () => {
    await rotate()
    expect((await patch(client.secretId, { expires_at: inSeconds(60) })).status).toBe(200)
    for (let i = 1; i < LIMIT; i++) expect((await create()).status).toBe(201)
    advance(60_000)
    expect((await requestToken(client)).json.error).toBe('invalid_client')
  })

  test.each([null, inSeconds(5 * DAY_SECONDS), '9999-12-31T23:59:59Z'])(
    'an old secret whose expiry is moved beyond the grace period counts against the limit again: %s',
    async (expires_at) => {
      await rotate()
      for (let i = 1; i < LIMIT; i++) expect((await create()).status).toBe(201)
      const before = [await list(), await events()]
      const { status, json } = await patch(client.secretId, { expires_at })
      expect([status, json.code]).toEqual([422, 'client_secret_limit_reached'])
      expect([await list(), await events()]).toEqual(before)
      const another = before[0].find((secret: { expires_at?: string }) => secret.expires_at === undefined)
      await revoke({ ...client, secretId: another.id })
      expect((await patch(client.secretId, { expires_at })).status).toBe(200)
      expect((await create()).json.code).toBe('client_secret_limit_reached')
    },
  )

  test('a kept secret counts against the limit, even if its expiry is then moved to an earlier time', async () => {
    await rotate({ grace_period_seconds: 60 })
    await patch(client.secretId, { expires_at: inSeconds(5 * DAY_SECONDS) })
    await patch(client.secretId, { expires_at: inSeconds(120) })
    for (let i = 2; i < LIMIT; i++) expect((await create()).status).toBe(201)
    expect((await create()).json.code).toBe('client_secret_limit_reached')
  })
})
