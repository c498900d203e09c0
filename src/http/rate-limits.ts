import type { Context, Next } from 'hono'
import { type Bytes, toHex } from '../credential/digest.ts'
import { networkOf } from './address.ts'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { addLogFields } from './log.ts'

/**
 * Limits on failed authentication and on calls of the management API.
 *
 * Anyone can create a well-formed credential, because its checksum is public, and each such credential costs a D1
 * request. So failures are counted per IP address and per client or key, and the count is checked before the database
 * request. An isolate checks only its own memory, without I/O. After the response, the rate-limit bindings count
 * failures and calls for all isolates of a location. If a binding reports that a limit is exceeded, the isolate
 * remembers this. Without the bindings there is no limit.
 *
 * A caller cannot lock out another caller. Too many failures of a client or key block only the IP addresses that have
 * failed with this client or key: client IDs are public, and a thief can send a stolen key from outside its IP ranges.
 * A credential that has worked in this isolate still reaches the database, unless it has failed from the same IP
 * address. So failures of other callers at the same IP address do not block the credential. The memory can only refuse
 * an attempt: only the database can authenticate a caller.
 *
 *     const attempt = { digest, clientId: null }
 *     requireAllowed(c, attempt)                // before the database request: throws 429
 *     recordFailure(c, attempt)                 // if the credential was invalid
 *     recordSuccess(c, attempt, apiKeyId)       // if the credential was valid
 *
 * `withinLimits` makes all three calls for routes whose own batch authenticates the caller. `refuseMalformed` refuses
 * malformed credentials.
 */
export interface Attempt {
  /** SHA-256 of the API key, session credential or client secret; null if the credential is malformed. */
  readonly digest: Bytes | null
  /** The client ID that was sent with a client secret; null for an API key, a session or a malformed client ID. */
  readonly clientId: string | null
}

export const MALFORMED: Attempt = { digest: null, clientId: null }

/**
 * Maximum number of failures per window for one IP address, client or key in one isolate. The limit for a location is
 * in wrangler.toml.
 */
const MAX_FAILURES = 100
const WINDOW_MS = 60_000

/** How long an isolate refuses an API key after too many calls. Refused calls are not counted. */
const PAUSE_MS = 10_000

/** Maximum number of entries of each map. A full map takes at most 2 MB. */
const MAX_ENTRIES = 10_000

/** A map of bounded size. If the map is full, a new entry replaces the oldest one. */
export class RecentMap<V> extends Map<string, V> {
  override set(key: string, value: V): this {
    this.delete(key)
    if (this.size >= MAX_ENTRIES) this.delete(this.keys().next().value as string)
    return super.set(key, value)
  }
}

/**
 * Failures in the current window. The counts of IP addresses and those of accounts (client IDs and API keys) have separate
 * maps: an attacker can invent accounts until they have replaced all others, but no IP addresses. An entry over the limit
 * is also in `overLimit`: to replace it there, an attacker would need 100 failures for each of 10,000 other entries.
 */
const failuresOfAddresses = new RecentMap<Window>()
const failuresOfAccounts = new RecentMap<Window>()
const overLimit = new RecentMap<Window>()

/**
 * The time (Unix ms) until which the failure of a client, API key or secret at an IP address is remembered. `here`
 * makes the keys of the map.
 */
const failedUntil = new RecentMap<number>()

/** Credentials that have worked. The value is the ID of the API key, or null for a client secret. */
const working = new RecentMap<string | null>()

/** The end of the pause (Unix ms) for each API key with too many calls, by the ID of the key. */
const paused = new RecentMap<number>()

/** Throws 429 if an attempt is over a limit, so that it causes no D1 request. Retry-After says how long to wait. */
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
  // If the clock goes back, a client must still not wait for longer than one window.
  throw new ApiError('rate_limit_exceeded', { retryAfter: Math.min(seconds, WINDOW_MS / 1000) })
}

/** Returns the time (Unix ms) from which an attempt may reach the database; 0 if it may now. */
function refusedUntil(names: Names): number {
  const ofAddress = currentWindow(names.address)
  if (ofAddress && ofAddress.count >= MAX_FAILURES) return ofAddress.until
  if (!hasFailedHere(names, names.account)) return 0
  const ofAccount = currentWindow(names.account)
  return ofAccount && ofAccount.count >= MAX_FAILURES ? ofAccount.until : 0
}

/**
 * Counts an attempt with an invalid credential. A malformed credential is counted only in this isolate, without I/O.
 */
export function recordFailure(c: Context<HonoEnv>, attempt: Attempt): void {
  const names = namesOf(c, attempt)
  for (const name of [names.account, names.credential]) {
    if (name !== null) failedUntil.set(here(names, name), Date.now() + WINDOW_MS)
  }
  countFailures(c, [names.address, names.account], attempt.digest !== null)
}

/**
 * Counts failures in this isolate. Failures that have cost a D1 request are also counted for all isolates of the
 * location.
 */
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

/** Records that a credential has worked. For an API key or its session, also counts a call of the key. */
export function recordSuccess(c: Context<HonoEnv>, attempt: Attempt, apiKeyId: string | null): void {
  const names = namesOf(c, attempt)
  if (names.credential !== null) {
    working.set(names.credential, apiKeyId)
    failedUntil.delete(here(names, names.credential))
  }
  if (apiKeyId === null) return
  c.executionCtx.waitUntil(
    isOverLimit(c.env.MANAGEMENT_CALLS, apiKeyId).then((isOver) => {
      if (isOver) paused.set(apiKeyId, Date.now() + PAUSE_MS)
    }),
  )
}

/**
 * Applies the limits to a route whose own batch authenticates the caller. `digest` is that of the caller's credential.
 */
export async function withinLimits(c: Context<HonoEnv>, digest: Bytes, next: Next): Promise<void> {
  const attempt = { digest, clientId: null }
  requireAllowed(c, attempt)
  await next()
  const identity = c.get('identity')
  if (identity) recordSuccess(c, attempt, identity.apiKeyId)
  else if (c.error instanceof ApiError && c.error.code === 'unauthorized') recordFailure(c, attempt)
}

/** Refuses a leak report if the sender's IP address is over the limit, whatever credential it reports. */
export function requireFewReports(c: Context<HonoEnv>): void {
  requireAllowed(c, MALFORMED)
}

/**
 * Counts a leak report by the sender's IP address only. If the reported credential were counted, reports could lock out
 * its owner.
 */
export function countReport(c: Context<HonoEnv>, costsRequest: boolean): void {
  countFailures(c, [namesOf(c, MALFORMED).address], costsRequest)
}

/** Refuses a malformed or missing credential without I/O. Only a malformed one counts as a failure. */
export function refuseMalformed(c: Context<HonoEnv>, credential: string | undefined): never {
  requireAllowed(c, MALFORMED)
  if (credential) recordFailure(c, MALFORMED)
  throw new ApiError('unauthorized')
}

const ADDRESS = 'address '

interface Names {
  /** Null if the IP address is unknown. */
  readonly address: string | null
  readonly credential: string | null
  /** The client, or the credential if there is no client ID. */
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
  return Date.now() < (failedUntil.get(here(names, name)) ?? 0)
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
 * Counts one call for `key`, and returns true if `key` is over the limit. The platform counts approximately, per
 * location. If the limiter is missing or fails, there is no limit, because a limiter must never refuse a valid
 * credential.
 */
export async function isOverLimit(limiter: RateLimit | undefined, key: string): Promise<boolean> {
  try {
    return limiter !== undefined && !(await limiter.limit({ key })).success
  } catch (error) {
    console.error({ message: 'rate limiter failed', error: String(error) })
    return false
  }
}
