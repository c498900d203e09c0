import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { call, newApiKey, type Reply } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { basic, type Client, getToken, introspect, newClient, post, requestToken, without } from './client.ts'

const client = await newClient()
const token = await getToken(client)
const wrong = { ...client, secret: (await issueCredential('cs', '0')).plaintext }
const ADDRESS = 'CF-Connecting-IP'
/** On a machine that has other work to do. */
const TIMEOUT_MS = 30_000
const from = (address: string) => ({ [ADDRESS]: address })

afterEach(() => vi.restoreAllMocks())

/** A limiter that keeps what it is asked to count, and has had enough of the keys that `isTooMuch` names. */
function limiter(isTooMuch: (key: string) => boolean = () => false) {
  const keys: string[] = []
  const limit = async ({ key }: { key: string }) => {
    keys.push(key)
    return { success: !isTooMuch(key) }
  }
  return { keys, limit }
}

/** Limiters that do not work, and none at all. */
const BROKEN: [string, unknown][] = [
  ['missing', undefined],
  ['that rejects', { limit: () => Promise.reject(new Error('canary')) }],
  [
    'that throws',
    {
      limit: () => {
        throw new Error('canary')
      },
    },
  ],
  ['that rejects with nothing', { limit: () => Promise.reject(undefined) }],
  ['that answers nothing', { limit: async () => undefined }],
  ['that is no limiter', {}],
]

type Ask = (who: Client, bindings: Partial<Env>, headers?: Record<string, string>) => Promise<Reply>
const ways: Record<string, Ask> = {
  token: (who, bindings, headers = {}) => requestToken(who, {}, { bindings, headers }),
  introspection: (who, bindings, headers = {}) => introspect(who, token, { bindings, headers }),
}

describe.each(Object.entries(ways))('failed client authentication: %s', (_, ask) => {
  test('is counted by client and by address, after the failure', async () => {
    const failures = limiter()
    expect((await ask(wrong, { FAILED_AUTHENTICATIONS: failures }, from('192.0.2.1'))).status).toBe(401)
    expect(failures.keys.sort()).toEqual(['address 192.0.2.1', `client ${client.clientId}`])
  })

  test('is counted by address alone where the client is none, so that nobody fills the memory with names', async () => {
    for (const clientId of ['', 'nobody', `${client.clientId}x`, 'x'.repeat(500)]) {
      const failures = limiter()
      await ask({ ...client, clientId }, { FAILED_AUTHENTICATIONS: failures }, from('2001:db8::1'))
      expect(failures.keys).toEqual(['address 2001:db8::1'])
    }
  })

  test('is counted by client alone where no address is told: unknown ones are not one', async () => {
    const failures = limiter()
    await ask(wrong, { FAILED_AUTHENTICATIONS: failures })
    expect(failures.keys).toEqual([`client ${client.clientId}`])
  })

  test('has no secret in what is counted', async () => {
    const failures = limiter()
    await ask({ ...client, secret: `${client.secret}x` }, { FAILED_AUTHENTICATIONS: failures })
    await ask({ ...client, clientId: client.secret }, { FAILED_AUTHENTICATIONS: failures })
    expect(failures.keys.join()).not.toContain(client.secret)
  })

  test.each([
    ['this client', (key: string) => key.startsWith('client')],
    ['this address', (key: string) => key.startsWith('address')],
    ['both', () => true],
  ])('is 429 with Retry-After where %s has had too many (RFC 6585 §4)', async (_name, isTooMuch) => {
    const bindings = { FAILED_AUTHENTICATIONS: limiter(isTooMuch) }
    const { status, json, headers } = await ask(wrong, bindings, from('192.0.2.1'))
    expect([status, json.error]).toEqual([429, 'temporarily_unavailable'])
    expect(headers.get('Retry-After')).toMatch(/^[1-9]\d?$/)
    expect(headers.has('WWW-Authenticate')).toBe(false)
  })

  test('never keeps the right secret out, and is not counted where there is none', async () => {
    const failures = limiter(() => true)
    expect((await ask(client, { FAILED_AUTHENTICATIONS: failures })).status).toBe(200)
    expect(failures.keys).toEqual([])
  })

  test.each(BROKEN)('is 401, and success success, with a limiter %s', async (_name, broken) => {
    const bindings = { FAILED_AUTHENTICATIONS: broken as RateLimit }
    expect((await ask(wrong, bindings)).status).toBe(401)
    expect((await ask({ ...client, secret: 'x' }, bindings)).status).toBe(401)
    expect((await ask(client, bindings)).status).toBe(200)
  })
})

test('a request that is malformed is not a failed authentication', async () => {
  const failures = limiter(() => true)
  const headers = { Authorization: basic(client.clientId, client.secret) }
  const bindings = { FAILED_AUTHENTICATIONS: failures }
  for (const body of ['', 'grant_type=password', `grant_type=client_credentials&client_secret=${client.secret}`])
    expect((await post('/oauth2/token', body, { headers, bindings })).status).toBe(400)
  expect(failures.keys).toEqual([])
})

describe('with the platform’s own limiter', () => {
  const { FAILED_AUTHENTICATIONS } = env
  const bindings = { FAILED_AUTHENTICATIONS }
  /** Refused without a trip to storage. */
  const garbled = { ...client, secret: 'garbled' }
  let host = 0
  const anywhere = () => from(`198.51.100.${host++}`)

  test(
    'who fails too often is told so, and the right secret gets its token from anywhere',
    async () => {
      const statuses: number[] = []
      // 100 a minute are let fail. The minute may end meanwhile: not twice.
      for (let i = 0; i < 210; i++)
        statuses.push((await requestToken(garbled, {}, { bindings, headers: anywhere() })).status)
      expect(statuses[0]).toBe(401)
      expect(statuses).toContain(429)
      expect(new Set(statuses).size).toBe(2)
      expect((await requestToken(client, {}, { bindings, headers: anywhere() })).status).toBe(200)
      const bystander = await newClient()
      expect(
        (await requestToken({ ...bystander, secret: wrong.secret }, {}, { bindings, headers: anywhere() })).status,
      ).toBe(401)
    },
    TIMEOUT_MS,
  )

  test(
    'who tries many clients from one address is told so',
    async () => {
      const here = from('203.0.113.7')
      const statuses = new Set<number>()
      for (let i = 0; i < 210; i++) {
        const { status } = await requestToken(
          { ...garbled, clientId: newId('client', i) },
          {},
          { bindings, headers: here },
        )
        statuses.add(status)
      }
      expect([...statuses]).toEqual([401, 429])
      expect((await requestToken(client, {}, { bindings, headers: here })).status).toBe(200)
    },
    TIMEOUT_MS,
  )
})

describe('calls of the management API', () => {
  const list = (apiKey: string, bindings: Partial<Env>) => call(apiKey, 'GET', '/connect/applications', { bindings })

  test('are counted per key, each once, and not by its plaintext', async () => {
    const calls = limiter()
    const other = await newApiKey({ environmentId: client.environmentId })
    for (const apiKey of [client.apiKey, client.apiKey, other.apiKey]) await list(apiKey, { MANAGEMENT_CALLS: calls })
    const [first, second, third] = calls.keys
    expect(calls.keys).toHaveLength(3)
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    expect(second).toBe(first)
    expect(third).not.toBe(first)
  })

  test('are 429 with Retry-After where there are too many, and ask no storage', async () => {
    const counter = counted(env.DB)
    const bindings = { MANAGEMENT_CALLS: limiter(() => true), DB: counter.database }
    for (const path of ['/connect/applications', '/connect/applications/x', '/connect/applications/x/client_secrets']) {
      const { status, json, headers } = await call(client.apiKey, 'GET', path, { bindings })
      expect([status, json]).toEqual([429, { message: 'Too Many Requests', code: 'rate_limit_exceeded' }])
      expect(headers.get('Retry-After')).toMatch(/^[1-9]\d?$/)
    }
    expect(counter.trips).toBe(0)
  })

  test('are not counted where the key is none', async () => {
    const calls = limiter()
    for (const apiKey of ['', 'x', `${client.apiKey}x`, client.secret]) {
      expect((await list(apiKey, { MANAGEMENT_CALLS: calls })).status).toBe(401)
    }
    expect(calls.keys).toEqual([])
  })

  test.each(BROKEN)('are answered with a limiter %s', async (_, broken) => {
    const logged = vi.spyOn(console, 'error')
    const bindings = { MANAGEMENT_CALLS: broken as RateLimit }
    expect((await list(client.apiKey, bindings)).status).toBe(200)
    expect((await list('x', bindings)).status).toBe(401)
    if (broken !== undefined)
      expect(logged).toHaveBeenCalledWith(expect.objectContaining({ message: 'rate limiter failed' }))
  })

  test('are limited by default, by the platform', () => expect(typeof env.MANAGEMENT_CALLS.limit).toBe('function'))

  test('and OAuth’s are none of them', async () => {
    const calls = limiter(() => true)
    expect((await requestToken(client, {}, { bindings: { MANAGEMENT_CALLS: calls } })).status).toBe(200)
    expect(
      (await requestToken(client, {}, { bindings: without('MANAGEMENT_CALLS', 'FAILED_AUTHENTICATIONS') })).status,
    ).toBe(200)
  })
})
