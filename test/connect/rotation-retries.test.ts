import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Call, call, type Reply } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { withBatch } from '../faults/wrapped.ts'
import { type Client, newClient, newSecret, requestToken } from '../oauth/client.ts'

/** A rotation that is sent again, by the Worker or by its caller, has happened once. */
const LOST = 'D1_ERROR: Network connection lost.'
const OVERLOADED = 'D1_ERROR: D1 DB is overloaded. Requests queued for too long.'

let client: Client
let headers: Record<string, string>

beforeEach(async () => {
  stopClock()
  client = await newClient()
  headers = { 'Idempotency-Key': crypto.randomUUID() }
  advance(1)
})

const secretsOf = () => `/connect/applications/${client.applicationId}/client_secrets`
const rotate = (options: Call = {}) => call(client.apiKey, 'POST', `${secretsOf()}/rotate`, options)
const list = async () => (await call(client.apiKey, 'GET', secretsOf())).json
const patch = (id: string, body: object) => call(client.apiKey, 'PATCH', `/connect/client_secrets/${id}`, { body })

/** All that there is of the environment's secrets and events. */
async function stored() {
  const [secrets, events] = await env.DB.batch<Record<string, unknown>>(
    ['client_secrets', 'events'].map((table) =>
      env.DB.prepare(`SELECT * FROM ${table} WHERE environment_id = ? ORDER BY id`).bind(client.environmentId),
    ),
  )
  return { secrets: secrets?.results ?? [], events: events?.results ?? [] }
}

const rotations = async () =>
  (await stored()).events.filter(({ type }) => type === 'connect_application_secret.rotated').length

/** A database that fails at the first batch: after it was committed, and after what `meanwhile` does, or before. */
function failing(message: string, when: 'after' | 'before', meanwhile = async () => {}) {
  let tries = 0
  return withBatch(env.DB, async (real, statements) => {
    if (tries++ > 0) return real(statements)
    if (when === 'after') await real(statements)
    await meanwhile()
    throw new Error(message)
  })
}

async function expectReplay(first: Reply, options: Call = {}) {
  const before = await stored()
  const again = await rotate({ headers, ...options })
  expect([again.status, again.headers.get('Idempotent-Replayed'), again.text]).toEqual([201, 'true', first.text])
  const { secrets, events } = await stored()
  // The list of secrets is as it was, but for when one was last used.
  expect({ secrets, events }).toEqual(before)
}

describe('under one Idempotency-Key', () => {
  test('a rotation is answered with the same secret, and retires nothing again', async () => {
    const first = await rotate({ headers })
    advance(30 * 60_000)
    await newSecret(client)
    await patch(client.secretId, { expires_at: null })
    await expectReplay(first)
    expect((await requestToken({ ...client, secret: first.json.secret })).status).toBe(200)
  })

  test('it is answered as the secret was created, whatever was changed since', async () => {
    const first = await rotate({ headers })
    await patch(first.json.id, { name: 'renamed', expires_at: '2999-01-01T00:00:00Z' })
    await expectReplay(first)
  })

  test('it is answered alike after the new secret has been rotated out itself', async () => {
    const first = await rotate({ headers })
    await rotate()
    await expectReplay(first)
  })

  test('it is 422 once its secret was revoked, and changes nothing', async () => {
    const { id } = (await rotate({ headers })).json
    await call(client.apiKey, 'DELETE', `/connect/client_secrets/${id}`)
    const before = await stored()
    const { status, json } = await rotate({ headers })
    expect([status, json.code]).toEqual([422, 'client_secret_revoked'])
    expect(await stored()).toEqual(before)
  })

  test.each<[string, string, object]>([
    ['another grace', '/rotate', { grace_period_seconds: 60 }],
    ['a create', '', {}],
  ])('%s is another request', async (_, suffix, body) => {
    await rotate({ headers, body: {} })
    const before = await stored()
    const { status, json } = await call(client.apiKey, 'POST', secretsOf() + suffix, { headers, body })
    expect([status, json.code]).toEqual([422, 'idempotency_key_reused'])
    expect(await stored()).toEqual(before)
  })

  test('past its hour it is a rotation of its own', async () => {
    const first = await rotate({ headers })
    advance(60 * 60_000)
    const second = await rotate({ headers })
    expect([second.status, second.headers.get('Idempotent-Replayed')]).toEqual([201, null])
    expect(second.json.id).not.toBe(first.json.id)
    expect(await rotations()).toBe(2)
  })
})

describe('when the reply of the database is lost', () => {
  test.each(['before', 'after'] as const)('%s the commit, the Worker’s retry leaves one rotation', async (when) => {
    const { status, json } = await rotate({ bindings: { DB: failing(LOST, when) } })
    expect(status).toBe(201)
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual([client.secretId, json.id])
    expect(await rotations()).toBe(1)
    expect((await requestToken({ ...client, secret: json.secret })).status).toBe(200)
  })

  test.each(['before', 'after'] as const)(
    '%s the commit, and the caller told 503, the same key leads to one rotation',
    async (when) => {
      // With a use of the key just noted, a failure that lasts is not tried again.
      await list()
      expect((await rotate({ headers, bindings: { DB: failing(OVERLOADED, when) } })).status).toBe(503)
      expect(await rotations()).toBe(Number(when === 'after'))
      advance(60_000)
      const { status, json } = await rotate({ headers })
      expect(status).toBe(201)
      const secrets = await list()
      expect(secrets.map(({ id }: { id: string }) => id)).toEqual([client.secretId, json.id])
      const retiredAt = Date.parse(secrets[0].updated_at)
      expect(Date.now() - retiredAt).toBe(when === 'after' ? 60_000 : 0)
      expect(Date.parse(secrets[0].expires_at)).toBe(retiredAt + 86_400_000)
      expect(await rotations()).toBe(1)
      expect((await requestToken({ ...client, secret: json.secret })).status).toBe(200)
    },
  )

  test('what was undone before the retry stays undone', async () => {
    const DB = failing(LOST, 'after', async () => {
      expect((await patch(client.secretId, { expires_at: null })).status).toBe(200)
    })
    expect((await rotate({ bindings: { DB } })).status).toBe(201)
    expect((await list())[0]).not.toHaveProperty('expires_at')
    expect(await rotations()).toBe(1)
  })

  test('what was created before the retry is not retired', async () => {
    let created = ''
    const DB = failing(LOST, 'after', async () => {
      advance(1)
      created = (await newSecret(client)).secretId
    })
    const { json } = await rotate({ headers, bindings: { DB } })
    const [, issued, later] = await list()
    expect([issued.id, later.id]).toEqual([json.id, created])
    expect(later).not.toHaveProperty('expires_at')
  })

  test('what was revoked before the retry stays revoked, and the caller is told that of the new secret too', async () => {
    const DB = failing(LOST, 'after', async () => {
      expect((await call(client.apiKey, 'DELETE', secretsOf())).status).toBe(204)
    })
    const { status, json } = await rotate({ bindings: { DB } })
    expect([status, json.code]).toEqual([422, 'client_secret_revoked'])
    expect(await list()).toEqual([])
    expect(await rotations()).toBe(1)
  })
})
