import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { call, type Reply } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { counted, failingAt, withBatch } from '../faults/wrapped.ts'
import { OVERLOADED, TRANSIENT } from '../grid/faults.ts'
import { scansOf } from '../query-plans.ts'
import {
  type Client,
  firstPartyApplication,
  getToken,
  introspect,
  newClient,
  newSecret,
  oauthApplication,
  requestToken,
  requestTokenWith,
  revoke,
  setSecret,
} from './client.ts'

/** The D1 requests of the OAuth endpoints: at most one, without scans; and the responses when the database fails. */

const client = await newClient()
const third = await newClient(oauthApplication, client)
const firstParty = await newClient(firstPartyApplication, client)
const elsewhere = await newClient(firstPartyApplication)
const revoked = await newSecret(client)
const revokedToken = await getToken(revoked)
await revoke(revoked)
const token = await getToken(client)
const unknownSecret = (await issueCredential('cs', '0')).plaintext

interface Case {
  readonly name: string
  readonly trips: 0 | 1
  readonly outcome: string
  readonly ask: (bindings: Partial<Env>) => Promise<Reply>
}

const as = (changes: Partial<Client>): Client => ({ ...client, ...changes })
const tokenCase = (name: string, trips: 0 | 1, outcome: string, who: Client, parameters = {}): Case => ({
  name: `token: ${name}`,
  trips,
  outcome,
  ask: (bindings) => requestToken(who, parameters, { bindings }),
})
const introspectionCase = (name: string, trips: 0 | 1, outcome: string, who: Client, asked: string): Case => ({
  name: `introspection: ${name}`,
  trips,
  outcome,
  ask: (bindings) => introspect(who, asked, { bindings }),
})

const cases: Case[] = [
  tokenCase('issued', 1, '200', client),
  tokenCase('an oauth application', 1, 'unauthorized_client', third),
  tokenCase('a foreign scope', 1, 'invalid_scope', client, { scope: 'foreign' }),
  tokenCase('an unknown secret', 1, 'invalid_client', as({ secret: unknownSecret })),
  tokenCase('an unknown client', 1, 'invalid_client', as({ clientId: newId('client', 0) })),
  tokenCase('a revoked secret', 1, 'invalid_client', revoked),
  tokenCase(
    'a wrong checksum',
    0,
    'invalid_client',
    as({ secret: client.secret.replace(/.$/, (c) => (c === '0' ? '1' : '0')) }),
  ),
  tokenCase('an unknown region', 0, 'invalid_client', as({ secret: (await issueCredential('cs', '1')).plaintext })),
  tokenCase('a malformed client ID', 0, 'invalid_client', as({ clientId: 'client_x' })),
  tokenCase('another grant', 1, 'unsupported_grant_type', client, { grant_type: 'password' }),
  tokenCase('two methods', 0, 'invalid_request', client, { client_secret: client.secret }),
  {
    name: 'token: no credentials',
    trips: 0,
    outcome: 'invalid_client',
    ask: (bindings) => requestTokenWith(undefined, {}, bindings),
  },
  introspectionCase('a token of its own', 1, 'active', client, token),
  introspectionCase('a token of its environment', 1, 'active', firstParty, token),
  introspectionCase('a token of another environment', 1, 'inactive', elsewhere, token),
  introspectionCase('a token of a revoked secret', 1, 'inactive', client, revokedToken),
  introspectionCase('garbage', 1, 'inactive', client, 'garbage'),
  introspectionCase('an unknown secret', 1, 'invalid_client', as({ secret: unknownSecret }), token),
  introspectionCase('a wrong checksum', 0, 'invalid_client', as({ secret: `${client.secret.slice(0, -1)}!` }), token),
  introspectionCase('no token', 1, 'invalid_request', client, ''),
]

const outcomeOf = ({ status, json }: Reply) =>
  json.error ?? ({ true: 'active', false: 'inactive' }[String(json.active)] || String(status))

describe('the OAuth endpoints make at most one D1 request', () => {
  test.each(cases)('$name returns $outcome after $trips D1 requests', async ({ trips, outcome, ask }) => {
    const counter = counted(env.DB)
    expect(outcomeOf(await ask({ DB: counter.database }))).toBe(outcome)
    // After the response: the first use within a minute, and the first refused use of a secret within an hour.
    const after = counter.sql.filter((sql) => /^(UPDATE client_secrets|INSERT INTO events)/.test(sql)).length
    expect(counter.trips - after).toBe(trips)
  })

  test('no statement of the OAuth endpoints scans a table', async () => {
    const counter = counted(env.DB)
    for (const { ask } of cases) await ask({ DB: counter.database })
    expect(new Set(counter.sql).size).toBeGreaterThanOrEqual(2)
    expect(await scansOf(env.DB, counter.sql)).toEqual([])
  })
})

const FAULTS: unknown[] = [new Error(TRANSIENT[0]), new Error(OVERLOADED[0]), undefined]

const asking = cases.filter(({ trips }) => trips === 1)

describe('the OAuth endpoints during a database failure', () => {
  test.concurrent.each(asking)(
    'the response is 503 temporarily_unavailable if the database always fails: $name',
    async ({ ask }) => {
      const failAlways = async (fault: unknown) => {
        let tries = 0
        const DB = withBatch(env.DB, () => {
          tries++
          return Promise.reject(fault)
        })
        const { status, json, headers } = await ask({ DB, REQUEST_BUDGET_MS: 3000 })
        expect([status, json.error], String(fault)).toEqual([503, 'temporarily_unavailable'])
        expect(headers.get('Retry-After')).toMatch(/^\d+$/)
        expect(headers.has('WWW-Authenticate')).toBe(false)
        if (fault === FAULTS[0]) expect(tries).toBeGreaterThan(2)
        else expect(tries, 'a fault that lasts is not tried again').toBe(1)
      }
      await Promise.all(FAULTS.map(failAlways))
    },
  )

  test.concurrent.each(asking)(
    'the D1 request is retried after one transient failure: $name',
    async ({ ask, outcome }) => {
      const failOnce = async (message: string, isCommitted: boolean) => {
        let tries = 0
        const DB = withBatch(env.DB, async (real, statements) => {
          if (tries++ > 0) return real(statements)
          if (isCommitted) await real(statements)
          throw new Error(message)
        })
        expect(outcomeOf(await ask({ DB }))).toBe(outcome)
        expect(tries).toBeGreaterThanOrEqual(2)
      }
      await Promise.all([false, true].map((isCommitted) => failOnce(`${TRANSIENT[0]}`, isCommitted)))
    },
  )

  test('a request gets 503 when the database stalls, and records no use when the database recovers', async () => {
    const slow = await newClient()
    const { promise: asleep, resolve: wake } = Promise.withResolvers<void>()
    const { promise: answered, resolve: onAnswer } = Promise.withResolvers<void>()
    let stalled: Promise<unknown> = asleep
    stopClock()
    const DB = withBatch(env.DB, (real, statements) => {
      advance(999)
      stalled = asleep.then(() => real(statements))
      return stalled
    })
    const reply = requestToken(slow, {}, { bindings: { DB, REQUEST_BUDGET_MS: 1000 }, onAnswer })
    await answered
    wake()
    expect((await reply).status).toBe(503)
    await stalled
    const [listed] = (await call(slow.apiKey, 'GET', `/connect/applications/${slow.applicationId}/client_secrets`)).json
    expect(listed.last_used_at).toBeNull()
  })
})

afterEach(() => void vi.useRealTimers())

describe('a use that cannot be recorded', () => {
  const ways: Record<string, (it: Client, bindings: Partial<Env>) => Promise<Reply>> = {
    token: (it, bindings) => requestToken(it, {}, { bindings }),
    introspection: (it, bindings) => introspect(it, 'x', { bindings }),
    verification: ({ apiKey, secret }, bindings) =>
      call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret }, bindings }),
  }

  test.each(Object.entries(ways))(
    'a request succeeds although the use of its secret cannot be recorded: %s',
    async (_, ask) => {
      const used = await newClient()
      const lastUsedAt = async () =>
        env.DB.prepare('SELECT last_used_at FROM client_secrets WHERE id = ?').bind(used.secretId).first('last_used_at')
      const failToNote = async (fault: unknown) => {
        const failing = failingAt(env.DB, /^\s*UPDATE client_secrets/, fault)
        const { status, json } = await ask(used, { DB: failing.database, REQUEST_BUDGET_MS: 1000 })
        expect([status, json.valid ?? true], String(fault)).toEqual([200, true])
        expect(failing.failures).toBeGreaterThanOrEqual(1)
      }
      for (const fault of FAULTS) await failToNote(fault)
      expect(await lastUsedAt()).toBeNull()
      expect((await ask(used, {})).status).toBe(200)
      expect(await lastUsedAt(), 'the next use repairs it').not.toBeNull()
    },
  )

  test('a disabled secret gets 401 even if uses cannot be recorded', async () => {
    const { database } = failingAt(env.DB, /^\s*UPDATE client_secrets/, new Error(TRANSIENT[0]))
    const used = await newClient()
    await setSecret(used, { disabled_at: 1 })
    expect((await requestToken(used, {}, { bindings: { DB: database } })).status).toBe(401)
  })
})
