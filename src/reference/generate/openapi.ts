import type {
  Oas3_1Schema,
  Oas3Header,
  Oas3MediaType,
  Oas3Operation,
  Oas3Parameter,
  Oas3Response,
  Oas3SecurityRequirement,
  Oas3SecurityScheme,
  Oas3Tag,
  OasRef,
} from '@redocly/openapi-core'

/** The part of OpenAPI 3.1 that the document uses. The generator always writes the members that are required here. */

export interface JsonSchema extends Oas3_1Schema {
  properties?: Record<string, JsonSchema>
  items?: JsonSchema
  oneOf?: JsonSchema[]
  anyOf?: JsonSchema[]
  not?: JsonSchema
}

export interface Parameter extends Oas3Parameter<JsonSchema> {
  in: 'path' | 'query' | 'header'
  description: string
  schema: JsonSchema
}

export interface MediaType extends Oas3MediaType<JsonSchema> {
  schema: JsonSchema
}

export interface Response extends Oas3Response<JsonSchema> {
  description: string
  content?: Record<string, MediaType>
}

export interface Operation extends Omit<Oas3Operation<JsonSchema>, 'responses'> {
  operationId: string
  tags: [string]
  summary: string
  description: string
  security: Oas3SecurityRequirement[]
  parameters: (Parameter | OasRef)[]
  requestBody?: { required: boolean; content: Record<string, MediaType> }
  responses: Record<string, Response | OasRef>
}

export interface OpenApi {
  openapi: '3.1.1'
  info: { title: string; version: string; description: string; contact: object; license: object }
  servers: { url: string }[]
  tags: Oas3Tag[]
  /** The operations by path, then by method in lower case. */
  paths: Record<string, Record<string, Operation>>
  /** Requests that Oncekey makes, by name, then by method in lower case. */
  webhooks: Record<string, Record<string, Operation>>
  components: {
    securitySchemes: Record<string, Oas3SecurityScheme>
    headers: Record<string, Oas3Header<JsonSchema>>
    parameters: Record<string, Parameter>
    schemas: Record<string, JsonSchema>
    responses: Record<string, Response>
    examples: Record<string, { summary: string; value: unknown }>
  }
}

/** Follows a reference. Returns any other value unchanged. */
export function resolved<T extends object>({ components }: OpenApi, value: T | OasRef): T {
  if (!('$ref' in value)) return value
  const [, , kind = '', name = ''] = value.$ref.split('/')
  return (components as Record<string, Record<string, unknown>>)[kind]?.[name] as T
}

/** The name of the component that a reference points to. */
export function nameOf({ $ref = '' }: { $ref?: string }): string {
  return $ref.split('/').at(-1) ?? ''
}
