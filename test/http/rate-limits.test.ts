import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { Context } from 'hono'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import type { HonoEnv } from '../../src/http/context.ts'
import { type Attempt, isOverLimit, RecentMap, recordFailure } from '../../src/http/rate-limits.ts'
import { call, newApiKey } from '../api.ts'
import { stopClock } from '../clock.ts'
import { counted, withBatch } from '../faults/wrapped.ts'
import { basic, newClient } from '../oauth/client.ts'
import { size } from '../sizes.ts'

/** The limits that wrangler.toml states: 100 failures in 60 seconds, 6,000 calls in 60 seconds. */
const MAX_FAILURES = 100
const WINDOW_MS = 60_000
const PAUSE_MS = 10_000
const isLong = inject('isLong')

const client = await newClient()
const { apiKey } = client

interface Answer {
  readonly status: number
  readonly headers: Headers
  /** D1 requests that it cost. */
  readonly trips: number
}

interface Options {
  readonly address?: string
  readonly bindings?: Partial<Env>
}

/** Sends a request from an address, and waits for what goes on behind the answer. */
async function send(path: string, init: RequestInit, { address, bindings = {} }: Options = {}): Promise<Answer> {
  const counter = counted(bindings.DB ?? env.DB)
  const context = createExecutionContext()
  const request = new Request(`https://oncekey.test${path}`, { redirect: 'manual', ...init })
  if (address) request.headers.set('CF-Connecting-IP', address)
  // The clock stands still, so that a busy machine needs more than the usual time.
  const settings = { ...env, REQUEST_BUDGET_MS: 30_000, ...bindings, DB: counter.database }
  const response = await app.fetch(request, settings, context)
  await waitOnExecutionContext(context)
  await response.body?.cancel()
  return { status: response.status, headers: response.headers, trips: counter.trips }
}

const form = (path: string, parameters: Record<string, string>, headers: Record<string, string>, options?: Options) =>
  send(path, { method: 'POST', headers, body: new URLSearchParams(parameters) }, options)

const FORM_OF_OURS = { Origin: 'https://oncekey.test', 'Sec-Fetch-Site': 'same-origin' }

/** Every family of routes that takes a credential: `refused` is its status for an invalid one. */
interface Family {
  readonly prefix: 'cs' | 'sk' | 'session'
  readonly refused: number
  readonly send: (credential: string, options?: Options, clientId?: string) => Promise<Answer>
}
const FAMILIES: Record<string, Family> = {
  'the token endpoint': {
    prefix: 'cs',
    refused: 401,
    send: (secret, options, clientId = client.clientId) =>
      form('/oauth2/token', { grant_type: 'client_credentials' }, { Authorization: basic(clientId, secret) }, options),
  },
  introspection: {
    prefix: 'cs',
    refused: 401,
    send: (secret, options, clientId = client.clientId) =>
      form('/oauth2/introspection', { token: 'x', client_id: clientId, client_secret: secret }, {}, options),
  },
  'reads of the management API': {
    prefix: 'sk',
    refused: 401,
    send: (key, options) => send('/connect/applications', { headers: { Authorization: `Bearer ${key}` } }, options),
  },
  'writes of the management API': {
    prefix: 'sk',
    refused: 401,
    send: (key, options) =>
      send(
        `/connect/applications/${client.applicationId}`,
        {
          method: 'PUT',
          headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
          body: '{"name":"changed"}',
        },
        options,
      ),
  },
  events: {
    prefix: 'sk',
    refused: 401,
    send: (key, options) => send('/events', { headers: { Authorization: `Bearer ${key}` } }, options),
  },
  'sign-in': {
    prefix: 'sk',
    refused: 422,
    send: (key, options) => form('/dashboard/sign-in', { api_key: key }, FORM_OF_OURS, options),
  },
  'pages of the dashboard': {
    prefix: 'session',
    refused: 303,
    send: (session, options) => send('/dashboard', { headers: { Cookie: `__Host-session=${session}` } }, options),
  },
}
const families = Object.entries(FAMILIES)

const madeUp = async (prefix: string) => (await issueCredential(prefix, '0')).plaintext
const succeeded = ({ status, headers }: Answer) => status < 300 || headers.has('Set-Cookie')

/** A credential that the family accepts. */
async function validFor({ prefix }: Family): Promise<string> {
  if (prefix === 'cs') return client.secret
  return prefix === 'sk' ? apiKey : sessionFor(apiKey)
}

async function sessionFor(key: string, address?: string): Promise<string> {
  const context = createExecutionContext()
  const request = new Request('https://oncekey.test/dashboard/sign-in', {
    method: 'POST',
    headers: { ...FORM_OF_OURS, ...(address && { 'CF-Connecting-IP': address }) },
    body: new URLSearchParams({ api_key: key }),
    redirect: 'manual',
  })
  const response = await app.fetch(request, env, context)
  await waitOnExecutionContext(context)
  return /__Host-session=(\w+)/.exec(response.headers.get('Set-Cookie') ?? '')?.[1] ?? ''
}

/** An IPv4 address, or a /64, that no other test has used. */
let networks = 0
const newAddress = () => `198.51.${networks >> 8}.${networks++ & 255}`
const newNetwork = () => `2001:db8:${(networks++).toString(16)}:1`

/** Another address of the network each time. */
const inNetwork = (network: string) => (i: number) => `${network}:${i.toString(16)}:0:0:${(i * 7).toString(16)}`
const always =
  <T>(value: T) =>
  () =>
    value

/** A rate-limit binding that keeps the keys that it counts, and has had enough of those that `isTooMuch` names. */
function limiter(isTooMuch: (key: string) => boolean = () => false) {
  const keys: string[] = []
  const limit = async ({ key }: { key: string }) => {
    keys.push(key)
    return { success: !isTooMuch(key) }
  }
  return { keys, limit }
}

/** Counts a failure, as a request does. Without a digest, the credential was malformed. */
function fail(address: string | undefined, attempt: Attempt): void {
  const bindings = { ...env, FAILED_AUTHENTICATIONS: limiter() }
  const context = { req: { header: () => address }, env: bindings, executionCtx: { waitUntil: () => {} } }
  recordFailure(context as unknown as Context<HonoEnv>, attempt)
}
const failOften = (times: number, address: (i: number) => string | undefined, attempt: (i: number) => Attempt) => {
  for (let i = 0; i < times; i++) fail(address(i), attempt(i))
}
const malformed = (clientId: string): Attempt => ({ digest: null, clientId })
const made = (i: number) => malformed(newId('client', i))
/** The number of failures up to a limit that are sent as requests. The short run counts the rest with `fail`. */
const REQUESTS = size(5, MAX_FAILURES)
const COUNTED = MAX_FAILURES - REQUESTS

// The clock stands still, so that no window ends during a test on a slow machine. It is ahead of the database's clock, so that
// no change misses its deadline there.
beforeEach(() => void stopClock())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const SENDERS = {
  'one IPv6 /64': () => inNetwork(newNetwork()),
  'one IPv4 address': () => always(newAddress()),
}

/** The routes share the counting, so the short run fills it at two of them, from one kind of address each. */
const FILLED_IN_SHORT: Readonly<Record<string, string>> = {
  introspection: 'one IPv4 address',
  'sign-in': 'one IPv6 /64',
}

describe('unknown credentials', () => {
  const fillings = families
    .flatMap(([name, family]) =>
      Object.entries(SENDERS).map(([kind, newSender]) => ({ name, family, kind, newSender })),
    )
    .filter(({ name, kind }) => isLong || FILLED_IN_SHORT[name] === kind)

  test.each(fillings)(
    'after 100 unknown credentials at $name, $kind gets 429 without a D1 request for a minute, and valid credentials still work',
    async ({ family, newSender }) => {
      const addressOf = newSender()
      const valid = await validFor(family)
      const attempt = async (i: number) => {
        return family.send(await madeUp(family.prefix), { address: addressOf(i) }, newId('client', i))
      }
      let trips = 0
      const first = Date.now()
      for (let i = 0; i < size(MAX_FAILURES + 10, 1_500); i++) {
        const answer = await attempt(i)
        expect(answer.status).toBe(i < MAX_FAILURES ? family.refused : 429)
        if (answer.status === 429) expect(answer.trips).toBe(0)
        trips += answer.trips
        if (i % 35 === 0) expect(succeeded(await family.send(valid, { address: addressOf(0) }))).toBe(true)
      }
      expect(trips).toBe(MAX_FAILURES)
      const { headers } = await attempt(0)
      expect(headers.get('Retry-After')).toBe(String(WINDOW_MS / 1000))
      expect(headers.has('WWW-Authenticate')).toBe(false)
      const elsewhere = { address: `${newNetwork()}::1` }
      expect((await family.send(await madeUp(family.prefix), elsewhere, newId('client', 1))).status).toBe(
        family.refused,
      )
      vi.setSystemTime(first + WINDOW_MS - 1)
      expect((await attempt(1)).status).toBe(429)
      vi.setSystemTime(first + WINDOW_MS)
      expect((await attempt(2)).status).toBe(family.refused)
    },
  )
})

describe.each(families)('unknown credentials at %s', (_, family) => {
  test('the rate-limit binding counts a failed authentication for its network and for its client or API key, and gets no credential', async () => {
    const failed = limiter()
    const credential = await madeUp(family.prefix)
    await family.send(credential, { address: '2001:DB8:0:a::1', bindings: { FAILED_AUTHENTICATIONS: failed } })
    const [address, account] = failed.keys
    expect(failed.keys).toHaveLength(2)
    expect(address).toBe('address 2001:db8:0:a::/64')
    expect(account).toMatch(family.prefix === 'cs' ? new RegExp(`^client ${client.clientId}$`) : /^key [0-9a-f]{64}$/)
    expect(failed.keys.join()).not.toContain(credential)
  })

  test('a failed authentication without a known IP address is counted only for its client or API key', async () => {
    const failed = limiter()
    await family.send(await madeUp(family.prefix), { bindings: { FAILED_AUTHENTICATIONS: failed } })
    expect(failed.keys).toEqual([expect.stringMatching(family.prefix === 'cs' ? /^client / : /^key /)])
  })

  test.each([
    ['address', /^address/],
    ['client or key', /^(client|key)/],
  ])(
    'the second failed authentication gets 429 if the binding says that the %s is over its limit',
    async (_name, pattern) => {
      const address = newAddress()
      const bindings = { FAILED_AUTHENTICATIONS: limiter((key) => pattern.test(key)) }
      const clientId = newId('client', 0)
      const credential = await madeUp(family.prefix)
      expect((await family.send(credential, { address, bindings }, clientId)).status).toBe(family.refused)
      const logged = vi.spyOn(console, 'log')
      const { status, trips } = await family.send(credential, { address, bindings }, clientId)
      expect([status, trips]).toEqual([429, 0])
      const named = family.prefix === 'cs' ? { client_id: clientId } : {}
      const entry = { status: 429, error: 'rate_limit_exceeded', reason: 'too_many_failures', address, ...named }
      expect(logged).toHaveBeenLastCalledWith(expect.objectContaining(entry))
      const members = Object.keys(logged.mock.lastCall?.[0])
      expect([members.includes('client_id'), members.includes('api_key_id')]).toEqual([family.prefix === 'cs', false])
    },
  )

  test('a request during a database outage does not count as a failed authentication', async () => {
    const address = newAddress()
    const failed = limiter()
    const DB = withBatch(env.DB, () => Promise.reject(new Error('D1_ERROR: storage failed')))
    const bindings = { DB, FAILED_AUTHENTICATIONS: failed }
    const { status } = await family.send(await madeUp(family.prefix), { address, bindings })
    expect(status).toBe(503)
    expect(failed.keys).toEqual([])
  })
})

test('a form that is too large does not count as a failed authentication', async () => {
  const failed = limiter()
  const headers = { ...FORM_OF_OURS, Cookie: `__Host-session=${await madeUp('session')}` }
  const bindings = { FAILED_AUTHENTICATIONS: failed }
  const answer = await form('/dashboard/events', { events: 'x'.repeat(70_000) }, headers, { bindings })
  expect([answer.status, answer.trips, failed.keys]).toEqual([413, 0, []])
})

describe('malformed credentials', () => {
  const MALFORMED: [string, Family, string][] = families.map(([name, family]) => [name, family, `${family.prefix}_x`])

  test.each(MALFORMED)(
    'a malformed credential at %s makes no D1 request, and does not call the rate-limit binding',
    async (_, family, credential) => {
      const failed = limiter()
      const bindings = { FAILED_AUTHENTICATIONS: failed, MANAGEMENT_CALLS: failed }
      const digest = vi.spyOn(crypto.subtle, 'digest')
      const { status, trips } = await family.send(credential, { address: newAddress(), bindings })
      expect([status, trips, failed.keys]).toEqual([family.refused, 0, []])
      expect(digest).not.toHaveBeenCalled()
    },
  )

  test.each(families)(
    '%s refuses a credential that names an unknown region, without a D1 request or a call of the rate-limit binding',
    async (_, family) => {
      const failed = limiter()
      const bindings = { FAILED_AUTHENTICATIONS: failed, MANAGEMENT_CALLS: failed }
      const { plaintext } = await issueCredential(family.prefix, '9')
      const { status, trips } = await family.send(plaintext, { address: newAddress(), bindings })
      expect([status, trips, failed.keys]).toEqual([family.refused, 0, []])
    },
  )

  test('failures of all kinds and routes are counted together: after 100, each route gives the IP address 429 for invalid credentials, without a D1 request', async () => {
    const address = newAddress()
    const valid = new Map<Family, string>()
    for (const [, family] of families) {
      valid.set(family, await validFor(family))
      expect(succeeded(await family.send(valid.get(family) ?? '', { address }))).toBe(true)
    }
    for (let i = 0; i < MAX_FAILURES; i++) {
      const [name, family] = families[i % families.length] as (typeof families)[number]
      const isMalformed = i >= families.length && i % 3 > 0
      const credential = isMalformed ? 'garbage' : await madeUp(family.prefix)
      const { status, trips } = await family.send(credential, { address }, newId('client', i))
      expect([name, status, trips]).toEqual([name, family.refused, isMalformed ? 0 : 1])
    }
    for (const [name, family] of families) {
      for (const credential of [await madeUp(family.prefix), 'garbage']) {
        const { status, trips, headers } = await family.send(credential, { address }, newId('client', 0))
        expect([name, status, trips]).toEqual([name, 429, 0])
        expect(headers.get('Retry-After')).toBe(String(WINDOW_MS / 1000))
      }
      expect(succeeded(await family.send(valid.get(family) ?? '', { address })), name).toBe(true)
    }
  })

  test.each(isLong ? families : [])(
    'an IP address gets 429 after 100 malformed credentials at %s',
    async (_, { send, refused }) => {
      const address = newAddress()
      for (let i = 0; i < MAX_FAILURES; i++) expect((await send('garbage', { address }, 'x')).status).toBe(refused)
      expect((await send('garbage', { address }, 'x')).status).toBe(429)
    },
  )

  test('a request without credentials gets 401, and does not count as a failed authentication', async () => {
    const address = newAddress()
    for (let i = 0; i <= MAX_FAILURES; i++) {
      const grant = { grant_type: 'client_credentials' }
      expect((await form('/oauth2/token', grant, {}, { address })).status).toBe(401)
      expect((await send('/connect/applications', {}, { address })).status).toBe(401)
    }
  })
})

describe('failures under the ID of one client', () => {
  const { send } = FAMILIES['the token endpoint'] as Family

  test('after 100 failures of one client ID, a new IP address gets one 401 with a D1 request and then 429 without, and the valid secret still works', async () => {
    const attacked = await newClient()
    failOften(COUNTED, newAddress, always(malformed(attacked.clientId)))
    for (let i = 0; i < REQUESTS; i++) {
      const address = newAddress()
      expect((await send(await madeUp('cs'), { address }, attacked.clientId)).status).toBe(401)
    }
    const address = newAddress()
    const first = await send(await madeUp('cs'), { address }, attacked.clientId)
    expect([first.status, first.trips]).toEqual([401, 1])
    const second = await send(await madeUp('cs'), { address }, attacked.clientId)
    expect([second.status, second.trips]).toEqual([429, 0])
    expect((await send(await madeUp('cs'), { address }, newId('client', 0))).status).toBe(401)
    expect((await send(attacked.secret, { address: newAddress() }, attacked.clientId)).status).toBe(200)
    expect((await send(attacked.secret, { address }, attacked.clientId)).status).toBe(200)
  })

  test('a client that fails twice in a minute and once after it gets 401 each time, with one D1 request each time', async () => {
    const address = newAddress()
    const { clientId } = await newClient()
    const start = Date.now()
    for (const time of [0, WINDOW_MS - 1, WINDOW_MS]) {
      vi.setSystemTime(start + time)
      const { status, trips } = await send(await madeUp('cs'), { address }, clientId)
      expect([status, trips]).toEqual([401, 1])
    }
  })

  test('after 100 failed authentications without a known IP address, a client gets 429', async () => {
    const { clientId } = await newClient()
    failOften(COUNTED, always(undefined), always(malformed(clientId)))
    for (let i = 0; i < REQUESTS; i++) expect((await send(await madeUp('cs'), {}, clientId)).status).toBe(401)
    const { status, trips } = await send(await madeUp('cs'), {}, clientId)
    expect([status, trips]).toEqual([429, 0])
  })
})

describe('the memory of failures in an isolate', () => {
  /** As `MAX_ENTRIES`. */
  const MAX_ENTRIES = 10_000
  const { send } = FAMILIES['the token endpoint'] as Family

  const madeUpNetwork = (i: number) => `2001:db8:ffff:${i.toString(16)}::1`

  test('an IP address or a client over its limit stays blocked after failures of 10,000 other IP addresses and client IDs', async () => {
    const address = newAddress()
    failOften(MAX_FAILURES, always(address), made)
    const { clientId } = await newClient()
    failOften(MAX_FAILURES, newAddress, always(malformed(clientId)))
    failOften(MAX_ENTRIES, madeUpNetwork, made)
    const refused = await send(await madeUp('cs'), { address })
    expect([refused.status, refused.trips]).toEqual([429, 0])
    const elsewhere = newAddress()
    fail(elsewhere, malformed(clientId))
    const distributed = await send(await madeUp('cs'), { address: elsewhere }, clientId)
    expect([distributed.status, distributed.trips]).toEqual([429, 0])
  })

  test('failures of more than a hundred other IP addresses with unknown client IDs do not reset the count of an IP address', async () => {
    const address = newAddress()
    failOften(MAX_FAILURES - 1, always(address), made)
    const others = Array.from({ length: Math.ceil(MAX_ENTRIES / (MAX_FAILURES - 1)) }, newAddress)
    for (const other of others) failOften(MAX_FAILURES - 1, always(other), made)
    fail(address, made(0))
    const { status, trips } = await send(await madeUp('cs'), { address })
    expect([status, trips]).toEqual([429, 0])
  })
})

test('a secret that has worked is exempt from the limit of its IP address, until it is revoked and then fails once', async () => {
  const address = newAddress()
  const { send } = FAMILIES['the token endpoint'] as Family
  const revoked = await newClient()
  expect((await send(revoked.secret, { address }, revoked.clientId)).status).toBe(200)
  failOften(MAX_FAILURES, always(address), made)
  expect((await send(revoked.secret, { address }, revoked.clientId)).status).toBe(200)
  await env.DB.prepare('UPDATE client_secrets SET revoked_at = 1 WHERE id = ?').bind(revoked.secretId).run()
  // The look-up, and after the response the event of the first refused use within an hour.
  const first = await send(revoked.secret, { address }, revoked.clientId)
  expect([first.status, first.trips]).toEqual([401, 2])
  const second = await send(revoked.secret, { address }, revoked.clientId)
  expect([second.status, second.trips]).toEqual([429, 0])
})

test.each([
  ['when it works again', 0],
  ['a minute after its last failure', WINDOW_MS],
])('a secret that failed is exempt from the limit of its IP address again %s', async (_, later) => {
  stopClock()
  const address = newAddress()
  const { send } = FAMILIES['the token endpoint'] as Family
  const { clientId, secretId, secret } = await newClient()
  const setDisabled = (at: number | null) =>
    env.DB.prepare('UPDATE client_secrets SET disabled_at = ? WHERE id = ?').bind(at, secretId).run()
  expect((await send(secret, { address }, clientId)).status).toBe(200)
  await setDisabled(1)
  expect((await send(secret, { address }, clientId)).status).toBe(401)
  await setDisabled(null)
  if (later === 0) expect((await send(secret, { address }, clientId)).status).toBe(200)
  vi.setSystemTime(Date.now() + later)
  failOften(MAX_FAILURES, always(address), made)
  expect((await send('garbage', { address }, newId('client', 0))).status).toBe(429)
  expect((await send(secret, { address }, clientId)).status).toBe(200)
})

test('Retry-After is at most one minute, even after the clock went back', async () => {
  const address = newAddress()
  const { send } = FAMILIES.events as Family
  for (let i = 0; i < MAX_FAILURES; i++) await send('garbage', { address })
  vi.setSystemTime(Date.now() - 3_600_000)
  const { status, headers } = await send('garbage', { address })
  expect([status, headers.get('Retry-After')]).toEqual([429, String(WINDOW_MS / 1000)])
})

test('an IP address may fail 100 times again once its minute has ended', async () => {
  const address = newAddress()
  const { send } = FAMILIES.events as Family
  for (const time of [Date.now(), Date.now() + WINDOW_MS]) {
    vi.setSystemTime(time)
    for (let i = 0; i < MAX_FAILURES; i++) expect((await send('garbage', { address })).status).toBe(401)
    expect((await send('garbage', { address })).status).toBe(429)
  }
})

test('the memory of failures and callers has at most 10,000 entries, and a new entry replaces the oldest', () => {
  const memory = new RecentMap<number>()
  for (let i = 0; i < 10_000; i++) memory.set(`address ${i}`, i)
  expect(memory.size).toBe(10_000)
  for (const name of ['address 1', 'another address', 'a third address']) memory.set(name, -1)
  expect(memory.size).toBe(10_000)
  expect(memory.get('address 1')).toBe(-1)
  expect([0, 1, 2, 3].filter((i) => memory.has(`address ${i}`))).toEqual([1, 3])
})

test('after 100 failures of one API key, a new IP address gets one 401 with a D1 request and then 429 without', async () => {
  const key = await madeUp('sk')
  const { send } = FAMILIES.events as Family
  for (let i = 0; i < MAX_FAILURES; i++) expect((await send(key, { address: newAddress() })).status).toBe(401)
  const address = newAddress()
  const answers = [await send(key, { address }), await send(key, { address })]
  expect(answers.map(({ status, trips }) => [status, trips])).toEqual([
    [401, 1],
    [429, 0],
  ])
})

describe.each(families)('a stolen credential with IP ranges: %s', (_, family) => {
  /** The owner's address, and a credential that works from it alone. */
  async function newLimited() {
    const address = newAddress()
    if (family.prefix === 'cs') {
      const { clientId, secretId, secret, apiKey } = await newClient()
      await call(apiKey, 'PATCH', `/connect/client_secrets/${secretId}`, { body: { allowed_ips: [address] } })
      return { address, clientId, credential: secret }
    }
    const { apiKey, environmentId } = await newApiKey({ allowedIps: [address] })
    if (family !== FAMILIES['writes of the management API'])
      return { address, credential: family.prefix === 'sk' ? apiKey : await sessionFor(apiKey, address) }
    // The route changes the application of the client.
    await env.DB.prepare('UPDATE api_keys SET environment_id = ? WHERE environment_id = ?')
      .bind(client.environmentId, environmentId)
      .run()
    return { address, credential: apiKey }
  }

  // The short run alternates.
  const cases = [
    ['has worked', true],
    ['has not worked', false],
  ] as const
  const isEven = families.findIndex(([, other]) => other === family) % 2 === 0
  test.each(cases.filter(([, hasWorked]) => isLong || hasWorked === isEven))(
    'the owner’s requests succeed, and a thief gets 429 without a D1 request after 100 failures, if the credential %s before the theft',
    async (_, hasWorked) => {
      const { address, clientId, credential } = await newLimited()
      const owner = () => family.send(credential, { address }, clientId)
      if (hasWorked) expect(succeeded(await owner())).toBe(true)
      // A neighbour of the owner fails with another credential.
      await family.send(await madeUp(family.prefix), { address }, newId('client', 1))
      let trips = 0
      const thief = newAddress()
      failOften(COUNTED, always(thief), always({ digest: await sha256(credential), clientId: clientId ?? null }))
      for (let i = 0; i < REQUESTS + 5; i++) {
        const answer = await family.send(credential, { address: thief }, clientId)
        expect(answer.status).toBe(i < REQUESTS ? family.refused : 429)
        trips += answer.trips
      }
      // A secret's first refusal also records an event.
      expect(trips).toBe(REQUESTS + Number(family.prefix === 'cs'))
      expect(succeeded(await owner())).toBe(true)
      await family.send(credential, { address: newAddress() }, clientId)
      expect(succeeded(await owner())).toBe(true)
      expect((await family.send(credential, { address: thief }, clientId)).status).toBe(429)
    },
  )
})

describe('calls of the management API', () => {
  const reads = FAMILIES['reads of the management API'] as Family

  test('calls of the management API are counted for their API key, and calls with an unknown or malformed key are not counted', async () => {
    const calls = limiter()
    const bindings = { MANAGEMENT_CALLS: calls }
    const [one, other] = [await newApiKey(), await newApiKey()]
    for (const key of [one.apiKey, await madeUp('sk'), one.apiKey, other.apiKey, 'sk_x', client.secret])
      await reads.send(key, { bindings })
    expect(calls.keys).toEqual([one.id, one.id, other.id])
  })

  test('calls of a dashboard session count against the limit of its API key', async () => {
    const calls = limiter()
    const bindings = { MANAGEMENT_CALLS: calls }
    const { id, apiKey: key } = await newApiKey()
    const signedIn = await form('/dashboard/sign-in', { api_key: key }, FORM_OF_OURS, { bindings })
    const session = /__Host-session=(\w+)/.exec(signedIn.headers.get('Set-Cookie') ?? '')?.[1] ?? ''
    const page = FAMILIES['pages of the dashboard'] as Family
    expect((await page.send(session, { bindings })).status).toBe(200)
    expect(new Set(calls.keys)).toEqual(new Set([id]))

    const tooMany = { MANAGEMENT_CALLS: limiter(() => true) }
    expect((await page.send(session, { bindings: tooMany })).status).toBe(200)
    for (const answer of [await page.send(session), await reads.send(key), await FAMILIES['sign-in']?.send(key)])
      expect([answer?.status, answer?.trips]).toEqual([429, 0])
  })

  test('after too many calls, an API key gets 429 without a D1 request for ten seconds', async () => {
    const { id, apiKey: limited } = await newApiKey()
    const logged = vi.spyOn(console, 'log')
    const tooMany = { MANAGEMENT_CALLS: limiter(() => true) }
    expect((await reads.send(limited, { bindings: tooMany })).status).toBe(200)
    for (const name of ['reads of the management API', 'writes of the management API', 'events']) {
      const { status, headers, trips } = await (FAMILIES[name] as Family).send(limited)
      expect([status, trips]).toEqual([429, 0])
      expect(headers.get('Retry-After')).toBe(String(PAUSE_MS / 1000))
      const entry = { error: 'rate_limit_exceeded', reason: 'too_many_calls', api_key_id: id }
      expect(logged).toHaveBeenLastCalledWith(expect.objectContaining(entry))
      expect(logged.mock.lastCall?.[0]).not.toHaveProperty('client_id')
    }
    expect((await reads.send(apiKey)).status).toBe(200)
    vi.setSystemTime(Date.now() + PAUSE_MS)
    expect((await reads.send(limited)).status).toBe(200)
  })

  test('calls of the OAuth endpoints do not count as calls of the management API', async () => {
    const calls = limiter(() => true)
    const { send } = FAMILIES['the token endpoint'] as Family
    expect((await send(client.secret, { bindings: { MANAGEMENT_CALLS: calls } })).status).toBe(200)
    expect(calls.keys).toEqual([])
  })
})

describe('a rate-limit binding', () => {
  const BROKEN: [string, unknown][] = [
    ['is missing', undefined],
    ['rejects', { limit: () => Promise.reject(new Error('canary')) }],
    [
      'throws',
      {
        limit: () => {
          throw new Error('canary')
        },
      },
    ],
    ['rejects with nothing', { limit: () => Promise.reject(undefined) }],
    ['returns nothing', { limit: async () => undefined }],
    ['has no limit()', {}],
  ]

  test.each(BROKEN)('a rate-limit binding that %s limits no caller', async (_, broken) => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    const binding = broken as RateLimit
    expect(await isOverLimit(binding, 'key')).toBe(false)
    const bindings = { FAILED_AUTHENTICATIONS: binding, MANAGEMENT_CALLS: binding }
    const address = newAddress()
    for (const [, family] of families) {
      expect((await family.send(await madeUp(family.prefix), { address, bindings })).status).toBe(family.refused)
      expect(succeeded(await family.send(await validFor(family), { address, bindings }))).toBe(true)
    }
    if (broken === undefined) expect(logged).not.toHaveBeenCalled()
    else expect(logged).toHaveBeenCalledWith(expect.objectContaining({ message: 'rate limiter failed' }))
    expect(JSON.stringify(logged.mock.calls)).not.toContain(apiKey)
  })

  test('without the binding FAILED_AUTHENTICATIONS, failed authentications are not counted', async () => {
    const address = newAddress()
    const { send } = FAMILIES.events as Family
    const bindings = { FAILED_AUTHENTICATIONS: undefined } as unknown as Partial<Env>
    for (let i = 0; i <= MAX_FAILURES; i++) expect((await send('garbage', { address, bindings })).status).toBe(401)
    expect((await send('garbage', { address })).status).toBe(401)
  })

  test.each(['FAILED_AUTHENTICATIONS', 'MANAGEMENT_CALLS'] as const)(
    'the rate-limit binding %s is configured in wrangler.toml',
    (name) => expect(typeof env[name].limit).toBe('function'),
  )
})
