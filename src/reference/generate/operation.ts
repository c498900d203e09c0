import type { OasRef } from '@redocly/openapi-core'
import type * as v from 'valibot'
import type { ErrorCode } from '../../http/errors.ts'
import { isChanging, type Need, permissionsFor } from '../../storage/caller.ts'
import { type DescribedError, describeError, type ErrorStyle, errorResponses } from './errors.ts'
import { IDS } from './examples.ts'
import { words } from './member-descriptions.ts'
import type { JsonSchema, MediaType, Operation, Parameter, Response } from './openapi.ts'

/** The facts about a route. `describeOperation` adds everything that follows from them. */
export interface Route {
  readonly id: string
  readonly summary: string
  readonly description: string
  /** The caller: an API key with this right, an application with its client secret, or a caller without credentials. */
  readonly caller: Need | 'client' | 'public'
  /** The name of the query's schema. */
  readonly query?: string
  /** The name of the JSON body's schema. */
  readonly body?: { readonly schema: string; readonly isRequired: boolean }
  /** The name of the form's schema. */
  readonly form?: string
  readonly takesIdempotencyKey?: true
  readonly success: {
    readonly status: 200 | 201 | 202 | 204
    readonly description: string
    /** The name of a schema, or a key of `TEXTS` for a response without a schema. */
    readonly schema?: string
  }
  /** Errors in addition to those that follow from the other members. */
  readonly errors?: readonly ErrorCode[]
}

/** The routes of one group, by method and path. */
export interface Group {
  readonly name: string
  readonly description: string
  readonly errorStyle: ErrorStyle
  readonly routes: Readonly<Record<`${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`, Route>>
  /** The schemas that become components, by name. */
  readonly schemas: Readonly<Record<string, v.GenericSchema>>
}

/** Returns the security requirements of a route. A caller needs to meet only one of them. */
function securityOf(caller: Route['caller']): Operation['security'] {
  if (caller === 'public') return []
  // The empty requirement means client_secret_post: its credentials are form fields, for which OpenAPI has no scheme.
  if (caller === 'client') return [{ client_secret_basic: [] }, {}]
  return [isChanging(caller) ? 'write' : 'read', ...permissionsFor(caller)].map((role) => ({ api_key: [role] }))
}

const KEY_ERRORS: readonly ErrorCode[] = [
  'unauthorized',
  'forbidden',
  'https_required',
  'rate_limit_exceeded',
  'service_unavailable',
  'internal_error',
]

const OTHER_ERRORS: Readonly<Record<'client' | 'public', readonly ErrorCode[]>> = {
  client: [
    'invalid_request',
    'invalid_client',
    'https_required',
    'payload_too_large',
    'unsupported_media_type',
    'rate_limit_exceeded',
    'service_unavailable',
    'internal_error',
  ],
  public: ['internal_error'],
}

const BODY_ERRORS: readonly ErrorCode[] = ['malformed_request', 'payload_too_large', 'unsupported_media_type']

/** The 4xx errors of a public route. They have no common body, because Cloudflare itself sends some of them. */
const PUBLIC_ERROR = { description: 'The request used plain http, or Cloudflare refused it before it reached Oncekey.' }

/** Describes the operation of a route, and the errors that it can return. */
export async function describeOperation(
  { name, errorStyle }: Group,
  path: string,
  route: Route,
  schemas: Readonly<Record<string, JsonSchema>>,
): Promise<{ operation: Operation; errors: DescribedError[] }> {
  const codes: ErrorCode[] = [
    ...(route.caller === 'client' || route.caller === 'public' ? OTHER_ERRORS[route.caller] : KEY_ERRORS),
    ...(route.body ? BODY_ERRORS : []),
    ...(route.body || route.query ? (['invalid_request_parameters'] as const) : []),
    ...(route.takesIdempotencyKey ? (['invalid_idempotency_key', 'idempotency_key_reused'] as const) : []),
    ...(path.includes('{id}') ? (['entity_not_found'] as const) : []),
    ...(route.errors ?? []),
  ]
  const errors = await Promise.all(codes.map((code) => describeError(code, errorStyle)))
  const operation: Operation = {
    operationId: route.id,
    tags: [name],
    summary: route.summary,
    description: route.description,
    security: securityOf(route.caller),
    parameters: [
      ...(/\{(client_)?id\}/.test(path) ? [pathParameter(path)] : []),
      ...(route.query ? queryParameters(schemas[route.query] ?? {}) : []),
      ...(route.takesIdempotencyKey ? [{ $ref: '#/components/parameters/Idempotency-Key' }] : []),
      { $ref: '#/components/parameters/X-Request-ID' },
    ],
    ...requestBody(route),
    responses: {
      [route.success.status]: success(route),
      ...errorResponses(errors),
      ...(route.caller === 'public' && { '4XX': PUBLIC_ERROR }),
    },
  }
  return { operation, errors }
}

function pathParameter(path: string): OasRef {
  if (path.includes('{client_id}')) return { $ref: '#/components/parameters/client' }
  return { $ref: `#/components/parameters/${path.includes('/applications/') ? 'application' : 'client_secret'}` }
}

export const parameters: Record<string, Parameter> = {
  application: {
    name: 'id',
    in: 'path',
    required: true,
    description: 'The application’s ID or its client ID.',
    schema: { type: 'string' },
    example: IDS.application,
  },
  client_secret: {
    name: 'id',
    in: 'path',
    required: true,
    description: 'The client secret’s ID.',
    schema: { type: 'string' },
    example: IDS.secret,
  },
  client: {
    name: 'client_id',
    in: 'path',
    required: true,
    description: 'Any client ID: every client has the same keys.',
    schema: { type: 'string' },
    example: IDS.client,
  },
  'Idempotency-Key': {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'Makes a retry safe: 1 to 255 visible ASCII characters, preferably a UUID. The same request with the same key returns the same response for an hour, with the plaintext of a secret, and creates nothing twice.',
    schema: { type: 'string' },
    example: '6f1c4a52-0f5e-4e0e-9a8e-0c7a3f2f8d11',
  },
  'X-Request-ID': {
    name: 'X-Request-ID',
    in: 'header',
    description:
      'Your ID for this request: at most 50 letters, digits, and `_ - = . :`. The log has it beside the ID of the response, which is always Oncekey’s own.',
    schema: { type: 'string' },
    example: 'nightly-42',
  },
}

/** Query parameters that arrive as text and are parsed, with the types of their values. */
const TYPED: Readonly<Record<string, JsonSchema>> = {
  limit: { type: 'integer', minimum: 1, maximum: 100, default: 10 },
}

function queryParameters({ properties = {}, required = [], examples = [] }: JsonSchema): Parameter[] {
  const example = (examples[0] ?? {}) as Record<string, unknown>
  return Object.entries(properties).map(([name, { description = '', ...schema }]) => ({
    name,
    in: 'query',
    ...(required.includes(name) && schema.type !== 'array' && { required: true }),
    ...(schema.type === 'array' && { style: 'form', explode: false }),
    // The typed schema has the rules, so the description need not repeat them.
    description: TYPED[name] ? words(name) : description,
    schema: TYPED[name] ?? schema,
    ...(Object.hasOwn(example, name) && { example: example[name] }),
  }))
}

function requestBody({ body, form }: Route): Pick<Operation, 'requestBody'> {
  if (body) return { requestBody: { required: body.isRequired, content: { 'application/json': media(body.schema) } } }
  if (!form) return {}
  return { requestBody: { required: true, content: { 'application/x-www-form-urlencoded': media(form) } } }
}

/** The media types of success responses that are texts without a schema. */
const TEXTS: Readonly<Record<string, string>> = {
  html: 'text/html',
  markdown: 'text/markdown',
  text: 'text/plain',
}

function success({ success, takesIdempotencyKey, caller }: Route): Response {
  const headers = [
    'X-Request-ID',
    ...(caller !== 'public' ? ['Server-Timing'] : []),
    ...(takesIdempotencyKey ? ['Idempotent-Replayed'] : []),
  ]
  const { schema } = success
  const mediaType = schema && TEXTS[schema]
  const content: Response['content'] = mediaType
    ? { [mediaType]: { schema: { type: 'string' } } }
    : schema
      ? { 'application/json': media(schema) }
      : undefined
  return {
    description: success.description,
    headers: Object.fromEntries(headers.map((header) => [header, { $ref: `#/components/headers/${header}` }])),
    ...(content && { content }),
  }
}

function media(schema: string): MediaType {
  return { schema: { $ref: `#/components/schemas/${schema}` } }
}
