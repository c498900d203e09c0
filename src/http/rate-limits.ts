import type { Context, Next } from 'hono'
import { type Bytes, toHex } from '../credential/digest.ts'
import { networkOf } from './address.ts'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { addLogFields } from './log.ts'

/**
 * Limits on failed authentication and on calls of the management API.
 *
 * Anyone can make up a well-formed credential, because its checksum is public, and each one costs a D1 request. So
 * failures are counted per address and per client or key, and the count is read before the database is asked. An isolate
 * reads its own memory, without I/O. The rate-limit bindings count behind the answer, for all isolates of a location, and
 * correct that memory. Without a binding there is no limit.
 *
 * No caller can lock out another one. The count of a client or key refuses only the addresses that have failed under it:
 * anyone knows a client ID, and a thief can send a key with IP ranges from elsewhere. A credential that has worked in
 * this isolate goes on to the database unless it has failed at the same address, so that a noisy neighbour there does
 * not matter either. The memory grants nothing; the database decides.
 *
 *     const attempt = { digest, clientId: null }
 *     requireAllowed(c, attempt)                // before the database: throws 429
 *     recordFailure(c, attempt)                 // when the credential turned out to be invalid
 *     recordSuccess(c, attempt, apiKeyId)       // when it turned out to be valid
 *
 * `withinLimits` does all three for a middleware that lets the route's own batch authenticate the caller, and
 * `refuseMalformed` refuses what is no credential.
 */
export interface Attempt {
  /** SHA-256 of the API key, session or client secret; null if it is malformed. */
  readonly digest: Bytes | null
  /** The client ID that a client secret came with; null for an API key, a session or a malformed client ID. */
  readonly clientId: string | null
}

export const MALFORMED: Attempt = { digest: null, clientId: null }

/** Failures that an isolate lets one address, client or key have in a window. wrangler.toml limits a location. */
const MAX_FAILURES = 100
const WINDOW_MS = 60_000

/** How long an isolate refuses an API key that has made too many calls, before it counts again. */
const PAUSE_MS = 10_000

/** Maximum number of entries of each memory, which is then at most 2 MB. */
const MAX_ENTRIES = 10_000

/** A map of bounded size: a new entry takes the place of the oldest one. */
export class RecentMap<V> extends Map<string, V> {
  override set(key: string, value: V): this {
    this.delete(key)
    if (this.size >= MAX_ENTRIES) this.delete(this.keys().next().value as string)
    return super.set(key, value)
  }
}

/**
 * Failures in the last window. An attacker makes up clients and keys without end, and must not make an isolate forget
 * the failures of an address: so addresses have a memory of their own. So has everything that is over its limit: to push
 * it out, an attacker needs 100 failures for each of 10,000 others.
 */
const failuresOfAddresses = new RecentMap<Window>()
const failuresOfAccounts = new RecentMap<Window>()
const overLimit = new RecentMap<Window>()

/** Clients, keys and secrets that have failed, each with an address, and the time until which they count there (Unix ms). */
const failedAt = new RecentMap<number>()

/** The credentials that have worked, by name, each with the API key that it belongs to; null for a client secret. */
const working = new RecentMap<string | null>()

/** The API keys that have made too many calls, by ID, each with the end of its pause (Unix ms). */
const paused = new RecentMap<number>()

/**
 * Throws 429 for an attempt that must not cost a D1 request. The error has the time until the next attempt is allowed.
 */
export function requireAllowed(c: Context<HonoEnv>, attempt: Attempt): void {
  const names = namesOf(c, attempt)
  const apiKeyId = hasFailedHere(names, names.credential) ? undefined : working.get(String(names.credential))
  const until = apiKeyId === undefined ? refusedUntil(names) : (paused.get(String(apiKeyId)) ?? 0)
  const seconds = Math.ceil((until - Date.now()) / 1000)
  if (seconds <= 0) return
  const reason = apiKeyId === undefined ? 'too_many_failures' : 'too_many_calls'
  addLogFields(c, {
    reason,
    ...(attempt.clientId && { client_id: attempt.clientId }),
    ...(apiKeyId && { api_key_id: apiKeyId }),
  })
  // Even if the clock goes back, no client waits for longer than a window.
  throw new ApiError('rate_limit_exceeded', { retryAfter: Math.min(seconds, WINDOW_MS / 1000) })
}

/** The time when an attempt may reach the database again (Unix ms); 0 if it may now. */
function refusedUntil(names: Names): number {
  const ofAddress = currentWindow(names.address)
  if (ofAddress && ofAddress.count >= MAX_FAILURES) return ofAddress.until
  if (!hasFailedHere(names, names.account)) return 0
  const ofAccount = currentWindow(names.account)
  return ofAccount && ofAccount.count >= MAX_FAILURES ? ofAccount.until : 0
}

/** Counts an attempt whose credential is invalid. A malformed one costs no I/O here either. */
export function recordFailure(c: Context<HonoEnv>, attempt: Attempt): void {
  const names = namesOf(c, attempt)
  for (const name of [names.account, names.credential]) {
    if (name !== null) failedAt.set(here(names, name), Date.now() + WINDOW_MS)
  }
  countFailures(c, [names.address, names.account], attempt.digest !== null)
}

/** Counts in this isolate and, if the failure has cost a D1 request, for all isolates of the location. */
function countFailures(c: Context<HonoEnv>, names: readonly (string | null)[], costsRequest: boolean): void {
  const limiter = c.env.FAILED_AUTHENTICATIONS
  if (!limiter) return
  for (const name of names) {
    if (name === null) continue
    const window = currentWindow(name) ?? openWindow(name)
    if (++window.count === MAX_FAILURES) overLimit.set(name, window)
    if (!costsRequest) continue
    c.executionCtx.waitUntil(
      isOverLimit(limiter, name).then((isOver) => {
        if (!isOver) return
        window.count = MAX_FAILURES
        overLimit.set(name, window)
      }),
    )
  }
}

/** Remembers a credential that has worked, and counts a call of the API key that it belongs to. */
export function recordSuccess(c: Context<HonoEnv>, attempt: Attempt, apiKeyId: string | null): void {
  const names = namesOf(c, attempt)
  if (names.credential !== null) {
    working.set(names.credential, apiKeyId)
    failedAt.delete(here(names, names.credential))
  }
  if (apiKeyId === null) return
  c.executionCtx.waitUntil(
    isOverLimit(c.env.MANAGEMENT_CALLS, apiKeyId).then((isOver) => {
      if (isOver) paused.set(apiKeyId, Date.now() + PAUSE_MS)
    }),
  )
}

/** Runs the rest of a route whose own batch authenticates the caller by a credential with this digest. */
export async function withinLimits(c: Context<HonoEnv>, digest: Bytes, next: Next): Promise<void> {
  const attempt = { digest, clientId: null }
  requireAllowed(c, attempt)
  await next()
  const identity = c.get('identity')
  if (identity) recordSuccess(c, attempt, identity.apiKeyId)
  else if (c.error instanceof ApiError && c.error.code === 'unauthorized') recordFailure(c, attempt)
}

/** Refuses a leak report from an address over its limit, whichever credential it reports. */
export function requireFewReports(c: Context<HonoEnv>): void {
  requireAllowed(c, MALFORMED)
}

/** Counts a report, by its address only: reports of a credential must not keep out the caller that uses it. */
export function countReport(c: Context<HonoEnv>, costsRequest: boolean): void {
  countFailures(c, [namesOf(c, MALFORMED).address], costsRequest)
}

/** Refuses a credential that is malformed, which is counted, or missing, which is not. Costs no I/O. */
export function refuseMalformed(c: Context<HonoEnv>, credential: string | undefined): never {
  requireAllowed(c, MALFORMED)
  if (credential) recordFailure(c, MALFORMED)
  throw new ApiError('unauthorized')
}

const ADDRESS = 'address '

interface Names {
  /** Null if the address is not known. */
  readonly address: string | null
  readonly credential: string | null
  /** The client; without a client ID the credential. */
  readonly account: string | null
}

function namesOf(c: Context<HonoEnv>, { digest, clientId }: Attempt): Names {
  const address = c.req.header('CF-Connecting-IP')
  const credential = digest && `key ${toHex(digest)}`
  const account = clientId ? `client ${clientId}` : credential
  return { address: address ? ADDRESS + networkOf(address) : null, credential, account }
}

const here = ({ address }: Names, name: string | null) => `${name} ${address}`

function hasFailedHere(names: Names, name: string | null): boolean {
  return Date.now() < (failedAt.get(here(names, name)) ?? 0)
}

interface Window {
  count: number
  /** Unix ms. */
  readonly until: number
}

function currentWindow(name: string | null): Window | undefined {
  if (name === null) return undefined
  const isOpen = (window: Window | undefined) => window && Date.now() < window.until
  return [overLimit.get(name), failuresOf(name).get(name)].find(isOpen)
}

function openWindow(name: string): Window {
  const window = { count: 0, until: Date.now() + WINDOW_MS }
  failuresOf(name).set(name, window)
  return window
}

function failuresOf(name: string): RecentMap<Window> {
  return name.startsWith(ADDRESS) ? failuresOfAddresses : failuresOfAccounts
}

/**
 * Counts one more of `key` and says whether there are too many. The platform counts per location, approximately. A
 * limiter that is missing or fails limits no caller: it must never refuse a valid credential.
 */
export async function isOverLimit(limiter: RateLimit | undefined, key: string): Promise<boolean> {
  try {
    return limiter !== undefined && !(await limiter.limit({ key })).success
  } catch (error) {
    console.error({ message: 'rate limiter failed', error: String(error) })
    return false
  }
}
