import { expect, test } from 'vitest'
import { countUses } from '../oauth/uses.ts'
import { newApiKey } from '../operator.ts'
import fc from '../property.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { managementOf } from './management.ts'

/**
 * Two Workers over one database. A request that a caller starts after it has read a 204 finds the secret revoked, at
 * either Worker. All callers are one program, so that "after" is certain.
 */
const RACES = size(60, 10_000)
const AT_ONCE = 10
const MAX_DELAY_MS = 60
const HOUR_MS = 3_600_000

// ES256, because these tests sign many tokens, and RSA would take most of the time.
const served = await serve({
  workers: 2,
  tokens: 'ES256',
  rateLimits: false,
  vars: { REQUEST_BUDGET_MS: 30_000, MAX_SECRETS_PER_APPLICATION: 100 },
})
const { origins, database } = served
// Not `served.fetch`: other tests check the contract, and here that would take most of the time.
const { fetch } = globalThis
const manage = managementOf({ origins, fetch }, (await newApiKey(database)).apiKey)
const usesOf = await countUses(database)

interface Secret {
  readonly id: string
  readonly secret: string
}
type Reply = { readonly status: number; readonly json: Record<string, unknown> }
/** Presents a secret at one Worker, and says whether it was accepted. */
type Way = (secret: Secret, origin: string) => Promise<boolean>

let turns = 0
const nextOrigin = () => `${origins[turns++ % origins.length]}`

async function postForm(origin: string, path: string, { secret }: Secret, parameters: Record<string, string>) {
  const body = new URLSearchParams({ client_id: clientId, client_secret: secret, ...parameters })
  const response = await fetch(`${origin}/oauth2${path}`, { method: 'POST', body })
  return { status: response.status, json: await response.json<Record<string, unknown>>() }
}

const { json: application } = await manage('POST', '/connect/applications', { body: m2mApplication })
const clientId: string = application.client_id
const newSecret = async (): Promise<Secret> => (await manage('POST', secretsOf(application.id))).json
const keeper = await newSecret()

const requestToken = (secret: Secret, origin = nextOrigin()) =>
  postForm(origin, '/token', secret, { grant_type: 'client_credentials' })
const introspect = (secret: Secret, token: string, origin = nextOrigin()) =>
  postForm(origin, '/introspection', secret, { token })

/** Throws unless the Worker knew. */
function isAccepted({ status, json }: Reply): boolean {
  expect([200, 401], JSON.stringify(json)).toContain(status)
  return status === 200
}

const ways: Way[] = [
  async (secret, origin) => isAccepted(await requestToken(secret, origin)),
  async (secret, origin) => isAccepted(await introspect(secret, 'x', origin)),
  async ({ secret }, origin) => {
    const { json } = await manage('POST', '/connect/client_secrets/verify', { body: { client_secret: secret }, origin })
    return json.valid
  },
]
const wayOf = (i: number) => ways[i % ways.length] as Way

const seen = { races: 0, tokens: 0, activeTokens: 0 }
const accepted = { before: 0, racing: 0, after: 0 }
const refused = { before: 0, racing: 0, after: 0 }

/** Presents a secret at both Workers while it is being revoked, and again as soon as the 204 has been read. */
async function race(nth: number, delayMs: number): Promise<void> {
  const secret = await newSecret()
  const tokens: unknown[] = []
  const getToken: Way = async (of, origin) => {
    const reply = await requestToken(of, origin)
    if (reply.json.access_token) tokens.push(reply.json.access_token)
    return isAccepted(reply)
  }
  const present = async (way: Way, origin: string, when: keyof typeof accepted) => {
    const counters = (await way(secret, origin)) ? accepted : refused
    counters[when]++
  }
  await present(getToken, nextOrigin(), 'before')
  const racing = [getToken, wayOf(nth)].map((way) => present(way, nextOrigin(), 'racing'))
  await new Promise((resolve) => setTimeout(resolve, delayMs))
  expect((await manage('DELETE', `/connect/client_secrets/${secret.id}`)).status).toBe(204)
  // Of the six, Worker by way, each race takes two.
  const after = origins.map((origin, i) => present(wayOf(nth + i), origin, 'after'))
  await Promise.all([...racing, ...after])
  for (const token of tokens) {
    const { json } = await introspect(keeper, `${token}`)
    seen.tokens++
    if (JSON.stringify(json) !== '{"active":false}') seen.activeTokens++
  }
  seen.races++
}

test(`in ${RACES} races, no request that starts after a revocation’s 204 is accepted, and earlier tokens are inactive`, {
  timeout: HOUR_MS,
}, async () => {
  // Most of the delays are short: that is where either side may win.
  const delays = fc.sample(fc.double({ min: 0, max: 1, noNaN: true }), { numRuns: RACES })
  const waiting = delays.map((draw, nth) => () => race(nth, MAX_DELAY_MS * draw ** 3))
  const lane = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) await next()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  expect(seen).toEqual({ races: RACES, tokens: expect.any(Number), activeTokens: 0 })
  expect(accepted).toEqual({ before: RACES, racing: expect.any(Number), after: 0 })
  expect(refused).toEqual({ before: 0, racing: 2 * RACES - accepted.racing, after: 2 * RACES })
  expect(seen.tokens).toBeGreaterThanOrEqual(RACES)
})

test('a burst of uses of one secret at two Workers writes last_used_at once', async () => {
  const busy = await newSecret()
  const presented = Array.from({ length: size(60, 300) }, (_, i) => wayOf(i)(busy, nextOrigin()))
  expect(await Promise.all(presented)).not.toContain(false)
  expect(await usesOf(busy.id)).toBe(1)
})
