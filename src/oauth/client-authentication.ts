import type { Context } from 'hono'
import { recogniseCredential } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { addLogFields, originOf } from '../http/log.ts'
import { recordFailure, recordSuccess, requireAllowed } from '../http/rate-limits.ts'
import { databaseOf } from '../http/region.ts'
import { countUsage } from '../http/usage.ts'
import {
  type AuthenticatedClient,
  type Proof,
  type RefusedClient,
  recordRefusedUse,
} from '../storage/client-authentication.ts'
import type { Database } from '../storage/database.ts'
import type { Form } from './form.ts'

/** The client ID and secret in a request. */
interface ClientCredentials {
  readonly clientId: string
  readonly clientSecret: string
}

/** Maximum length of an Authorization header, in characters. Longer headers are not decoded. */
const MAX_HEADER_LENGTH = 1024
const BASIC = /^Basic +([A-Za-z0-9+/]+={0,2})$/i
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const CLIENT_ID = /^client_[0-9A-HJKMNP-TV-Z]{26}$/

/**
 * Authenticates the client of a request (RFC 6749 §2.3) by `client_secret_basic` or `client_secret_post`. `find` makes
 * the only D1 request before the response. Throws `invalid_request` for contradictory credentials, 429 after too many
 * failures, and `invalid_client` for every invalid credential. The response does not have the reason. A malformed
 * credential costs no I/O and no digest.
 */
export async function authenticate<T extends { readonly client: AuthenticatedClient; readonly refused?: undefined }>(
  c: Context<HonoEnv>,
  form: Form,
  find: (database: Database, proof: Proof) => Promise<T | RefusedClient>,
): Promise<T> {
  const authorization = c.req.header('Authorization')
  const credentials = readCredentials(authorization, form)
  const clientId = credentials && CLIENT_ID.test(credentials.clientId) ? credentials.clientId : null
  const recognised = credentials && clientId ? recogniseCredential(credentials.clientSecret) : null
  const digest = credentials && recognised ? await sha256(credentials.clientSecret) : null
  const attempt = { digest, clientId }
  requireAllowed(c, attempt)
  const database = recognised && databaseOf(c, recognised.region)
  if (!database || !digest) {
    // A client may send no credentials in order to get the challenge. Such a request does not count as a failure.
    const isAttempt = credentials !== null || authorization !== undefined
    if (isAttempt) recordFailure(c, { digest: null, clientId })
    return refuse(c, clientId, { refused: isAttempt ? 'credentials_malformed' : 'credentials_missing' })
  }
  const origin = originOf(c)
  const proof = { digest, clientId, address: origin.address, now: Date.now() }
  const found = await find(database, proof)
  if (found.refused) {
    recordFailure(c, attempt)
    countUsage(c, 'refused', found)
    recordRefusedUse(database, proof, found, c.get('requestId'), origin)
    return refuse(c, clientId, found)
  }
  recordSuccess(c, attempt, null)
  c.set('client', found.client)
  return found
}

interface Refusal extends Partial<Omit<RefusedClient, 'refused'>> {
  readonly refused: RefusedClient['refused'] | 'credentials_malformed' | 'credentials_missing'
}

/**
 * Throws `invalid_client`. The reason is logged, so that the use of a leaked secret stands out among other failures.
 */
function refuse(c: Context<HonoEnv>, clientId: string | null, { refused, secretId, environmentId }: Refusal): never {
  addLogFields(c, {
    reason: refused,
    ...(clientId && { client_id: clientId }),
    ...(secretId && { secret_id: secretId }),
    ...(environmentId && { environment_id: environmentId }),
  })
  throw new ApiError('invalid_client')
}

/** Returns the client's credentials from the header or the form; null if they are missing or malformed. */
export function readCredentials(authorization: string | undefined, form: Form): ClientCredentials | null {
  const clientSecret = form.get('client_secret')
  if (form.has('client_assertion') && (authorization !== undefined || clientSecret !== undefined)) throw twoMethods()
  const clientId = form.get('client_id')
  if (authorization === undefined) return clientId && clientSecret ? { clientId, clientSecret } : null
  if (clientSecret !== undefined) throw twoMethods()
  const credentials = readBasic(authorization)
  // CVE-2026-118669: the body names a different client than the header authenticates.
  if (credentials && clientId && clientId !== credentials.clientId) {
    throw new ApiError('invalid_request', { message: 'The client_id in the body is not the one that authenticates.' })
  }
  return credentials
}

function twoMethods(): ApiError {
  return new ApiError('invalid_request', { message: 'Use one method of client authentication per request.' })
}

/**
 * Parses Basic credentials (RFC 7617 §2), whose two parts are form-encoded (RFC 6749 §2.3.1). Returns null for anything
 * else.
 */
function readBasic(authorization: string): ClientCredentials | null {
  const encoded = authorization.length <= MAX_HEADER_LENGTH ? BASIC.exec(authorization)?.[1] : undefined
  if (!encoded) return null
  try {
    // Base64 is decoded strictly, so that a credential has only one valid encoding.
    const pair = decoder.decode(Uint8Array.fromBase64(encoded, { lastChunkHandling: 'strict' }))
    const colon = pair.indexOf(':')
    if (colon < 1 || colon === pair.length - 1) return null
    return { clientId: decodeFormValue(pair.slice(0, colon)), clientSecret: decodeFormValue(pair.slice(colon + 1)) }
  } catch {
    // The base64, UTF-8 or percent-encoding is invalid.
    return null
  }
}

/**
 * Decodes application/x-www-form-urlencoded (RFC 6749 Appendix B). Unlike the URL standard's parser, it throws for
 * malformed percent-encoding.
 */
function decodeFormValue(value: string): string {
  return decodeURIComponent(value.replaceAll('+', ' '))
}
