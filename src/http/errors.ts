import type { Context, ErrorHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { InferOutput } from 'valibot'
import { type InvalidParameter, invalidParameter, type RegionState, type Rule } from '../contract/rules.ts'
import { mayContainCredential } from '../credential/credential.ts'
import type { Outcome } from '../storage/caller.ts'
import { type StorageFault, StorageUnavailable } from '../storage/database.ts'
import type { HonoEnv } from './context.ts'
import { addLogFields, logError } from './log.ts'
import { SettingsError } from './settings.ts'

type Errors = Readonly<Record<string, readonly [status: ContentfulStatusCode, message: string]>>

/** The errors of the OAuth endpoints (RFC 6749 §5.2). */
const OAUTH_ERRORS = {
  invalid_request: [400, 'The request is malformed.'],
  invalid_client: [401, 'Client authentication failed.'],
  unauthorized_client: [400, 'Only m2m applications may use the client credentials grant.'],
  unsupported_grant_type: [400, 'The grant_type must be client_credentials.'],
  invalid_scope: [400, 'The requested scope is malformed or not allowed for this application or secret.'],
} as const satisfies Errors

/** The API and the dashboard share this text. */
export const SECRET_LIMIT_REACHED =
  'The application has reached its limit of active client secrets. Nothing was changed. Revoke one first.'

/** All errors: the status, and a message that says what happened and what to do next. */
const ERRORS = {
  malformed_request: [400, 'The request body is not well-formed JSON in UTF-8.'],
  unauthorized: [401, 'Unauthorized'],
  forbidden: [
    403,
    'This API key does not allow this. Nothing was changed. Use a key with the access or the permission for it.',
  ],
  https_required: [
    403,
    'Plain http is refused here. Nothing was read. Use https, and replace credentials sent by http.',
  ],
  invalid_signature: [403, 'The signature of these reports is missing or invalid. Nothing was read.'],
  not_found: [404, 'This route does not exist. The API reference is at /docs.'],
  entity_not_found: [404, 'The object was not found in this environment.'],
  method_not_allowed: [405, 'This route does not support this method. The Allow header lists those that it supports.'],
  payload_too_large: [413, 'The request body is larger than 64 KiB.'],
  unsupported_media_type: [415, 'Send the body as application/json, without a Content-Encoding.'],
  invalid_request_parameters: [422, 'The request has invalid parameters.'],
  invalid_idempotency_key: [422, 'The Idempotency-Key must have 1 to 255 visible ASCII characters.'],
  idempotency_key_reused: [
    422,
    'This Idempotency-Key was used for a different request within the last hour. Nothing was changed. Use a new key for a new request.',
  ],
  client_secret_revoked: [
    422,
    'The client secret that this request created has since been revoked. Use a new Idempotency-Key to create another.',
  ],
  client_secret_disabled: [
    422,
    'The client secret that this request created is disabled. Nothing was changed. Enable it, or create another.',
  ],
  client_secret_expired: [422, 'The client secret has expired and cannot be changed. Create another.'],
  application_deleted: [
    422,
    'The application of this request has since been deleted. Use a new Idempotency-Key to create another.',
  ],
  application_limit_reached: [
    422,
    'The environment has reached its limit of applications. Nothing was changed. Delete one first.',
  ],
  client_secret_limit_reached: [422, SECRET_LIMIT_REACHED],
  environment_frozen: [
    422,
    'The environment is frozen: no credential can be created, get more rights or a later expiry. Nothing was changed. Lift the freeze first.',
  ],
  rate_limit_exceeded: [429, 'Too Many Requests'],
  internal_error: [500, 'Internal error. Quote the request ID when you report it.'],
  service_unavailable: [503, 'The request took too long, so nothing was changed. Try again.'],
  ...OAUTH_ERRORS,
} as const satisfies Errors

/**
 * Errors in one parameter that only the database can detect. The response is 422 `invalid_request_parameters`, with the
 * parameter and the rule that it breaks.
 */
const PARAMETER_ERRORS = {
  expires_at_past: ['expires_at', 'past'],
  expires_at_too_late: ['expires_at', 'too_late'],
  scopes_unknown: ['scopes', 'unknown_scope'],
  redirect_uris_not_allowed: ['redirect_uris', 'redirect_uris_not_allowed'],
  invalid_cursor: ['after', 'unknown_cursor'],
} as const satisfies Readonly<Record<string, readonly [field: string, rule: Rule]>>

export type ErrorCode = keyof typeof ERRORS | keyof typeof PARAMETER_ERRORS

interface ErrorDetails {
  /** A more specific message, used instead of the message in the table. */
  readonly message?: string
  /** The ID that the caller asked for. */
  readonly entityId?: string | undefined
  /** The name of the parameter, if it differs from the name in `PARAMETER_ERRORS`. */
  readonly field?: string
  readonly errors?: readonly InvalidParameter[]
  readonly regions?: readonly InferOutput<typeof RegionState>[]
  readonly allow?: readonly string[]
  /** The value of Retry-After, in seconds. */
  readonly retryAfter?: number
}

/** Maximum length of the ID in an `entity_not_found` error, in characters. */
const MAX_ENTITY_ID_LENGTH = 50
const RETRY_AFTER_SECONDS: Readonly<Record<number, number>> = { 429: 10, 503: 1 }

/** An error that a handler throws. `onError`, `onOAuthError` or a page handler turns it into a response. */
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

/** Stores the caller's identity in the context, for the layout of the page and for the log. */
export function keepIdentity(c: Context<HonoEnv>, outcome: Outcome<unknown, string>): void {
  if (!outcome.identity) return
  c.set('identity', outcome.identity)
  c.set('hasDelivery', outcome.hasDelivery)
}

/**
 * Returns the granted value, or throws the refusal as an ApiError. Also stores the caller's identity in the context.
 * `details` are added to the error; a string is the ID that the caller asked for.
 */
export function granted<T>(
  c: Context<HonoEnv>,
  outcome: Outcome<T, ErrorCode>,
  details: ErrorDetails | string = {},
): T {
  keepIdentity(c, outcome)
  if (outcome.refused === undefined) return outcome.granted
  throw new ApiError(outcome.refused, typeof details === 'string' ? { entityId: details } : details)
}

interface Answer {
  readonly code: keyof typeof ERRORS
  readonly status: ContentfulStatusCode
  readonly message: string
  readonly details: ErrorDetails
}

/** Responds to an error of the management API, and of every other route without an error format of its own. */
export const onError: ErrorHandler<HonoEnv> = (error, c) => {
  const { code, status, message, details } = answerTo(error, c)
  if (code === 'unauthorized') c.header('WWW-Authenticate', 'Bearer')
  const entityId = details.entityId ?? ''
  return c.json(
    {
      message,
      code,
      ...(code === 'entity_not_found' &&
        !mayContainCredential(entityId) && { entity_id: [...entityId].slice(0, MAX_ENTITY_ID_LENGTH).join('') }),
      ...(details.errors && { errors: details.errors }),
      ...(details.regions && { regions: details.regions }),
    },
    status,
  )
}

/** Responds to an error of the OAuth endpoints (RFC 6749 §5.2). */
export const onOAuthError: ErrorHandler<HonoEnv> = (error, c) => {
  const { code, status, message } = answerTo(error, c)
  // A 401 must have a challenge (RFC 9110 §15.5.2), and Basic authentication needs a realm (RFC 7617 §2).
  if (code === 'invalid_client') c.header('WWW-Authenticate', 'Basic realm="oncekey"')
  return c.json({ error: oauthCode(code, status), error_description: message }, status)
}

/** Logs an error, sets the headers that all formats share, and returns the data for the response body. */
function answerTo(error: Error, c: Context<HonoEnv>): Answer {
  const { code: given, details: givenDetails } = asApiError(error, c)
  const [code, details] = isParameterError(given)
    ? (['invalid_request_parameters', { ...givenDetails, errors: [parameterError(given, givenDetails)] }] as const)
    : [given, givenDetails]
  if (!(error instanceof ApiError)) logError(c, code, error)
  addLogFields(c, { error: given })
  const [status, words] = ERRORS[code]
  const retryAfter = details.retryAfter ?? RETRY_AFTER_SECONDS[status]
  if (retryAfter !== undefined) c.header('Retry-After', String(retryAfter))
  if (details.allow) c.header('Allow', details.allow.join(', '))
  return { code, status, message: details.message ?? words, details }
}

function isParameterError(code: ErrorCode): code is keyof typeof PARAMETER_ERRORS {
  return Object.hasOwn(PARAMETER_ERRORS, code)
}

function parameterError(code: keyof typeof PARAMETER_ERRORS, { field }: ErrorDetails): InvalidParameter {
  const [parameter, rule] = PARAMETER_ERRORS[code]
  return invalidParameter(field ?? parameter, rule)
}

/** Converts any error to an ApiError. */
export function asApiError(error: Error, c: Context<HonoEnv>): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof StorageUnavailable) return unavailable(error, c)
  if (!(error instanceof SettingsError)) return new ApiError('internal_error')
  return new ApiError('internal_error', {
    message: "The server's settings are invalid. The operator finds the reason in the log and at /readyz.",
  })
}

/**
 * Messages for permanent errors. Each says what failed, that nothing was changed, and what to do, because a retry alone
 * cannot succeed.
 */
const PERMANENT_FAULTS = new Map<StorageFault, string>([
  ['frozen', 'Changes are refused during a recovery of the database. Nothing was changed. Try again later.'],
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

/**
 * Returns Retry-After in seconds. The quota is renewed at midnight UTC. All other permanent errors last until the
 * operator acts.
 */
function retryAfter(fault: StorageFault, now: Date): number {
  if (fault !== 'quota_exceeded') return MINUTE_SECONDS
  return DAY_SECONDS - (Math.floor(now.getTime() / 1000) % DAY_SECONDS)
}

/** Returns the 503. Its message says that nothing was changed or that the outcome is unknown, and what to do next. */
function unavailable(error: StorageUnavailable, c: Context<HonoEnv>): ApiError {
  const permanent = PERMANENT_FAULTS.get(error.fault)
  if (permanent) {
    return new ApiError('service_unavailable', { message: permanent, retryAfter: retryAfter(error.fault, new Date()) })
  }
  if (error.fault === 'busy') {
    return new ApiError('service_unavailable', {
      message: 'Too many requests wait for the database. Nothing was changed. Try again.',
    })
  }
  const message = c.get('change')
    ? `The database did not respond in time, so the outcome is unknown. ${nextStep(c)}`
    : 'The database did not respond in time. Nothing was changed. Try again.'
  return new ApiError('service_unavailable', { message })
}

/** Returns the next step for the caller. Only a POST needs an Idempotency-Key: every other method is idempotent. */
function nextStep(c: Context<HonoEnv>): string {
  return c.req.method === 'POST' ? 'Retry with the same Idempotency-Key.' : 'Send the same request again.'
}

function oauthCode(code: keyof typeof ERRORS, status: ContentfulStatusCode): string {
  if (Object.hasOwn(OAUTH_ERRORS, code)) return code
  if (status === 429 || status === 503) return 'temporarily_unavailable'
  return status === 500 ? 'server_error' : 'invalid_request'
}
