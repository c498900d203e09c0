import type { Context, ErrorHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { invalidParameter as describeParameter, type InvalidParameter, type Rule } from '../contract/rules.ts'
import type { Outcome } from '../storage/caller.ts'
import { type StorageFault, StorageUnavailable } from '../storage/database.ts'
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
  client_secret_disabled: [
    422,
    'The client secret that this request created is disabled. Nothing was changed. Enable it, or create another.',
  ],
  client_secret_expired: [422, "The client secret has expired, which can't be undone. Create another."],
  application_deleted: [
    422,
    'The application of this request was deleted since. Use a new Idempotency-Key to create another.',
  ],
  application_limit_reached: [
    422,
    'The environment has its maximum number of applications. Delete one before you create another.',
  ],
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
  /** Seconds. */
  readonly retryAfter?: number
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
  if ('identity' in outcome) {
    c.set('identity', outcome.identity)
    c.set('hasDelivery', outcome.hasDelivery)
  }
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
  if (status === 429 || status === 503) c.header('Retry-After', String(details.retryAfter ?? RETRY_AFTER[status]))
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
  const message = PERMANENT_FAULTS.get(error.fault)
  if (message === undefined) return new ApiError('service_unavailable')
  return new ApiError('service_unavailable', { message, retryAfter: retryAfter(error.fault, new Date()) })
}

/** What failed, that nothing was changed, and what to do: a retry alone does not help. */
const PERMANENT_FAULTS = new Map<StorageFault, string>([
  [
    'not_migrated',
    'The database schema is missing or outdated. Nothing was changed. Operators: run `npm run migrate`, or `npm run deploy` for the deployed database.',
  ],
  [
    'newer_schema',
    'The database schema is newer than this version of Oncekey. Nothing was changed. Operators: deploy the newer version.',
  ],
  [
    'quota_exceeded',
    "D1's daily limit of the Workers Free plan is used up until midnight UTC. Nothing was changed. Operators: switch to the paid plan.",
  ],
  ['full', 'The database is full. Nothing was changed. Operators: see "How far it scales" in README.'],
  ['corrupt', 'The database is corrupt. Nothing was changed. Operators: restore a backup.'],
  [
    'read_only',
    'The database is read-only. Nothing was changed. Operators: check the state folder and its permissions.',
  ],
])

const MINUTE_SECONDS = 60
const DAY_SECONDS = 86_400

/** In seconds: the quota is renewed at midnight UTC; any other fault lasts until somebody has acted. */
function retryAfter(fault: StorageFault, now: Date): number {
  if (fault !== 'quota_exceeded') return MINUTE_SECONDS
  return DAY_SECONDS - (Math.floor(now.getTime() / 1000) % DAY_SECONDS)
}

function oauthError(code: ErrorCode, status: ContentfulStatusCode): string {
  if (code in OAUTH_ERRORS) return code
  if (status === 429 || status === 503) return 'temporarily_unavailable'
  return status === 500 ? 'server_error' : 'invalid_request'
}
