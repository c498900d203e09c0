import type { Context } from 'hono'
import { type RecognisedCredential, recogniseCredential } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import type { HonoEnv } from '../http/context.ts'
import { databaseOf } from '../http/database.ts'
import { ApiError } from '../http/errors.ts'
import { isOverLimit } from '../http/rate-limits.ts'
import type { Proof } from '../storage/authentication.ts'
import type { Database } from '../storage/database.ts'
import type { Form } from './form.ts'

/**
 * Client authentication (RFC 6749 §2.3): `client_secret_basic` or `client_secret_post`, exactly one of them per
 * request. Whatever is wrong with a credential, the answer is the same `invalid_client`.
 */
interface Presented {
  readonly clientId: string
  readonly clientSecret: string
}

/** Nothing longer is decoded, let alone hashed. Characters. */
const LONGEST_HEADER = 1024
const BASIC = /^Basic +([A-Za-z0-9+/]+={0,2})$/i

/** What a client id can be; anything else is nobody's. */
const CLIENT_ID = /^client_[0-9A-HJKMNP-TV-Z]{26}$/

/**
 * Authenticates the client of a request by `find`, which makes the request's one trip. Gives what it found. Throws
 * `invalid_request` where the request contradicts itself, `invalid_client` for a credential that is none of ours or no
 * longer good, and 429 instead of the latter for who fails too often. A success is never limited.
 */
export async function authenticate<T>(
  c: Context<HonoEnv>,
  form: Form,
  find: (database: Database, proof: Proof) => Promise<T | null>,
): Promise<T> {
  const presented = present(c.req.header('Authorization'), form)
  const recognised =
    presented && CLIENT_ID.test(presented.clientId) ? recogniseCredential(presented.clientSecret) : null
  const found = presented && recognised ? await findBySecret(c, presented, recognised, find) : null
  if (found) return found
  const address = c.req.header('CF-Connecting-IP')
  const isTooMuch = await Promise.all([
    presented && CLIENT_ID.test(presented.clientId) && countFailure(c, `client ${presented.clientId}`),
    address && countFailure(c, `address ${address}`),
  ])
  throw new ApiError(isTooMuch.includes(true) ? 'rate_limit_exceeded' : 'invalid_client')
}

async function findBySecret<T>(
  c: Context<HonoEnv>,
  { clientId, clientSecret }: Presented,
  { region }: RecognisedCredential,
  find: (database: Database, proof: Proof) => Promise<T | null>,
): Promise<T | null> {
  const database = databaseOf(c, region)
  return database && find(database, { digest: await sha256(clientSecret), clientId, now: Date.now() })
}

function countFailure(c: Context<HonoEnv>, key: string): Promise<boolean> {
  return isOverLimit(c.env.FAILED_AUTHENTICATIONS, key)
}

/** What the client shows for itself, by either method; null where that is nothing, or not to be read. */
export function present(authorization: string | undefined, form: Form): Presented | null {
  const clientSecret = form.get('client_secret')
  if (form.get('client_assertion') && (authorization !== undefined || clientSecret !== undefined)) throw twoMethods()
  if (authorization === undefined) {
    const clientId = form.get('client_id')
    return clientId && clientSecret ? { clientId, clientSecret } : null
  }
  // RFC 6749 §2.3: not more than one method. An empty secret in the body is one too.
  if (clientSecret !== undefined) throw twoMethods()
  const presented = readBasic(authorization)
  // CVE-2026-118669: a body that names another client than the one that authenticates.
  const named = form.get('client_id')
  if (presented && named && named !== presented.clientId) {
    throw new ApiError('invalid_request', { message: 'The client_id in the body is not the one that authenticates.' })
  }
  return presented
}

function twoMethods(): ApiError {
  return new ApiError('invalid_request', { message: 'Use one method of client authentication, not two.' })
}

/** RFC 7617 §2, with both halves form-encoded as RFC 6749 §2.3.1 asks. Null for what is not exactly that. */
function readBasic(authorization: string): Presented | null {
  const encoded = authorization.length <= LONGEST_HEADER ? BASIC.exec(authorization)?.[1] : undefined
  if (!encoded) return null
  try {
    const binary = atob(encoded)
    // atob forgives missing padding and stray bits: two strings must not mean one credential.
    if (btoa(binary) !== encoded) return null
    const pair = decodeUtf8(binary)
    const colon = pair.indexOf(':')
    if (colon < 1 || colon === pair.length - 1) return null
    return { clientId: decodeFormValue(pair.slice(0, colon)), clientSecret: decodeFormValue(pair.slice(colon + 1)) }
  } catch {
    // Not base64, not UTF-8, or a percent sign that starts nothing.
    return null
  }
}

function decodeUtf8(binary: string): string {
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0))
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
}

/** application/x-www-form-urlencoded, strictly (RFC 6749 Appendix B). Throws where the URL standard would forgive. */
function decodeFormValue(value: string): string {
  return decodeURIComponent(value.replaceAll('+', ' '))
}
