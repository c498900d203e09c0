import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, type Reply } from '../api.ts'
import {
  type Client,
  firstPartyApplication,
  getToken,
  introspect,
  newClient,
  newSecret,
  post,
  requestToken,
  revoke,
  setSecret,
} from './client.ts'
import { countUses } from './uses.ts'

const client = await newClient()
const firstParty = await newClient(firstPartyApplication, client)
const usesOf = await countUses(env.DB)
const MINUTE = 60_000
/** On a busy machine. */
const TIMEOUT_MS = 30_000

type Ask = (client: Client, bindings?: Partial<Env>) => Promise<Reply>
const ways: Record<string, Ask> = {
  'a token': (it, bindings = {}) => requestToken(it, {}, { bindings }),
  introspection: (it, bindings = {}) => introspect(it, 'garbage', { bindings }),
  verification: ({ apiKey, secret }, bindings = {}) =>
    call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret }, bindings }),
}

afterEach(() => vi.useRealTimers())

/** A secret as the list of its application shows it. */
async function listed({ apiKey, applicationId, secretId }: Client) {
  const { json } = await call(apiKey, 'GET', `/connect/applications/${applicationId}/client_secrets`)
  return json.find(({ id }: { id: string }) => id === secretId)
}

/** The column of its row, in Unix ms. */
async function lastUsedAt({ secretId }: Client): Promise<number | null> {
  return env.DB.prepare('SELECT last_used_at FROM client_secrets WHERE id = ?').bind(secretId).first('last_used_at')
}

/** A new secret of a new application: one application has at most five. */
async function unused(beside: Client = client): Promise<Client> {
  const made = await newClient(undefined, beside)
  expect(await listed(made)).toMatchObject({ last_used_at: null })
  return made
}

describe.each(Object.entries(ways))('last_used_at after a use: %s', (_, ask) => {
  test('last_used_at is null before the first successful use, and the time of this use afterwards', async () => {
    const used = await unused()
    const { last_used_at: __, ...before } = await listed(used)
    const start = Date.now()
    expect((await ask(used)).status).toBe(200)
    const { last_used_at, ...after } = await listed(used)
    expect(last_used_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(Date.parse(last_used_at)).toBeGreaterThanOrEqual(start)
    expect(Date.parse(last_used_at)).toBeLessThanOrEqual(Date.now())
    expect(after, 'use is no change: updated_at stays').toEqual(before)
  })

  test('a change of last_used_at records no event', async () => {
    const used = await unused()
    const events = () => env.DB.prepare('SELECT count(*) AS n FROM events').first('n')
    const before = await events()
    await ask(used)
    expect(await events()).toBe(before)
  })

  test('last_used_at is written once in a burst of requests', async () => {
    const used = await unused()
    const replies = await Promise.all(Array.from({ length: 30 }, () => ask(used)))
    for (let i = 0; i < 10; i++) replies.push(await ask(used))
    expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200))
    expect(await usesOf(used.secretId)).toBe(1)
  })

  test('last_used_at is written again after a minute, not before', async () => {
    const used = await unused()
    const recent = Date.now() - MINUTE + 5_000
    await setSecret(used, { last_used_at: recent })
    await ask(used)
    expect(await lastUsedAt(used)).toBe(recent)
    await setSecret(used, { last_used_at: Date.now() - MINUTE })
    const start = Date.now()
    await ask(used)
    expect(await lastUsedAt(used)).toBeGreaterThanOrEqual(start)
  })

  test('last_used_at never moves back, even if a machine whose clock was ahead wrote it', async () => {
    const used = await unused()
    for (const ahead of [1, 2 * MINUTE, 3600_000]) {
      const last = Date.now() + ahead
      await setSecret(used, { last_used_at: last })
      expect((await ask(used)).status).toBe(200)
      expect(await lastUsedAt(used)).toBe(last)
    }
  })

  test('last_used_at is never before created_at, even if the clock went back (CWE-367)', async () => {
    const used = await unused()
    const created = Date.now() + 3600_000
    await setSecret(used, { created_at: created })
    expect((await ask(used)).status).toBe(200)
    expect(await lastUsedAt(used)).toBe(created)
    await ask(used)
    expect(await usesOf(used.secretId)).toBe(1)
  })

  test(
    'last_used_at is written once a minute for five minutes, and also after the clock leaps ahead by ten years',
    async () => {
      const used = await unused()
      const start = Date.now()
      for (let second = 0; second < 300; second += 20) {
        vi.setSystemTime(start + second * 1000)
        expect((await ask(used)).status).toBe(200)
        expect(Date.now() - ((await lastUsedAt(used)) ?? 0)).toBeLessThan(MINUTE)
      }
      expect(await usesOf(used.secretId)).toBe(5)
      vi.setSystemTime(start + 10 * 365 * 24 * 3600_000)
      await ask(used)
      expect(await lastUsedAt(used)).toBe(Date.now())
    },
    TIMEOUT_MS,
  )
})

describe('requests that leave last_used_at unchanged', async () => {
  const other = await newClient()
  const unknown = (await issueCredential('cs', '0')).plaintext

  test.each<[string, (it: Client) => Promise<unknown>]>([
    ['an exchange that is refused with invalid_scope', (it) => requestToken(it, { scope: 'foreign' })],
    ['an exchange that is refused with unsupported_grant_type', (it) => requestToken(it, { grant_type: 'password' })],
    ['an exchange without a grant_type', (it) => requestToken(it, { grant_type: '' })],
    ['introspection without a token', (it) => introspect(it, '')],
    ['listing the secrets', listed],
    ['reading its application', (it) => call(it.apiKey, 'GET', `/connect/applications/${it.applicationId}`)],
    ['a wrong secret of the same client', (it) => requestToken({ ...it, secret: unknown })],
    ['a wrong checksum', (it) => requestToken({ ...it, secret: `${it.secret}x` })],
    ['the secret with the client ID of another client', (it) => requestToken({ ...it, clientId: client.clientId })],
    [
      'introspection by the secret with the client ID of another client',
      (it) => introspect({ ...it, clientId: client.clientId }, 'x'),
    ],
    ['verification for another client', (it) => verify(it, { client_id: client.clientId })],
    ['verification by an API key of another environment', (it) => verify({ ...it, apiKey: other.apiKey })],
    ['verification with an invalid API key', (it) => verify({ ...it, apiKey: `${it.apiKey}x` })],
    [
      'two methods of client authentication',
      (it) =>
        post('/oauth2/token', {
          grant_type: 'client_credentials',
          client_assertion: 'x',
          client_id: it.clientId,
          client_secret: it.secret,
        }),
    ],
    ['a use of another secret of its application', async (it) => requestToken(await newSecret(it))],
  ])('last_used_at is unchanged by %s', async (_, act) => {
    const untouched = await unused()
    await act(untouched)
    expect(await lastUsedAt(untouched)).toBeNull()
    expect((await requestToken(untouched)).status).toBe(200)
    expect(await lastUsedAt(untouched)).not.toBeNull()
  })

  function verify({ apiKey, secret }: Client, more = {}): Promise<Reply> {
    return call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret, ...more } })
  }

  test('last_used_at of a secret is unchanged when another secret introspects its tokens, and the other secret’s last_used_at changes', async () => {
    const holder = await unused()
    const token = await getToken(holder)
    await setSecret(holder, { last_used_at: 1 })
    await setSecret(firstParty, { last_used_at: 1 })
    const sibling = await newSecret(holder)
    for (const asker of [firstParty, sibling]) {
      expect((await introspect(asker, token)).json.active).toBe(true)
      expect(await lastUsedAt(asker)).toBeGreaterThan(1)
    }
    expect(await lastUsedAt(holder)).toBe(1)
  })

  test.each<[string, (it: Client) => Promise<unknown>]>([
    ['revoked', revoke],
    ['expired', (it) => setSecret(it, { expires_at: Date.now() })],
    ['disabled', (it) => setSecret(it, { disabled_at: Date.now() })],
    [
      'a secret of a deleted application',
      (it) => call(it.apiKey, 'DELETE', `/connect/applications/${it.applicationId}`),
    ],
  ])('last_used_at is unchanged by any request with the secret once it is %s', async (_, end) => {
    const ended = await unused()
    await requestToken(ended)
    await end(ended)
    await setSecret(ended, { last_used_at: 1 })
    for (const ask of Object.values(ways)) {
      const { status, json } = await ask(ended)
      expect(status === 401 || json.valid === false).toBe(true)
    }
    expect(await lastUsedAt(ended)).toBe(1)
  })
})

test('last_used_at of an oauth application’s secret is unchanged by an exchange that is refused with unauthorized_client', async () => {
  const other = await newClient(firstPartyApplication, client)
  expect((await requestToken(other)).json.error).toBe('unauthorized_client')
  expect(await lastUsedAt(other)).toBeNull()
  expect((await introspect(other, 'x')).status).toBe(200)
  expect(await lastUsedAt(other)).not.toBeNull()
})
