import { describe, expect, test } from 'vitest'
import { countUses } from '../oauth/uses.ts'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'

/**
 * Two Workers over one database. What a caller starts after it has read a 204 finds the secret revoked, at whichever
 * Worker. All callers are one program, so that "after" is no guess.
 */
const RACES = 1_000
const AT_ONCE = 10
/** By how much the revocation starts later than what it races, in milliseconds: either wins some. */
const MOST_DELAY_MS = 60
/** On a machine that has other work to do. */
const TIMEOUT_MS = 300_000

// ES256, because these tests sign some thousands of tokens and RSA would take most of their time.
const served = await serve({
  workers: 2,
  tokens: 'ES256',
  rateLimits: false,
  vars: { REQUEST_BUDGET_MS: 30_000, MAX_SECRETS_PER_APPLICATION: 100 },
})
const { origins, database } = served
// Not `served.fetch`: what it checks is checked elsewhere, and would take most of the time here.
const { fetch } = globalThis
const { apiKey } = await newApiKey(database)
const usesOf = await countUses(database)

type Way = (secret: Secret, origin: string) => Promise<boolean>

interface Secret {
  readonly id: string
  readonly secret: string
}

let sent = 0
const nextOrigin = () => `${origins[sent++ % origins.length]}`

async function manage(method: string, path: string, body?: object, origin = nextOrigin()) {
  const response = await fetch(`${origin}/connect${path}`, {
    method,
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  expect(response.ok, text).toBe(true)
  return { status: response.status, json: text && JSON.parse(text) }
}

async function postForm(origin: string, path: string, { secret }: Secret, parameters: Record<string, string>) {
  const body = new URLSearchParams({ client_id: clientId, client_secret: secret, ...parameters })
  const response = await fetch(`${origin}/oauth2${path}`, { method: 'POST', body })
  return { status: response.status, json: await response.json<Record<string, unknown>>() }
}

const application = { name: 'raced', application_type: 'm2m', organization_id: 'org_1' }
const { id: applicationId, client_id: clientId } = (await manage('POST', '/applications', application)).json
const newSecret = async (): Promise<Secret> =>
  (await manage('POST', `/applications/${applicationId}/client_secrets`, {})).json
const keeper = await newSecret()

const requestToken = (secret: Secret, origin = nextOrigin()) =>
  postForm(origin, '/token', secret, { grant_type: 'client_credentials' })
const introspect = (secret: Secret, token: string, origin = nextOrigin()) =>
  postForm(origin, '/introspection', secret, { token })
const verify = async ({ secret }: Secret, origin = nextOrigin()) =>
  (await manage('POST', '/client_secrets/verify', { client_secret: secret }, origin)).json.valid as boolean

/** Whether a secret is let in: each way in which it can be shown. */
const ways: Way[] = [
  async (secret, origin) => isLetIn(await requestToken(secret, origin)),
  async (secret, origin) => isLetIn(await introspect(secret, 'x', origin)),
  verify,
]

const wayOf = (i: number) => ways[i % ways.length] as Way

/** Throws at what is neither yes nor no. */
function isLetIn({ status, json }: { status: number; json: Record<string, unknown> }): boolean {
  expect([200, 401], JSON.stringify(json)).toContain(status)
  return status === 200
}

const seen = { races: 0, letInBefore: 0, refusedBefore: 0, letInAfter: 0, refusedAfter: 0, tokens: 0, activeTokens: 0 }

/** Shows the secret to both Workers while it is being revoked, and again as soon as that is known. */
async function race(): Promise<void> {
  const secret = await newSecret()
  const tokens: unknown[] = []
  const getToken: Way = async (of, origin) => {
    const reply = await requestToken(of, origin)
    if (reply.json.access_token) tokens.push(reply.json.access_token)
    return isLetIn(reply)
  }
  const show = async (way: Way, origin: string, when: 'Before' | 'After') => {
    seen[`${(await way(secret, origin)) ? 'letIn' : 'refused'}${when}`]++
  }
  await show(getToken, nextOrigin(), 'Before')
  const racing = [getToken, wayOf(sent)].map((way) => show(way, nextOrigin(), 'Before'))
  await new Promise((resolve) => setTimeout(resolve, MOST_DELAY_MS * Math.random() ** 3))
  await manage('DELETE', `/client_secrets/${secret.id}`)
  // Of the six, Worker by way, each race takes two.
  const after = origins.map((origin, i) => show(wayOf(seen.races + i), origin, 'After'))
  await Promise.all([...racing, ...after])
  for (const token of tokens) {
    const { json } = await introspect(keeper, `${token}`)
    seen.tokens++
    if (JSON.stringify(json) !== '{"active":false}') seen.activeTokens++
  }
  seen.races++
}

describe('revoking', () => {
  test(
    `${RACES} races: nothing that starts after the 204 gets through, and no token obtained before is active`,
    async () => {
      const lane = async () => {
        while (seen.races < RACES) await race()
      }
      await Promise.all(Array.from({ length: AT_ONCE }, lane))
      expect(seen).toMatchObject({ letInAfter: 0, activeTokens: 0 })
      expect(seen.refusedAfter).toBe(2 * seen.races)
      expect(seen.tokens).toBeGreaterThanOrEqual(RACES)
      // They were races: the revocation came first in some, and last in others.
      expect(seen.letInBefore - seen.races).toBeGreaterThan(RACES / 100)
      expect(seen.refusedBefore).toBeGreaterThan(RACES / 100)
    },
    TIMEOUT_MS,
  )
})

test('a burst on one secret, from both Workers, writes last_used_at once', async () => {
  const busy = await newSecret()
  const shown = Array.from({ length: 300 }, (_, i) => wayOf(i)(busy, nextOrigin()))
  expect(await Promise.all(shown)).not.toContain(false)
  expect(await usesOf(busy.id)).toBe(1)
})
