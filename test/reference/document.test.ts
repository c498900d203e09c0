import { describe, expect, inject, test } from 'vitest'
import { app } from '../../src/app.ts'
import type { JsonSchema, MediaType, Parameter, Response } from '../../src/reference/generate/openapi.ts'
import { nameOf, resolved } from '../../src/reference/generate/resolved.ts'
import { call, newApiKey } from '../api.ts'
import { errorsIn, openApi } from './described.ts'
import { exampleOf, type VendorSchema } from './vendor-examples.ts'

const ORGANIZATION = 'org_01EHZNVPK3SFK441A1RGBFSHRT'

const operations = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
)
const operationOf = (name: string) => {
  const found = operations.find((one) => one.name === name)
  if (!found) throw new Error(`the document has no ${name}`)
  return found.operation
}

test('every route of the Worker is in the document, and nothing else', () => {
  const served = app.routes
    .filter(({ method, path }) => method !== 'ALL' && !path.startsWith('/dashboard'))
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)
  expect(operations.map(({ name }) => name).sort()).toEqual([...new Set(served)].sort())
})

test('every operation has a name of its own', () => {
  const ids = operations.map(({ operation }) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
})

describe('every example is what it is an example of', () => {
  test.each(Object.entries(openApi.components.schemas))('%s', (name, schema) => {
    for (const example of schema.examples ?? []) expect(errorsIn(name, schema, example)).toEqual([])
  })

  test.each(operations)('$name', ({ operation }) => {
    for (const parameter of (operation.parameters ?? []).map((one) => resolved<Parameter>(openApi, one))) {
      const { name, schema, example } = parameter
      if (example !== undefined) expect(errorsIn(`${name} ${JSON.stringify(schema)}`, schema, example)).toEqual([])
    }
    const responses = Object.values(operation.responses).map((one) => resolved<Response>(openApi, one))
    const media = [operation.requestBody, ...responses].flatMap((one) => Object.values(one?.content ?? {}))
    for (const { schema, examples = {} } of media as MediaType[]) {
      for (const example of Object.values(examples)) {
        const { value } = resolved<{ value: unknown }>(openApi, example)
        expect(errorsIn(nameOf(schema), schema, value)).toEqual([])
      }
    }
  })
})

/** contract.md, "What real SDKs send"; the conformance tests send the rest, and are checked as they do. */
describe('the document accepts what SDKs send', () => {
  const unknownKeys = { id: 'x', secret: 'x', created_at: '2020-01-01T00:00:00.000Z', what: { is: ['this'] } }

  test.each<[string, string, unknown]>([
    ['Node, Python, PHP, .NET, Kotlin', 'POST /connect/applications/{id}/client_secrets', {}],
    ['integrators', 'POST /connect/applications/{id}/client_secrets', unknownKeys],
    [
      'Node, with null for every option left out',
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
      'Node, with null for every option left out',
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
      'Node, with null for every option left out',
      'PUT /connect/applications/{id}',
      {
        name: 'Hourly',
        description: null,
        scopes: null,
        redirect_uris: null,
      },
    ],
    ['integrators', 'PUT /connect/applications/{id}', { ...unknownKeys, scopes: [], redirect_uris: [] }],
  ])('%s: %s %j', (_, name, body) => {
    const schema = operationOf(name).requestBody?.content['application/json']?.schema
    expect(schema && errorsIn(nameOf(schema), schema, body)).toEqual([])
  })

  test('Go, Ruby and curl: no body where one is not needed', () => {
    expect(operationOf('POST /connect/applications/{id}/client_secrets').requestBody?.required).toBe(false)
  })
})

const vendor = inject('vendorDescription')

describe.runIf(vendor)('the document accepts every example in the vendor’s', () => {
  const vendorOperations = Object.entries(vendor?.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
  )

  test.each(vendorOperations)('$name', ({ name, operation }) => {
    const { parameters = [], requestBody, responses } = operation as VendorOperation
    const ours = operationOf(name)
    const examples = (schema: VendorSchema) => exampleOf(schema, vendor?.components as VendorSchema)
    for (const parameter of parameters) {
      const described = (ours.parameters ?? [])
        .map((one) => resolved<Parameter>(openApi, one))
        .find((one) => one.name === parameter.name && one.in === parameter.in)
      const { schema } = described ?? {}
      for (const example of examples(parameter.schema)) {
        expect(schema && errorsIn(JSON.stringify(schema), schema, example), parameter.name).toEqual([])
      }
    }
    const body = requestBody?.content['application/json'].schema
    // Of its members' examples one does not go with another: a first-party application belongs to no organization.
    const bodies = body ? examples(body).map((one) => withoutOrganization(one as Record<string, unknown>)) : []
    if (body) expectAccepted(ours.requestBody?.content['application/json']?.schema, bodies)
    for (const [status, { content }] of Object.entries(responses)) {
      // What a refusal of the vendor's says is not ours to say; nothing here is registered dynamically.
      if (Number(status) >= 400 || !content) continue
      const given = examples(content['application/json'].schema).filter(
        (example) => !JSON.stringify(example).includes('"was_dynamically_registered":true'),
      )
      const described = resolved<Response>(openApi, ours.responses[status] ?? {})
      expectAccepted(described.content?.['application/json']?.schema, given)
    }
  })

  interface VendorOperation {
    readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: VendorSchema }[]
    readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: VendorSchema } } }
    readonly responses: Record<string, { readonly content?: { 'application/json': { schema: VendorSchema } } }>
  }

  function withoutOrganization({ organization_id, ...others }: Record<string, unknown>): object {
    return others.is_first_party === true || organization_id === undefined ? others : { ...others, organization_id }
  }

  function expectAccepted(schema: JsonSchema | undefined, examples: readonly unknown[]): void {
    expect(schema).toBeDefined()
    expect(examples.length).toBeGreaterThan(0)
    if (!schema) return
    for (const example of examples)
      expect(errorsIn(nameOf(schema), schema, example), JSON.stringify(example)).toEqual([])
  }
})

test('what a page’s limit may be is what the Worker takes', async () => {
  const { apiKey } = await newApiKey()
  for (const path of ['/connect/applications', '/events']) {
    const limit =
      (operationOf(`GET ${path}`).parameters as Parameter[]).find(({ name }) => name === 'limit')?.schema ?? {}
    for (const value of [-1, 0, 1, 50, 100, 101, 1.5]) {
      const isDescribed = errorsIn('limit', limit, value).length === 0
      const { status } = await call(apiKey, 'GET', `${path}?limit=${value}`)
      expect(status === 200, `${path} ${value}`).toBe(isDescribed)
    }
  }
})
