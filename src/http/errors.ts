import type { Context, ErrorHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { invalidParameter as describeParameter, type InvalidParameter, type Rule } from '../contract/rules.ts'
import type { Outcome } from '../storage/caller.ts'
import { StorageUnavailable } from '../storage/database.ts'
import type { HonoEnv } from './context.ts'
import { logError } from './log.ts'

type Errors = Record<string, readonly [ContentfulStatusCode, string]>

/** RFC 6749 §5.2. */
const OAUTH_ERRORS = {
  invalid_request: [400, 'The request is not as it must be.'],
  invalid_client: [401, 'Client authentication failed.'],
  unauthorized_client: [400, 'Only m2m applications may use the client credentials grant.'],
  unsupported_grant_type: [400, 'The grant_type is client_credentials.'],
  invalid_scope: [400, 'The scope is malformed, or names one that the application has not.'],
} as const satisfies Errors

/** Every refusal: its status and its words, which say what to do next. */
const ERRORS = {
  malformed_request: [400, 'The request body is not well-formed JSON in UTF-8.'],
  unauthorized: [401, 'Unauthorized'],
  forbidden: [403, 'This API key may only read. Use one with write access.'],
  not_found: [404, 'There is no such route.'],
  entity_not_found: [404, 'There is no such object in this environment.'],
  method_not_allowed: [405, 'This route does not serve this method. The Allow header names those that it serves.'],
  payload_too_large: [413, 'The request body is over 64 KiB.'],
  unsupported_media_type: [415, 'Send the body as application/json, without a Content-Encoding.'],
  invalid_request_parameters: [422, 'Some parameters are not as they must be.'],
  invalid_idempotency_key: [422, 'An Idempotency-Key has 1 to 255 visible ASCII characters.'],
  idempotency_key_reused: [
    422,
    'This Idempotency-Key was used within the hour for another request. Use a new key for a new request.',
  ],
  client_secret_revoked: [
    422,
    'The client secret that this request created was revoked meanwhile. Use a new Idempotency-Key to create another.',
  ],
  client_secret_expired: [422, 'The client secret has expired, for good. Create another.'],
  client_secret_limit_reached: [
    422,
    'The application has as many live client secrets as it may have. Revoke one before you create another.',
  ],
  rate_limit_exceeded: [429, 'Too Many Requests'],
  internal_error: [500, 'Something went wrong here. The request id leads to the reason in the log.'],
  service_unavailable: [503, 'Storage did not answer in time. Nothing more will come of this request; send it again.'],
  ...OAUTH_ERRORS,
} as const satisfies Errors

export type ErrorCode = keyof typeof ERRORS

interface ErrorDetails {
  /** Says it more exactly than the table. */
  readonly message?: string
  readonly entityId?: string
  readonly errors?: readonly InvalidParameter[]
  readonly allow?: readonly string[]
}

/** How much of an id that leads nowhere is repeated to the caller, in characters. */
const ENTITY_ID_LENGTH = 100
/** Seconds. */
const RETRY_AFTER = { 429: 10, 503: 1 }

/** Where RFC 6749 §5.2 says what an error is. */
const OAUTH_PATH = /^\/(oauth2|sso|\.well-known)\//

/** A refusal on its way to `onError`, which words it. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(code)
    this.code = code
    this.details = details
  }
}

/** Refuses a parameter that is well-formed, for what storage knows. */
export function invalidParameter(field: string, rule: Rule): ApiError {
  return new ApiError('invalid_request_parameters', { errors: [describeParameter(field, rule)] })
}

/** Returns what storage granted, throws what it refused, and keeps the caller's identity. `entityId` is the requested ID. */
export function granted<T>(c: Context<HonoEnv>, outcome: Outcome<T, ErrorCode>, entityId?: string): T {
  if ('identity' in outcome) c.set('identity', outcome.identity)
  if ('granted' in outcome) return outcome.granted
  throw new ApiError(outcome.refused, entityId === undefined ? {} : { entityId })
}

/** Words every error: the one place that writes an error body. */
export const onError: ErrorHandler<HonoEnv> = (error, c) => {
  const { code, details } = asApiError(error)
  if (!(error instanceof ApiError)) logError(c, code, error)
  const [status, words] = ERRORS[code]
  const message = details.message ?? words
  if (code === 'unauthorized') c.header('WWW-Authenticate', 'Bearer')
  // RFC 6749 §5.2: the scheme that the client used. RFC 7617 §2: with a realm.
  if (code === 'invalid_client' && c.req.header('Authorization')) c.header('WWW-Authenticate', 'Basic realm="oncekey"')
  if (status === 429 || status === 503) c.header('Retry-After', String(RETRY_AFTER[status]))
  if (details.allow) c.header('Allow', details.allow.join(', '))
  if (OAUTH_PATH.test(c.req.path))
    return c.json({ error: oauthError(code, status), error_description: message }, status)
  return c.json(
    {
      message,
      code,
      ...(code === 'entity_not_found' && {
        entity_id: [...(details.entityId ?? '')].slice(0, ENTITY_ID_LENGTH).join(''),
      }),
      ...(details.errors && { errors: details.errors }),
    },
    status,
  )
}

function asApiError(error: Error): ApiError {
  if (error instanceof ApiError) return error
  if (!(error instanceof StorageUnavailable)) return new ApiError('internal_error')
  const message =
    'The database has no tables yet, or old ones. Whoever runs this: `npm run migrate`; deployed, `npm run deploy`.'
  return new ApiError('service_unavailable', error.notMigrated ? { message } : {})
}

function oauthError(code: ErrorCode, status: ContentfulStatusCode): string {
  if (code in OAUTH_ERRORS) return code
  if (status === 429 || status === 503) return 'temporarily_unavailable'
  return status === 500 ? 'server_error' : 'invalid_request'
}
