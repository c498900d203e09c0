import type * as v from 'valibot'
import type { ErrorCode } from '../../http/errors.ts'
import { IDS } from './examples.ts'
import type { JsonSchema, MediaType, Operation, Parameter, Reference, Response } from './openapi.ts'
import { type Manner, type Refusal, refusal, refusalResponses } from './refusals.ts'

/** What is to be told of a route; what follows from that, `describeOperation` adds. */
export interface Route {
  readonly id: string
  readonly summary: string
  readonly description: string
  /** Who calls: an API key that may read or write, an application with its secret, or anybody. */
  readonly caller: 'read' | 'write' | 'client' | 'anybody'
  /** The name of the query's schema. */
  readonly query?: string
  /** The name of the JSON body's schema. */
  readonly body?: { readonly schema: string; readonly isRequired: boolean }
  /** The name of the form's schema. */
  readonly form?: string
  readonly takesIdempotencyKey?: true
  readonly success: {
    readonly status: 200 | 201 | 204
    readonly description: string
    /** The name of a schema; a page for people where it is `html`. */
    readonly schema?: string
  }
  /** Besides those that follow from all else. */
  readonly refusals?: readonly ErrorCode[]
}

/** The routes of one group, by method and path. */
export interface Group {
  readonly name: string
  readonly description: string
  readonly manner: Manner
  readonly routes: Readonly<Record<`${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`, Route>>
  /** By name: what is read and answered, and to be told of by name. */
  readonly schemas: Readonly<Record<string, v.GenericSchema>>
}

const SECURITY: Record<Route['caller'], Operation['security']> = {
  read: [{ api_key: ['read'] }],
  write: [{ api_key: ['write'] }],
  client: [{ client_secret_basic: [] }, { client_secret_post: [] }],
  anybody: [],
}

/** Refusals that follow from who calls. */
const REFUSALS_TO: Record<Route['caller'], readonly ErrorCode[]> = {
  read: ['unauthorized', 'rate_limit_exceeded', 'service_unavailable', 'internal_error'],
  write: ['unauthorized', 'forbidden', 'rate_limit_exceeded', 'service_unavailable', 'internal_error'],
  client: [
    'invalid_request',
    'invalid_client',
    'payload_too_large',
    'unsupported_media_type',
    'rate_limit_exceeded',
    'service_unavailable',
    'internal_error',
  ],
  anybody: [],
}

/** The operation of a route, with the refusals that it can meet. */
export async function describeOperation(
  { name, manner }: Group,
  path: string,
  route: Route,
  schemas: Readonly<Record<string, JsonSchema>>,
): Promise<{ operation: Operation; refusals: Refusal[] }> {
  const codes: ErrorCode[] = [
    ...REFUSALS_TO[route.caller],
    ...((route.body ? BODY_REFUSALS : []) satisfies ErrorCode[]),
    ...(route.body || route.query ? (['invalid_request_parameters'] as const) : []),
    ...(route.takesIdempotencyKey ? (['invalid_idempotency_key', 'idempotency_key_reused'] as const) : []),
    ...(path.includes('{id}') ? (['entity_not_found'] as const) : []),
    ...(route.refusals ?? []),
  ]
  const refusals = await Promise.all(codes.map((code) => refusal(code, manner)))
  const parameters = [
    ...(path.includes('{id}') ? [pathParameter(path)] : []),
    ...(route.query ? queryParameters(schemas[route.query] ?? {}) : []),
    ...(route.takesIdempotencyKey ? [{ $ref: '#/components/parameters/Idempotency-Key' }] : []),
    { $ref: '#/components/parameters/X-Request-ID' },
  ]
  return {
    operation: {
      operationId: route.id,
      tags: [name],
      summary: route.summary,
      description: route.description,
      security: SECURITY[route.caller],
      parameters,
      ...requestBody(route),
      responses: { [route.success.status]: success(route), ...refusalResponses(refusals) },
    },
    refusals,
  }
}

const BODY_REFUSALS: ErrorCode[] = ['malformed_request', 'payload_too_large', 'unsupported_media_type']

function pathParameter(path: string): Reference {
  return { $ref: `#/components/parameters/${path.includes('/applications/') ? 'application' : 'client_secret'}` }
}

export const parameters: Readonly<Record<string, Parameter>> = {
  application: {
    name: 'id',
    in: 'path',
    required: true,
    description: 'The application’s id, or its client id.',
    schema: { type: 'string' },
    example: IDS.application,
  },
  client_secret: {
    name: 'id',
    in: 'path',
    required: true,
    description: 'The client secret’s id.',
    schema: { type: 'string' },
    example: IDS.secret,
  },
  'Idempotency-Key': {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'Names this request: 1 to 255 visible ASCII characters, best a UUID. Sent again within the hour, with the same key, path and body, it is answered alike, a secret’s plaintext included, and nothing is made twice.',
    schema: { type: 'string' },
    example: '6f1c4a52-0f5e-4e0e-9a8e-0c7a3f2f8d11',
  },
  'X-Request-ID': {
    name: 'X-Request-ID',
    in: 'header',
    description:
      'Your own name for this request, of at most 50 letters, digits, `_`, `-` and `=`. Others are replaced.',
    schema: { type: 'string' },
    example: 'nightly-42',
  },
}

/** Members that the Worker reads from a query’s text, as what they stand for. */
const TYPED: Readonly<Record<string, JsonSchema>> = {
  limit: { type: 'integer', minimum: 1, maximum: 100, default: 10 },
}

function queryParameters({ properties = {}, required = [], examples = [] }: JsonSchema): Parameter[] {
  const example = (examples[0] ?? {}) as Record<string, unknown>
  return Object.entries(properties).map(([name, { description = '', ...schema }]) => ({
    name,
    in: 'query' as const,
    ...(required.includes(name) && schema.type !== 'array' && { required: true }),
    ...(schema.type === 'array' && { style: 'form' as const, explode: false }),
    description,
    schema: TYPED[name] ?? schema,
    ...(name in example && { example: example[name] }),
  }))
}

function requestBody({ body, form }: Route): Pick<Operation, 'requestBody'> {
  if (body) return { requestBody: { required: body.isRequired, content: { 'application/json': media(body.schema) } } }
  if (!form) return {}
  return { requestBody: { required: true, content: { 'application/x-www-form-urlencoded': media(form) } } }
}

function success({ success, takesIdempotencyKey }: Route): Response {
  const headers = ['X-Request-ID', ...(takesIdempotencyKey ? ['Idempotent-Replayed'] : [])]
  const content =
    success.schema === 'html'
      ? { 'text/html': { schema: { type: 'string' } } }
      : success.schema && { 'application/json': media(success.schema) }
  return {
    description: success.description,
    headers: Object.fromEntries(headers.map((header) => [header, { $ref: `#/components/headers/${header}` }])),
    ...(content && { content }),
  }
}

function media(schema: string): MediaType {
  return { schema: { $ref: `#/components/schemas/${schema}` } }
}
