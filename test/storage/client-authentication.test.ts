import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { startOfIds } from '../../src/credential/id.ts'
import {
  authenticateClient,
  type ClientRefusal,
  recordRefusedUse,
  touchClientSecret,
  type Use,
} from '../../src/storage/client-authentication.ts'
import { m2mApplication, operatorDatabase } from '../api.ts'
import { stopClock } from '../clock.ts'
import { type Client, newClient, setSecret } from '../oauth/client.ts'

const HOUR = 60 * 60 * 1000
const DAY = 24 * HOUR
const USE: Use = { address: '203.0.113.0/24', country: 'CH', userAgent: 'worker/1.0' }
const ORIGIN = { address: '203.0.113.7', country: 'CH', userAgent: 'worker/1.0', clientRequestId: 'mine-1' }

afterEach(() => void vi.useRealTimers())

/** A database, and a function that waits for the work behind the response. */
function opened() {
  const work: Promise<unknown>[] = []
  const database = { ...operatorDatabase(), waitUntil: (promise: Promise<unknown>) => void work.push(promise) }
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

describe('a use of a client secret', () => {
  test('a use of an active secret is recorded with its time and its origin', async () => {
    const now = stopClock()
    const row = await useAfter(await newClient(), async () => {}, now)
    expect(row).toMatchObject({
      last_used_at: now,
      last_used_address: '203.0.113.0/24',
      last_used_country: 'CH',
      last_used_agent: 'worker/1.0',
    })
  })

  test.each([
    ['revoked', { revoked_at: 1 }],
    ['disabled', { disabled_at: 1 }],
    ['recorded as expired', { expiry_noted_at: 1 }],
    ['used by another isolate', { last_used_at: Date.now() }],
  ])('a use is not recorded if the secret has been %s since the authentication', async (_, columns) => {
    const client = await newClient()
    const row = await useAfter(client, () => setSecret(client, columns))
    expect(row).toMatchObject({ last_used_address: null, used_minutes: null })
  })
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

  test('the event of a use shortly before the expiry has the secret, the origin of the use and the ID of this expiry', async () => {
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

  test.each<ClientRefusal>(['client_unknown', 'client_mismatch', 'secret_unknown'])(
    'a use that is refused because of %s records no event',
    async (refused) => {
      const client = await newClient()
      await refuse(client, refused)
      expect(await eventsOf(client, 'refused')).toEqual([])
    },
  )
})
