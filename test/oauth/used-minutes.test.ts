import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { readUsedMinutes } from '../../src/storage/used-minutes.ts'
import { call } from '../api.ts'
import { type Client, newClient, requestToken } from './client.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const NOON = Date.UTC(2030, 0, 15, 12)

afterEach(() => vi.useRealTimers())

async function row({ secretId }: Client) {
  return env.DB.prepare('SELECT * FROM client_secrets WHERE id = ?').bind(secretId).first<Record<string, never>>()
}

async function minutes(client: Client): Promise<number[]> {
  const { used_minutes = null, last_used_at = null } = (await row(client)) ?? {}
  return readUsedMinutes(used_minutes, last_used_at, Date.now())
}

/** A new client whose secret is used at these times. */
async function usedAt(...times: number[]): Promise<Client> {
  vi.setSystemTime((times[0] ?? NOON) - MINUTE)
  const client = await newClient()
  for (const time of times) {
    vi.setSystemTime(time)
    expect((await requestToken(client)).status).toBe(200)
  }
  return client
}

const days = (...latest: number[]) => [...Array<number>(30 - latest.length).fill(0), ...latest]

describe('the count of minutes in which a secret was used', () => {
  test('a secret that was never used has no used minutes', async () => {
    expect(await minutes(await newClient())).toEqual(days())
  })

  test('a minute is counted once, however often the secret is used in this minute', async () => {
    const client = await usedAt(NOON, NOON + 1_000, NOON + 59_000, NOON + MINUTE, NOON + 3 * MINUTE)
    expect(await minutes(client)).toEqual(days(3))
  })

  test('the used minutes are counted separately for each day', async () => {
    const client = await usedAt(NOON, NOON + DAY, NOON + DAY + MINUTE, NOON + 4 * DAY)
    expect(await minutes(client)).toEqual(days(1, 2, 0, 0, 1))
    vi.setSystemTime(NOON + 6 * DAY)
    expect(await minutes(client)).toEqual(days(1, 2, 0, 0, 1, 0, 0))
  })

  test.each([29, 30, 31, 1000])(
    'a use %i days before the latest use is counted only if it was less than 30 days before',
    async (distance) => {
      const client = await usedAt(NOON, NOON + distance * DAY)
      expect(await minutes(client)).toEqual(distance < 30 ? [1, ...Array<number>(28).fill(0), 1] : days(1))
      expect((await row(client))?.used_minutes).toHaveLength(120)
    },
  )

  test('for a secret from before the migration, counting starts with the next use', async () => {
    const client = await usedAt(NOON)
    await env.DB.prepare('UPDATE client_secrets SET used_minutes = NULL WHERE id = ?').bind(client.secretId).run()
    vi.setSystemTime(NOON + MINUTE)
    await requestToken(client)
    expect(await minutes(client)).toEqual(days(1))
  })
})

describe('the origin of the latest use', () => {
  const from = { 'CF-Connecting-IP': '2001:db8:1:2::3', 'User-Agent': 'worker/1.0' }

  test('the origin of a token request is stored as its network and its user agent, without the full IP address', async () => {
    const client = await newClient()
    await requestToken(client, {}, { headers: from })
    expect(await row(client)).toMatchObject({ last_used_address: '2001:db8:1::/48', last_used_agent: 'worker/1.0' })
  })

  test('the origin of a use by verify is the network of the service that called verify', async () => {
    const client = await newClient()
    const body = { client_secret: client.secret }
    const headers = { ...from, 'CF-Connecting-IP': '192.0.2.7' }
    await call(client.apiKey, 'POST', '/connect/client_secrets/verify', { body, headers })
    expect(await row(client)).toMatchObject({ last_used_address: '192.0.2.0/24', last_used_country: null })
  })
})
