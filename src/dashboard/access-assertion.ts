import { type JWK, type JWTVerifyGetKey, jwtVerify } from 'jose'
import * as v from 'valibot'
import { Person } from '../contract/fields.ts'

/**
 * Verifies the assertion of Cloudflare Access: a JWT about the person who sent a request. Access sets the header
 * Cf-Access-Jwt-Assertion on the hosts that it protects. On another host of the Worker, the header is missing or may be
 * forged.
 * https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/application-token/
 */

export const ASSERTION_HEADER = 'Cf-Access-Jwt-Assertion'

const TIMEOUT_MS = 3_000
/** How long fetched public keys are used. A key that Access has withdrawn is trusted for up to this time. */
const KEPT_MS = 10 * 60_000
/**
 * The minimum time between two fetches of the public keys. Without this limit, any request with an unknown key ID would
 * cause a fetch.
 */
const RETRY_MS = 10_000
/** The clock of the machine that issued an assertion may be ahead. */
const CLOCK_SKEW_SECONDS = 5

/** The last second of the year 9999. */
const MAX_TIME_SECONDS = 253_402_300_799

export interface IdentifiedPerson {
  readonly email: string
  /** The API key whose rights people get when they sign in to this application of Access. */
  readonly apiKeyId: string
  /** When the sign-in at Access ends, in Unix ms. */
  readonly expiresAt: number
}

export type Assertion =
  | { readonly person: IdentifiedPerson; readonly refused?: undefined }
  /** `reason` is for the log. */
  | {
      readonly person?: undefined
      readonly refused: 'invalid' | 'no_person' | 'keys_unavailable'
      readonly reason: string
    }

/**
 * The assertion for an application has the type `app`. The token of the team domain, which is for no application, has
 * the type `org`. The assertion about a program with a service token has no `email`.
 */
const Claims = v.object({
  aud: v.union([v.string(), v.array(v.string())]),
  exp: v.pipe(v.number(), v.integer(), v.maxValue(MAX_TIME_SECONDS)),
  type: v.literal('app'),
  email: v.optional(v.unknown()),
})

const Keys = v.object({ keys: v.array(v.looseObject({ kid: v.string() })) })

class KeysUnavailable extends Error {}

/** Verifies an assertion. Refuses it if anything cannot be verified. */
export async function readAssertion(
  assertion: string,
  teamDomain: string,
  apiKeys: ReadonlyMap<string, string>,
): Promise<Assertion> {
  try {
    const keyOf: JWTVerifyGetKey = async ({ kid = '' }) => {
      const key = await readKey(teamDomain, kid)
      if (key) return key
      throw Object.assign(new Error('no such key'), { claim: 'kid' })
    }
    const { payload } = await jwtVerify(assertion, keyOf, {
      algorithms: ['RS256'],
      issuer: teamDomain,
      audience: [...apiKeys.keys()],
      clockTolerance: CLOCK_SKEW_SECONDS,
    })
    const claims = v.safeParse(Claims, payload)
    if (!claims.success) return { refused: 'invalid', reason: 'assertion_claims' }
    const { aud, exp, email } = claims.output
    // jwtVerify accepts an assertion that expired a few seconds ago, but its session would already have ended.
    if (exp * 1000 <= Date.now()) return { refused: 'invalid', reason: 'assertion_exp' }
    const [apiKeyId, ...others] = [aud].flat().flatMap((tag) => apiKeys.get(tag) ?? [])
    // If two audiences of the assertion are configured, it is ambiguous which API key the person acts with.
    if (apiKeyId === undefined || others.length > 0) return { refused: 'invalid', reason: 'assertion_aud' }
    if (!v.is(Person, email)) return { refused: 'no_person', reason: 'assertion_email' }
    return { person: { email, apiKeyId, expiresAt: exp * 1000 } }
  } catch (error) {
    if (error instanceof KeysUnavailable) return { refused: 'keys_unavailable', reason: 'assertion_keys_unavailable' }
    return { refused: 'invalid', reason: `assertion_${reasonOf(error)}` }
  }
}

/** The name of the invalid claim, or jose's error code. Neither has a part of the assertion, so both may be logged. */
function reasonOf(error: unknown): string {
  const { claim, code = 'malformed' } = error as { claim?: string; code?: unknown }
  return claim ?? String(code).toLowerCase()
}

interface KeptKeys {
  /** By `kid`. */
  readonly keys: ReadonlyMap<string, JWK>
  readonly readAt: number
  readonly triedAt: number
}

/** The public keys by team domain, as this isolate has fetched them. */
const kept = new Map<string, KeptKeys>()

/**
 * Returns the public key with this ID, or undefined if Access has no such key. Throws KeysUnavailable if the keys can't
 * be read.
 */
async function readKey(teamDomain: string, kid: string): Promise<JWK | undefined> {
  const isFresh = ({ readAt }: KeptKeys) => Date.now() - readAt < KEPT_MS
  let found = kept.get(teamDomain) ?? { keys: new Map(), readAt: 0, triedAt: 0 }
  if (!(found.keys.has(kid) && isFresh(found)) && Date.now() - found.triedAt >= RETRY_MS) {
    const keys = await fetchKeys(teamDomain)
    const triedAt = Date.now()
    found = keys ? { keys, readAt: triedAt, triedAt } : { ...found, triedAt }
    kept.set(teamDomain, found)
  }
  const isCurrent = isFresh(found) && (found.keys.has(kid) || found.readAt === found.triedAt)
  if (!isCurrent) throw new KeysUnavailable()
  return found.keys.get(kid)
}

async function fetchKeys(teamDomain: string): Promise<ReadonlyMap<string, JWK> | null> {
  try {
    const response = await fetch(`${teamDomain}/cdn-cgi/access/certs`, {
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (!response.ok) throw new Error(`status ${response.status}`)
    const { keys } = v.parse(Keys, await response.json())
    return new Map(keys.map((key) => [key.kid, key as JWK]))
  } catch (error) {
    console.error({ message: 'public keys of Cloudflare Access not read', error: String(error) })
    return null
  }
}
