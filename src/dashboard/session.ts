import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { createMiddleware } from 'hono/factory'
import { API_KEY_PREFIX, issueCredential, recogniseCredential, SESSION_PREFIX } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import { newId, regionOfId } from '../credential/id.ts'
import { beginChange, bitsOfCaller } from '../http/caller.ts'
import type { HonoEnv, SessionCaller } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { addLogFields, originOf } from '../http/log.ts'
import {
  MALFORMED,
  recordFailure,
  recordSuccess,
  refuseMalformed,
  requireAllowed,
  withinLimits,
} from '../http/rate-limits.ts'
import { databaseOf, openRegion } from '../http/region.ts'
import { readSettings } from '../http/settings.ts'
import { publicOrigin } from '../pages/document.tsx'
import { isAllowed, isChanging, type Need } from '../storage/caller.ts'
import { afterResponse, type Database } from '../storage/database.ts'
import { endOwnSession, startSession } from '../storage/sessions.ts'
import { ASSERTION_HEADER, type Assertion, type IdentifiedPerson, readAssertion } from './access-assertion.ts'

/**
 * Requires a session. A missing or malformed credential is refused here, without a D1 request. The D1 batch of the page
 * checks that the session is valid and that its API key has the rights that the page needs.
 */
export const requireSession = createMiddleware<HonoEnv>(async (c, next) => {
  const credential = readCookie(c, 'session')
  const recognised = recognise(credential, SESSION_PREFIX)
  const database = recognised && databaseOf(c, recognised.region)
  if (!database) return refuseMalformed(c, credential)
  const digest = await sha256(credential)
  c.set('session', { kind: 'session', digest, addressBits: bitsOfCaller(c), region: recognised.region })
  await withinLimits(c, digest, next)
})

/**
 * True if the caller has the rights for an action that a page may offer. Call this after storage has identified the
 * caller.
 */
export function may(c: Context<HonoEnv>, needs: Need): boolean {
  const identity = c.get('identity')
  const session = c.get('session')
  if (!identity || !isAllowed(identity, needs)) return false
  return !isChanging(needs) || (session.environmentId ?? identity.environmentId) === identity.environmentId
}

/** Throws if the API key of the session has no right to submit the form of a page. */
export function requireRight(c: Context<HonoEnv>, needs: Need): void {
  if (!may(c, needs)) throw new ApiError('forbidden')
}

/** Signs in with an API key. Returns false if the key is invalid. A malformed key causes no D1 request. */
export async function signIn(c: Context<HonoEnv>, apiKey: string): Promise<boolean> {
  const key = recognise(apiKey, API_KEY_PREFIX)
  const database = key && databaseOf(c, key.region)
  if (!database) {
    requireAllowed(c, MALFORMED)
    recordFailure(c, MALFORMED)
    return false
  }
  const digest = await sha256(apiKey)
  requireAllowed(c, { digest, clientId: null })
  return start(c, database, { digest, region: key.region }, null)
}

/** True if sign-in through Cloudflare Access is configured. */
export const hasAccess = (c: Context<HonoEnv>) => readSettings(c.env).ACCESS_TEAM_DOMAIN !== ''

/**
 * Verifies the assertion of Cloudflare Access about the sender. Null if there is none, if Access is not configured, or
 * on another host than the issuer's, such as workers.dev. Access does not protect other hosts, so an assertion there
 * may be an old copy.
 */
export async function assertionOf(c: Context<HonoEnv>): Promise<Assertion | null> {
  const { ACCESS_TEAM_DOMAIN, ACCESS_AUDIENCES, ISSUER } = readSettings(c.env)
  const assertion = c.req.header(ASSERTION_HEADER)
  if (!assertion || !hasAccess(c) || new URL(c.req.url).origin !== ISSUER) return null
  const read = await readAssertion(assertion, ACCESS_TEAM_DOMAIN, ACCESS_AUDIENCES)
  if (read.refused) addLogFields(c, { reason: read.reason })
  return read
}

/** The reasons why a person can't sign in through Cloudflare Access. */
export type AccessRefusal = NonNullable<Assertion['refused']> | 'no_assertion' | 'key_refused'

/**
 * Signs in the person whom Cloudflare Access has identified, with the rights of the API key that belongs to the
 * audience. Returns the reason if the person can't sign in. A request without a valid assertion causes no D1 request.
 */
export async function signInThroughAccess(c: Context<HonoEnv>): Promise<AccessRefusal | null> {
  const digest = await sha256(c.req.header(ASSERTION_HEADER) ?? '')
  requireAllowed(c, { digest, clientId: null })
  const assertion = await assertionOf(c)
  if (!assertion) return 'no_assertion'
  if (assertion.refused) {
    recordFailure(c, MALFORMED)
    return assertion.refused
  }
  const { person } = assertion
  const region = regionOfId(person.apiKeyId)
  const database = databaseOf(c, region)
  return database && (await start(c, database, { digest, region, apiKeyId: person.apiKeyId }, person))
    ? null
    : 'key_refused'
}

/** Starts a session, and sets its cookie. Returns false if the database refuses the API key. */
async function start(
  c: Context<HonoEnv>,
  database: Database,
  key: Pick<SessionCaller, 'digest' | 'apiKeyId' | 'region'>,
  person: IdentifiedPerson | null,
): Promise<boolean> {
  const { plaintext, digest } = await issueCredential(SESSION_PREFIX, key.region)
  const change = beginChange(c, { ...key, kind: 'api_key', addressBits: bitsOfCaller(c) })
  const session = { id: newId('session', change.now, key.region), digest, person }
  const previous = await previousSession(c)
  const isInReach = previous?.region === key.region
  const started = await startSession(database, change, session, isInReach ? previous.digest : null)
  if (started.refused) {
    if (started.refused !== 'unauthorized') throw new ApiError(started.refused)
    recordFailure(c, { digest: key.digest, clientId: null })
    return false
  }
  for (const credential of [key.digest, digest])
    recordSuccess(c, { digest: credential, clientId: null }, started.identity.apiKeyId)
  if (previous && !isInReach) endInOtherRegion(c, previous)
  writeCookie(c, 'session', plaintext)
  return true
}

/** The session in the cookie of the request, or null. */
async function previousSession(c: Context<HonoEnv>): Promise<SessionCaller | null> {
  const credential = readCookie(c, 'session')
  const recognised = recognise(credential, SESSION_PREFIX)
  if (!recognised) return null
  const { region } = recognised
  return { kind: 'session', digest: await sha256(credential), addressBits: bitsOfCaller(c), region }
}

/**
 * Ends a replaced session after the response. It is in another database than the new one, so one batch cannot do both.
 */
function endInOtherRegion(c: Context<HonoEnv>, caller: SessionCaller): void {
  const region = readSettings(c.env).REGIONS.find(({ digit }) => digit === caller.region)
  if (!region) return
  const database = openRegion(c, region)
  const now = Date.now()
  const ids = { eventId: newId('event', now, region.digit), requestId: c.get('requestId') }
  afterResponse(database, async () => {
    await endOwnSession(database, { ...ids, caller, now, origin: originOf(c) }).catch((error) =>
      console.error({ message: 'session not ended', request_id: ids.requestId, error: String(error) }),
    )
  })
}

function recognise(credential: string, prefix: string) {
  const recognised = recogniseCredential(credential)
  return recognised?.prefix === prefix ? recognised : null
}

/**
 * Cookies of this host only, which scripts cannot read. Hono adds the path and, with the prefix, `Secure`. With `Lax`,
 * a link on another site can open a page of the dashboard. A form of another site is refused before the cookies are
 * read (`ownForms`).
 */
const options = { httpOnly: true, sameSite: 'Lax' } as const

/** Safari refuses Secure cookies over http, even on the loopback hosts where `npm run dev` serves. */
const LOOPBACK = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:|$)/
const isOnLoopback = (c: Context<HonoEnv>) => LOOPBACK.test(publicOrigin(c))
const localName = (name: string) => `oncekey-${name}`

export function readCookie(c: Context<HonoEnv>, name: string): string {
  return (isOnLoopback(c) ? getCookie(c, localName(name)) : getCookie(c, name, 'host')) ?? ''
}

export function writeCookie(c: Context<HonoEnv>, name: string, value: string): void {
  if (isOnLoopback(c)) setCookie(c, localName(name), value, options)
  else setCookie(c, name, value, { ...options, prefix: 'host' })
}

/**
 * Deletes a cookie that the request has sent. Returns false if the request has sent none. The response must then not
 * delete the cookie: the browser may have one that it did not send.
 */
export function removeCookie(c: Context<HonoEnv>, name: string): boolean {
  if (readCookie(c, name) === '') return false
  if (isOnLoopback(c)) deleteCookie(c, localName(name), options)
  else deleteCookie(c, name, { ...options, prefix: 'host' })
  return true
}
