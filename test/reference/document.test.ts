import { describe, expect, inject, test } from 'vitest'
import { app } from '../../src/app.ts'
import { webhookRequest } from '../../src/contract/webhooks.ts'
import { type JsonSchema, resolved } from '../../src/reference/generate/openapi.ts'
import type { Event } from '../../src/storage/events.ts'
import { call, newApiKey } from '../api.ts'
import { errorsIn, openApi } from './described.ts'
import { exampleOf, type VendorSchema } from './vendor-examples.ts'

const ORGANIZATION = 'org_01EHZNVPK3SFK441A1RGBFSHRT'

const operations = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
)
const operationOf = (name: string) => {
  const found = operations.find((one) => one.name === name)
  if (!found) throw new Error(`the document does not have ${name}`)
  return found.operation
}

test('the OpenAPI document has every route of the Worker and no other', () => {
  const served = app.routes
    .filter(({ method, path }) => method !== 'ALL' && !path.startsWith('/dashboard'))
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)
  expect(operations.map(({ name }) => name).sort()).toEqual([...new Set(served)].sort())
})

test('every operation of the OpenAPI document has a unique ID', () => {
  const ids = operations.map(({ operation }) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
})

test('the OpenAPI document describes the webhooks that the Worker sends', async () => {
  const operation = openApi.webhooks.event?.post
  const event: Event = {
    id: 'event_01KA3ZB7QX0H5K8N1P4R7T9V2W',
    type: 'signing_key.rotated',
    data: { object: 'signing_key', kid: 'x', algorithm: 'ES256', leaked: false },
    actor: 'operator',
    apiKey: null,
    sessionId: null,
    person: null,
    requestId: null,
    origin: { address: null, country: null, userAgent: null, clientRequestId: null },
    createdAt: 0,
  }
  const { body, headers } = await webhookRequest(event, 'whsec_test', Date.now(), 1_000)
  const sent = Object.entries(headers).filter(([name]) => name === 'WorkOS-Signature')
  const described = (operation?.parameters ?? []).map((one) => resolved(openApi, one))
  expect(sent.map(([name]) => name)).toEqual(described.map(({ name }) => name))
  for (const [i, [, value]] of sent.entries()) expect(errorsIn(described[i]?.schema ?? {}, value)).toEqual([])
  const schema = operation?.requestBody?.content['application/json']?.schema ?? {}
  expect(errorsIn(resolved(openApi, schema), JSON.parse(body))).toEqual([])
})

test('every component of the OpenAPI document is used', () => {
  const { securitySchemes, ...components } = openApi.components
  const text = JSON.stringify(openApi)
  const names = Object.entries(components).flatMap(([kind, all]) => Object.keys(all).map((name) => `${kind}/${name}`))
  expect(names.filter((name) => !text.includes(`"#/components/${name}"`))).toEqual([])
  const schemes = operations.flatMap(({ operation }) => operation.security.flatMap(Object.keys))
  expect([...new Set(schemes)].sort()).toEqual(Object.keys(securitySchemes).sort())
})

test('every member in the OpenAPI document has a description, except those of schemas that a standard describes', () => {
  const standard = ['PublishedKeys', 'ServerMetadata', 'OpenIdConfiguration']
  const undescribed = (path: string, { anyOf = [], oneOf = [], items, properties = {} }: JsonSchema): string[] => [
    ...[...anyOf, ...oneOf, ...(items ? [items] : [])].flatMap((one) => undescribed(path, one)),
    ...Object.entries(properties).flatMap(([name, member]) => [
      ...(member.description ? [] : [`${path}.${name}`]),
      ...undescribed(`${path}.${name}`, member),
    ]),
  ]
  const schemas = Object.entries(openApi.components.schemas).filter(([name]) => !standard.includes(name))
  expect(schemas.flatMap(([name, schema]) => undescribed(name, schema))).toEqual([])
})

test('the OpenAPI document allows OAuth clients to authenticate by HTTP Basic or by form fields', () => {
  for (const name of ['POST /oauth2/token', 'POST /oauth2/introspection']) {
    const { security, requestBody } = operationOf(name)
    expect(security).toEqual([{ client_secret_basic: [] }, {}])
    const schema = requestBody?.content['application/x-www-form-urlencoded']?.schema ?? {}
    expect(Object.keys(resolved(openApi, schema).properties ?? {})).toEqual(
      expect.arrayContaining(['client_id', 'client_secret']),
    )
  }
  expect(Object.values(openApi.components.securitySchemes).map(({ type }) => type)).toEqual(['http', 'http'])
})

test('the OpenAPI document has WWW-Authenticate for every 401, and Retry-After for every 429 and 503', () => {
  const required: Record<string, string> = { 401: 'WWW-Authenticate', 429: 'Retry-After', 503: 'Retry-After' }
  for (const { name, operation } of operations) {
    for (const [status, response] of Object.entries(operation.responses)) {
      const header = required[status]
      if (header) expect(Object.keys(resolved(openApi, response).headers ?? {}), `${name} ${status}`).toContain(header)
    }
  }
})

describe('every example of the OpenAPI document is valid under its schema', () => {
  test.each(Object.entries(openApi.components.schemas))(
    'each example of a schema is valid under this schema: %s',
    (_, schema) => {
      for (const example of schema.examples ?? []) expect(errorsIn(schema, example)).toEqual([])
    },
  )

  test.each(operations)('each example in the operation $name is valid under its schema', ({ operation }) => {
    for (const { schema, example } of operation.parameters.map((one) => resolved(openApi, one))) {
      if (example !== undefined) expect(errorsIn(schema, example)).toEqual([])
    }
    const responses = Object.values(operation.responses).map((one) => resolved(openApi, one))
    for (const { schema, examples = {} } of responses.flatMap((one) => Object.values(one.content ?? {}))) {
      for (const example of Object.values(examples)) {
        expect(errorsIn(schema, resolved(openApi, example).value)).toEqual([])
      }
    }
  })
})

test.each(['Application', 'ClientSecret', 'ListedClientSecret', 'ErrorBody', 'OAuthError'])(
  'the examples of the schema %s together have every member',
  (name) => {
    const schema = openApi.components.schemas[name] ?? {}
    const variants = schema.oneOf ?? [schema]
    const members = variants.flatMap(({ properties = {} }) => Object.keys(properties))
    const shown = (schema.examples ?? []).flatMap((example) => Object.keys(example as object))
    expect([...new Set(shown)].sort()).toEqual([...new Set(members)].sort())
  },
)

/** The conformance tests validate every request that real SDKs send. These are the shapes that only some SDKs send. */
describe('the OpenAPI document accepts the request bodies of SDKs', () => {
  const unknownKeys = { id: 'x', secret: 'x', created_at: '2020-01-01T00:00:00.000Z', extra: { nested: ['value'] } }

  test.each<[string, string, unknown]>([
    ['Node, Python, PHP, .NET and Kotlin', 'POST /connect/applications/{id}/client_secrets', {}],
    ['a client that sends unknown members', 'POST /connect/applications/{id}/client_secrets', unknownKeys],
    [
      'Node, with null for omitted options',
      'POST /connect/applications',
      {
        name: 'Nightly',
        application_type: 'm2m',
        organization_id: ORGANIZATION,
        description: null,
        scopes: null,
      },
    ],
    [
      'Node, with null for omitted options',
      'POST /connect/applications',
      {
        name: 'Console',
        application_type: 'oauth',
        is_first_party: true,
        description: null,
        scopes: null,
        redirect_uris: [{ uri: 'https://app.example/callback', default: null }],
        uses_pkce: null,
        organization_id: null,
      },
    ],
    [
      'Node, with null for omitted options',
      'PUT /connect/applications/{id}',
      {
        name: 'Hourly',
        description: null,
        scopes: null,
        redirect_uris: null,
      },
    ],
    [
      'a client that sends unknown members',
      'PUT /connect/applications/{id}',
      { ...unknownKeys, scopes: [], redirect_uris: [] },
    ],
  ])('the OpenAPI document accepts the request body of %s for %s: %j', (_, name, body) => {
    const schema = operationOf(name).requestBody?.content['application/json']?.schema
    expect(schema && errorsIn(schema, body)).toEqual([])
  })

  test('the OpenAPI document allows creating a secret without a body, as Go, Ruby and curl do', () => {
    expect(operationOf('POST /connect/applications/{id}/client_secrets').requestBody?.required).toBe(false)
  })
})

const vendor = inject('vendorDescription')

test.skipIf(!vendor)('the folder beside this checkout has the vendor’s OpenAPI document', () => {
  expect(Object.keys(vendor?.paths ?? {})).not.toEqual([])
})

describe.skipIf(!vendor)(
  'the OpenAPI document accepts the vendor’s examples, except errors and dynamic registration',
  () => {
    const vendorOperations = Object.entries(vendor?.paths ?? {}).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
    )

    test.each(vendorOperations)(
      'the OpenAPI document accepts the vendor’s examples, except errors and dynamic registration: $name',
      ({ name, operation }) => {
        const { parameters = [], requestBody, responses } = operation as VendorOperation
        const ours = operationOf(name)
        const examples = (schema: VendorSchema) => exampleOf(schema, vendor?.components as VendorSchema)
        for (const parameter of parameters) {
          const described = ours.parameters
            .map((one) => resolved(openApi, one))
            .find((one) => one.name === parameter.name && one.in === parameter.in)
          const { schema } = described ?? {}
          for (const example of examples(parameter.schema)) {
            expect(schema && errorsIn(schema, example), parameter.name).toEqual([])
          }
        }
        const body = requestBody?.content['application/json'].schema
        if (body) expectAccepted(ours.requestBody?.content['application/json']?.schema, examples(body))
        for (const [status, { content }] of Object.entries(responses)) {
          // Error bodies differ from the vendor's, and Oncekey has no dynamic registration.
          if (Number(status) >= 400 || !content) continue
          const given = examples(content['application/json'].schema).filter(
            (example) => !JSON.stringify(example).includes('"was_dynamically_registered":true'),
          )
          const described = ours.responses[status]
          expectAccepted(described && resolved(openApi, described).content?.['application/json']?.schema, given)
        }
      },
    )

    interface VendorOperation {
      readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: VendorSchema }[]
      readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: VendorSchema } } }
      readonly responses: Record<string, { readonly content?: { 'application/json': { schema: VendorSchema } } }>
    }

    function expectAccepted(schema: JsonSchema | undefined, examples: readonly unknown[]): void {
      expect(schema).toBeDefined()
      expect(examples.length).toBeGreaterThan(0)
      if (!schema) return
      for (const example of examples) expect(errorsIn(schema, example), JSON.stringify(example)).toEqual([])
    }
  },
)

test('the Worker accepts exactly the page limits that the OpenAPI document allows', async () => {
  const { apiKey } = await newApiKey()
  for (const path of ['/connect/applications', '/events']) {
    const parameters = operationOf(`GET ${path}`).parameters.map((one) => resolved(openApi, one))
    const limit = parameters.find(({ name }) => name === 'limit')?.schema ?? {}
    for (const value of [-1, 0, 1, 50, 100, 101, 1.5]) {
      const isDescribed = errorsIn(limit, value).length === 0
      const { status } = await call(apiKey, 'GET', `${path}?limit=${value}`)
      expect(status === 200, `${path} ${value}`).toBe(isDescribed)
    }
  }
})
