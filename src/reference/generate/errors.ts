import type { OasRef } from '@redocly/openapi-core'
import { Hono } from 'hono'
import type { HonoEnv } from '../../http/context.ts'
import { ApiError, type ErrorCode, onError, onOAuthError } from '../../http/errors.ts'
import type { Response } from './openapi.ts'

/** The shape of an error body: the management API's, or OAuth's (RFC 6749 §5.2). */
export type ErrorStyle = 'api' | 'oauth'

export interface DescribedError {
  /** The name of its component. */
  readonly name: string
  readonly status: number
  /** The member by which programs tell errors apart: `code`, or `error` in OAuth. */
  readonly code: string
  readonly headers: readonly string[]
  readonly body: {
    readonly message?: string
    readonly code?: string
    readonly error?: string
    readonly error_description?: string
  }
}

const HEADERS = ['Allow', 'Retry-After', 'WWW-Authenticate']

/** Example details, by component name, for errors that always have details. */
const DETAILS: Readonly<Record<string, ConstructorParameters<typeof ApiError>[1]>> = {
  entity_not_found: { entityId: 'conn_app_01KA3Z8G9M0T4XQ2R7V5W6Y1BE' },
  method_not_allowed: { allow: ['GET', 'HEAD', 'POST'] },
  invalid_request_parameters: {
    errors: [{ field: 'name', code: 'name_blank', message: 'name must not be blank.' }],
  },
  oauth_unsupported_media_type: { message: 'Send the body without a Content-Encoding.' },
}

/** Describes an error by its response: the Worker's own error handler makes the status, the headers and the body. */
export async function describeError(code: ErrorCode, style: ErrorStyle): Promise<DescribedError> {
  const name = style === 'oauth' ? `oauth_${code}` : code
  const app = new Hono<HonoEnv>().onError(style === 'oauth' ? onOAuthError : onError)
  app.all('*', () => {
    throw new ApiError(code, DETAILS[name])
  })
  const response = await app.request('/')
  const body = await response.json<DescribedError['body']>()
  return {
    name,
    status: response.status,
    code: body.code ?? body.error ?? '',
    headers: HEADERS.filter((header) => response.headers.has(header)),
    body,
  }
}

/**
 * The error responses of one operation, by status. A status with only one error refers to the component of that error.
 */
export function errorResponses(errors: readonly DescribedError[]): Record<string, Response | OasRef> {
  const byStatus = Object.entries(Object.groupBy(errors, ({ status }) => status))
  return Object.fromEntries(
    byStatus.map(([status, alike = []]) => {
      const [only, ...others] = alike
      if (only && others.length === 0) return [status, { $ref: `#/components/responses/${only.name}` }]
      return [status, errorResponse(alike)]
    }),
  )
}

export function errorResponse(errors: readonly DescribedError[]): Response {
  const [{ name = '', body = {} } = {}, ...others] = errors
  const headers = ['X-Request-ID', ...new Set(errors.flatMap((error) => error.headers))]
  const schema = name.startsWith('oauth_') ? 'OAuthError' : 'ErrorBody'
  const description = others.length === 0 ? (body.message ?? body.error_description ?? '') : 'One of several errors.'
  return {
    description,
    headers: Object.fromEntries(headers.map((header) => [header, { $ref: `#/components/headers/${header}` }])),
    content: {
      'application/json': {
        schema: { $ref: `#/components/schemas/${schema}` },
        examples: Object.fromEntries(errors.map(({ name }) => [name, { $ref: `#/components/examples/${name}` }])),
      },
    },
  }
}
