import type { ErrorHandler, NotFoundHandler } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { StorageUnavailable } from '../storage/database.ts'
import type { Outcome } from '../storage/statements.ts'
import type { HonoEnv } from './context.ts'
import { logError } from './log.ts'

/** Every refusal of the management API: its status and its words, which say what to do next. */
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
  client_secret_limit_reached: [
    422,
    'The application has as many live client secrets as it may have. Revoke one before you create another.',
  ],
  internal_error: [500, 'Something went wrong here. The request id leads to the reason in the log.'],
  service_unavailable: [503, 'Storage did not answer in time. Nothing more will come of this request; send it again.'],
} as const satisfies Record<string, readonly [ContentfulStatusCode, string]>

export type ErrorCode = keyof typeof ERRORS

/** What is wrong with one parameter. */
export interface InvalidParameter {
  readonly field: string
  readonly code: string
  readonly message: string
}

interface ErrorDetails {
  readonly entityId?: string
  readonly errors?: readonly InvalidParameter[]
  readonly allow?: readonly string[]
}

/** How much of an id that leads nowhere is repeated to the caller, in characters. */
const ENTITY_ID_LENGTH = 100
const RETRY_AFTER_SECONDS = 1

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

/** What storage granted; what it refused is thrown. `entityId` is the id that the caller asked for. */
export function granted<T>(outcome: Outcome<T, ErrorCode>, entityId?: string): T {
  if ('granted' in outcome) return outcome.granted
  throw new ApiError(outcome.refused, entityId === undefined ? {} : { entityId })
}

/** Words every error: the one place that writes an error body. */
export const onError: ErrorHandler<HonoEnv> = (error, c) => {
  const { code, details } = asApiError(error)
  if (!(error instanceof ApiError)) logError(c, code, error)
  const [status, words] = ERRORS[code]
  if (code === 'unauthorized') c.header('WWW-Authenticate', 'Bearer')
  if (status === 503) c.header('Retry-After', String(RETRY_AFTER_SECONDS))
  if (details.allow) c.header('Allow', details.allow.join(', '))
  const message =
    error instanceof StorageUnavailable && error.notMigrated
      ? 'The database has no tables yet, or old ones. Whoever runs this: `npm run migrate`.'
      : words
  return c.json(
    {
      message,
      code,
      ...(code === 'entity_not_found' && { entity_id: details.entityId?.slice(0, ENTITY_ID_LENGTH) }),
      ...(details.errors && { errors: details.errors }),
    },
    status,
  )
}

export const notFound: NotFoundHandler<HonoEnv> = (c) => onError(new ApiError('not_found'), c)

function asApiError(error: Error): ApiError {
  if (error instanceof ApiError) return error
  return new ApiError(error instanceof StorageUnavailable ? 'service_unavailable' : 'internal_error')
}
