import { Hono } from 'hono'
import type { HonoEnv } from '../../http/context.ts'
import { ApiError, type ErrorCode, onError } from '../../http/errors.ts'
import type { Reference, Response } from './openapi.ts'

/** Who words a refusal: the management API, or OAuth (RFC 6749 §5.2). */
export type Manner = 'api' | 'oauth'

export interface Refusal {
  /** Its name among the components. */
  readonly name: string
  readonly status: number
  /** As programs read it. */
  readonly code: string
  readonly headers: readonly string[]
  readonly body: {
    readonly message?: string
    readonly code?: string
    readonly error?: string
    readonly error_description?: string
  }
}

const PATH = { api: '/connect/applications', oauth: '/oauth2/token' }
const HEADERS = ['Allow', 'Retry-After', 'WWW-Authenticate']

/** What an error says besides what its table says. */
const DETAILS: Partial<Record<ErrorCode, ConstructorParameters<typeof ApiError>[1]>> = {
  entity_not_found: { entityId: 'conn_app_01KA3Z8G9M0T4XQ2R7V5W6Y1BE' },
  method_not_allowed: { allow: ['GET', 'HEAD', 'POST'] },
  invalid_request_parameters: {
    errors: [{ field: 'name', code: 'name_blank', message: 'name must not be blank.' }],
  },
}

/** A refusal as it is sent: worded by what words it on the wire. */
export async function refusal(code: ErrorCode, manner: Manner): Promise<Refusal> {
  const app = new Hono<HonoEnv>().onError(onError)
  app.all('*', () => {
    throw new ApiError(code, DETAILS[code])
  })
  const response = await app.request(PATH[manner], { headers: { Authorization: 'Basic' } })
  const body = await response.json<Refusal['body']>()
  return {
    name: manner === 'oauth' ? `oauth_${code}` : code,
    status: response.status,
    code: body.code ?? body.error ?? '',
    headers: HEADERS.filter((header) => response.headers.has(header)),
    body,
  }
}

/** The refusals of an operation, by status: by reference where one code alone has the status. */
export function refusalResponses(refusals: readonly Refusal[]): Record<string, Response | Reference> {
  const statuses = [...new Set(refusals.map(({ status }) => status))].sort()
  return Object.fromEntries(
    statuses.map((status) => {
      const alike = refusals.filter((refusal) => refusal.status === status)
      const [first, ...others] = alike
      if (first && others.length === 0) return [status, { $ref: `#/components/responses/${first.name}` }]
      return [status, response(alike)]
    }),
  )
}

export function response(refusals: readonly Refusal[]): Response {
  const isOAuth = refusals.some(({ name }) => name.startsWith('oauth_'))
  const headers = ['X-Request-ID', ...new Set(refusals.flatMap((refusal) => refusal.headers))]
  return {
    description: refusals.length === 1 ? text(refusals) : 'Refused, for one of several reasons.',
    headers: Object.fromEntries(headers.map((header) => [header, { $ref: `#/components/headers/${header}` }])),
    content: {
      'application/json': {
        schema: { $ref: `#/components/schemas/${isOAuth ? 'OAuthError' : 'ErrorBody'}` },
        examples: Object.fromEntries(refusals.map(({ name }) => [name, { $ref: `#/components/examples/${name}` }])),
      },
    },
  }
}

function text(refusals: readonly Refusal[]): string {
  const [refusal] = refusals
  return refusal?.body.message ?? refusal?.body.error_description ?? ''
}
