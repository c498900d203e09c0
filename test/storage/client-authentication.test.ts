import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId, startOfIds } from '../../src/credential/id.ts'
import {
  authenticateClient,
  authenticateIntrospection,
  type ClientRefusal,
  recordRefusedUse,
  touchClientSecret,
  type Use,
  verifyClientSecret,
} from '../../src/storage/client-authentication.ts'
import { call, m2mApplication, newApiKey, operatorDatabase } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { counted, withBatch } from '../faults/wrapped.ts'
import { type Client, newClient, newSecret, setSecret } from '../oauth/client.ts'

const HOUR = 60 * 60 * 1000
const DAY = 24 * HOUR
const USE: Use = { address: '203.0.113.0/24', country: 'CH', userAgent: 'worker/1.0' }
const ORIGIN = { address: '203.0.113.7', country: 'CH', userAgent: 'worker/1.0', clientRequestId: 'mine-1' }

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** A database, and a function that waits for the work behind the response. */
function opened(binding = env.DB) {
  const work: Promise<unknown>[] = []
  const database = { ...operatorDatabase(binding), waitUntil: (promise: Promise<unknown>) => void work.push(promise) }
  const done = async () => {
    while (work.length > 0) await work.shift()
  }
  return { database, done }
}

const proofOf = async ({ clientId, secret }: Client, now = Date.now()) => {
  return { digest: await sha256(secret), clientId, address: null, now }
}

const rowOf = ({ secretId }: Client) =>
  env.DB.prepare('SELECT * FROM client_secrets WHERE id = ?').bind(secretId).first<Record<string, unknown>>()

async function eventsOf({ environmentId }: Client, type: string) {
  const { results } = await env.DB.prepare('SELECT * FROM events WHERE environment_id = ? AND type = ? ORDER BY seq')
    .bind(environmentId, `connect_application_secret.${type}`)
    .all<Record<string, unknown>>()
  return results
}

/** Authenticates a client, lets something happen to its secret, and records the use. Returns the row. */
async function useAfter(client: Client, happen: () => Promise<unknown>, now?: number) {
  const { database, done } = opened()
  const proof = await proofOf(client, now)
  const found = await authenticateClient(database, proof)
  if (found.refused) throw new Error(found.refused)
  await happen()
  touchClientSecret(database, proof, found.client, USE)
  await done()
  return rowOf(client)
}

describe('a malformed result of the database', () => {
  test.each([
    ['no row', []],
    [
      'a row without a secret and without a reason for a refusal',
      [{ refusal: null, secret_id: null, allowed_ips: null }],
    ],
  ])('the authentication of a client throws an error if the database returns %s', async (_, results) => {
    const { database } = opened(withBatch(env.DB, async () => [{ results }]))
    const proof = await proofOf(await newClient())
    await expect(authenticateClient(database, proof)).rejects.toThrow('cannot be read')
  })
})

test('verifyClientSecret returns null for an unknown secret', async () => {
  const client = await newClient()
  const caller = { kind: 'api_key', digest: await sha256(client.apiKey) } as const
  const proof = { ...(await proofOf(client)), digest: await sha256('unknown') }
  const outcome = await verifyClientSecret(operatorDatabase(), caller, proof, USE)
  expect(outcome).toMatchObject({ granted: null, identity: { environmentId: client.environmentId } })
})

test.each([
  [{ access: 'read' }, true],
  [{ access: 'read', permissions: ['secrets:verify'] }, true],
  [{ access: 'read', permissions: ['secrets:write', 'applications:write', 'events:read'] }, false],
] as const)('a key with %j is allowed to verify a secret: %s', async (rights, isAllowed) => {
  const client = await newClient()
  const key = await newApiKey({ ...rights, environmentId: client.environmentId })
  const caller = { kind: 'api_key', digest: key.digest } as const
  const outcome = await verifyClientSecret(operatorDatabase(), caller, await proofOf(client), USE)
  expect(outcome).toMatchObject(
    isAllowed ? { granted: { clientSecret: { id: client.secretId } } } : { refused: 'forbidden' },
  )
})

test('the authentication of a client returns the last use and the expiry of its secret, and whether a rotation has replaced the secret', async () => {
  const client = await newClient()
  const now = Date.now()
  const [id, expiresAt] = [client.secretId, now + HOUR]
  const find = async () => {
    const found = await authenticateClient(operatorDatabase(), await proofOf(client, now))
    return found.refused ?? found.client.clientSecret
  }
  expect(await find()).toEqual({ id, lastUsedAt: null, expiresAt: null, isRotatedOut: false })
  await setSecret(client, { last_used_at: 5, expires_at: expiresAt })
  expect(await find()).toEqual({ id, lastUsedAt: 5, expiresAt, isRotatedOut: false })
  await setSecret(client, { retires_at: expiresAt })
  expect(await find()).toEqual({ id, lastUsedAt: 5, expiresAt, isRotatedOut: true })
})

describe('the scopes of a token that a client introspects', async () => {
  const scoped = { ...m2mApplication, scopes: ['read', 'write'] }
  const client = await newClient(scoped)
  const holder = await newClient(scoped, client)
  const stranger = await newClient(scoped)

  async function scopesOf(token: { secretId: string; clientId: string } | null) {
    const found = await authenticateIntrospection(operatorDatabase(), await proofOf(client), token)
    return found.refused ?? found.tokenScopes
  }

  test('the scopes of a token are those that its application and its secret both have', async () => {
    expect(await scopesOf(holder)).toEqual(['read', 'write'])
    expect(await scopesOf(client)).toEqual(['read', 'write'])
    const { json } = await call(holder.apiKey, 'POST', `/connect/applications/${holder.applicationId}/client_secrets`, {
      body: { scopes: ['write'] },
    })
    expect(await scopesOf({ secretId: json.id, clientId: holder.clientId })).toEqual(['write'])
  })

  test('a token has no scopes if the secret that it was issued for belongs to another environment or another client', async () => {
    expect(await scopesOf(null)).toBeNull()
    expect(await scopesOf(stranger)).toBeNull()
    expect(await scopesOf({ secretId: holder.secretId, clientId: client.clientId })).toBeNull()
    expect(await scopesOf({ secretId: stranger.secretId, clientId: holder.clientId })).toBeNull()
    expect(await scopesOf({ secretId: holder.secretId, clientId: stranger.clientId })).toBeNull()
  })

  test.each([
    ['revoked', { revoked_at: 1 }],
    ['disabled', { disabled_at: 1 }],
    ['expired', { expires_at: 1 }],
  ])('a token has no scopes if its secret is %s', async (_, columns) => {
    const ended = await newSecret(holder)
    expect(await scopesOf(ended)).toEqual(['read', 'write'])
    await setSecret(ended, columns)
    expect(await scopesOf(ended)).toBeNull()
  })

  test('a refused client gets its refusal and no scopes of the token', async () => {
    const refused = await newSecret(client)
    await setSecret(refused, { disabled_at: 1 })
    const { secretId, environmentId, applicationId } = refused
    expect(await authenticateIntrospection(operatorDatabase(), await proofOf(refused), holder)).toEqual({
      refused: 'secret_disabled',
      secretId,
      environmentId,
      applicationId,
    })
  })

  test('a token has no scopes if its application is deleted', async () => {
    const deleted = await newClient(scoped, client)
    await env.DB.prepare('UPDATE applications SET deleted_at = 1 WHERE id = ?').bind(deleted.applicationId).run()
    expect(await scopesOf(deleted)).toBeNull()
  })
})

describe('a use of a client secret', () => {
  test('a use of an active secret is recorded with its time, network, country and user agent', async () => {
    const now = stopClock()
    const row = await useAfter(await newClient(), async () => {}, now)
    expect(row).toMatchObject({
      last_used_at: now,
      last_used_address: '203.0.113.0/24',
      last_used_country: 'CH',
      last_used_agent: 'worker/1.0',
    })
  })

  test('a use is never recorded before the creation of the secret, even if the clock went back', async () => {
    const now = stopClock()
    const client = await newClient()
    await setSecret(client, { created_at: now + 1_000 })
    expect(await useAfter(client, async () => {}, now)).toMatchObject({ last_used_at: now + 1_000 })
  })

  test.each([
    ['revoked', { revoked_at: 1 }],
    ['disabled', { disabled_at: 1 }],
    ['recorded as expired', { expiry_noted_at: 1 }],
    // Later than now, however late the test runs.
    ['used by another isolate', { last_used_at: Date.now() + HOUR }],
  ])('a use is not recorded if the secret has been %s since the authentication', async (_, columns) => {
    const client = await newClient()
    const row = await useAfter(client, () => setSecret(client, columns))
    expect(row).toMatchObject({ last_used_address: null, used_minutes: null })
  })
})

test('recording a use sends one statement, or two shortly before the expiry that a rotation has set', async () => {
  const client = await newClient()
  for (const [isRotatedOut, count] of [
    [false, 1],
    [true, 2],
  ] as const) {
    const counter = counted(env.DB)
    const { database, done } = opened(counter.database)
    const id = newId('secret', Date.now())
    const clientSecret = { id, lastUsedAt: null, expiresAt: Date.now() + HOUR, isRotatedOut }
    touchClientSecret(database, await proofOf(client), { clientSecret }, USE)
    await done()
    expect(counter.statements).toBe(count)
  }
})

describe('a use shortly before the expiry that a rotation has set', () => {
  /** A secret that was rotated out, so that it expires after this time. */
  async function rotatedOut(now: number, after: number) {
    const client = await newClient()
    await setSecret(client, { expires_at: now + after, retires_at: now + after })
    return client
  }

  test.each([
    [DAY, 1],
    [DAY + 1, 0],
    [1, 1],
  ])('a use %i ms before the expiry that a rotation has set records %i events', async (after, count) => {
    const now = stopClock()
    const client = await rotatedOut(now, after)
    await useAfter(client, async () => {}, now)
    expect(await eventsOf(client, 'used_while_expiring')).toHaveLength(count)
  })

  test('two uses shortly before the same expiry record one event, without an error', async () => {
    const failed = vi.spyOn(console, 'error')
    const client = await rotatedOut(stopClock(), HOUR)
    for (const _ of [1, 2]) await useAfter(client, async () => {}, advance(60_000))
    expect(await eventsOf(client, 'used_while_expiring')).toHaveLength(1)
    expect(failed).not.toHaveBeenCalled()
  })

  test('the event of a use shortly before the expiry has the secret and the origin of the use, and the ID of the event is derived from the expiry', async () => {
    const now = stopClock()
    const client = await rotatedOut(now, HOUR)
    await useAfter(client, async () => {}, now)
    const [event] = await eventsOf(client, 'used_while_expiring')
    const expiresAt = now + HOUR
    expect(event).toMatchObject({
      id: startOfIds('event', expiresAt - (expiresAt % HOUR) + 1) + client.secretId.slice(-16),
      organization_id: m2mApplication.organization_id,
      actor_type: 'system',
      address: null,
      country: 'CH',
      user_agent: 'worker/1.0',
      created_at: now,
    })
    expect(JSON.parse(`${event?.data}`)).toMatchObject({ id: client.secretId, last_used_at: now })
  })

  test.each([
    ['revoked', { revoked_at: 1 }],
    ['disabled', { disabled_at: 1 }],
    ['recorded as expired', { expiry_noted_at: 1 }],
    ['kept', { retires_at: null }],
  ])(
    'a use shortly before the expiry records no event if the secret has been %s since the authentication',
    async (_, columns) => {
      const now = stopClock()
      const client = await rotatedOut(now, HOUR)
      await useAfter(client, () => setSecret(client, columns), now)
      expect(await eventsOf(client, 'used_while_expiring')).toEqual([])
    },
  )

  test('a use shortly before the expiry records no event if the expiry has been moved to the time of the use', async () => {
    const now = stopClock()
    const client = await rotatedOut(now, HOUR)
    await useAfter(client, () => setSecret(client, { expires_at: now }), now)
    expect(await eventsOf(client, 'used_while_expiring')).toEqual([])
  })
})

describe('a refused use', () => {
  async function refuse(client: Client, refused: ClientRefusal, now = Date.now()) {
    const { database, done } = opened()
    const { secretId, environmentId, applicationId } = client
    const found = { refused, secretId, environmentId, applicationId }
    recordRefusedUse(database, await proofOf(client, now), found, 'request-1', ORIGIN)
    await done()
  }

  test.each<[ClientRefusal, string]>([
    ['secret_revoked', 'revoked'],
    ['secret_expired', 'expired'],
    ['secret_disabled', 'disabled'],
    ['application_deleted', 'application_deleted'],
    ['address_not_allowed', 'address_not_allowed'],
  ])('a use that is refused because of %s records an event with the reason %s', async (refused, reason) => {
    const now = stopClock()
    const client = await newClient()
    await refuse(client, refused, now)
    const [event, ...others] = await eventsOf(client, 'refused')
    expect(others).toEqual([])
    expect(event).toMatchObject({
      id: startOfIds('event', now - (now % HOUR)) + client.secretId.slice(-16),
      organization_id: m2mApplication.organization_id,
      actor_type: 'system',
      request_id: 'request-1',
      client_request_id: 'mine-1',
      address: '203.0.113.7',
      country: 'CH',
      user_agent: 'worker/1.0',
      created_at: now,
    })
    expect(JSON.parse(`${event?.data}`)).toMatchObject({ id: client.secretId, reason })
  })

  test('refused uses of a secret record one event in each clock hour, without an error', async () => {
    const failed = vi.spyOn(console, 'error')
    const client = await newClient()
    const now = stopClock()
    const hour = now + HOUR - (now % HOUR)
    for (const time of [hour, hour + HOUR - 1, hour + HOUR]) await refuse(client, 'secret_revoked', time)
    expect((await eventsOf(client, 'refused')).map((event) => event.created_at)).toEqual([hour, hour + HOUR])
    expect(failed).not.toHaveBeenCalled()
  })

  test.each<ClientRefusal>(['client_unknown', 'client_mismatch', 'secret_unknown'])(
    'a use that is refused because of %s records no event',
    async (refused) => {
      const failed = vi.spyOn(console, 'error')
      const client = await newClient()
      await refuse(client, refused)
      expect(await eventsOf(client, 'refused')).toEqual([])
      expect(failed).not.toHaveBeenCalled()
    },
  )
})
