import { Validator } from '@cfworker/json-schema'
import { expect } from 'vitest'
import document from '../../src/pages/assets/generated/openapi.json'
import type { JsonSchema, OpenApi, Operation, Response } from '../../src/reference/generate/openapi.ts'
import { nameOf, resolved } from '../../src/reference/generate/resolved.ts'

/** What our own OpenAPI document says, held against what goes over the wire. */
export const openApi = document as unknown as OpenApi

/** Paths with fewer parameters come first: `/client_secrets/verify` is no id. */
const routes = Object.entries(openApi.paths)
  .sort(([a], [b]) => a.split('{').length - b.split('{').length)
  .map(([path, methods]) => ({ path, pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`), methods }))

function operationOf(method: string, path: string): { name: string; operation: Operation } | undefined {
  // A path is served as what it resolves to; what is percent-encoded in an id stays one segment.
  const plain = path.replace(/%(?!2f)[0-7][0-9a-f]/gi, decodeURIComponent)
  const route = routes.find(({ pattern, methods }) => pattern.test(plain) && methods[method.toLowerCase()])
  const operation = route?.methods[method.toLowerCase()]
  return route && operation && { name: `${method} ${route.path}`, operation }
}

const validators = new Map<string, Validator>()

/** What is wrong with a value, by a schema of the document; `name` is the schema's for good. */
export function errorsIn(name: string, schema: JsonSchema, value: unknown) {
  let validator = validators.get(name)
  if (!validator) {
    validator = new Validator({ ...schema, components: openApi.components } as object, '2020-12', false)
    validators.set(name, validator)
  }
  return validator.validate(value).errors
}

/** Throws at a response that the document has not: its call, its status, its headers or its body. */
export function checkDescribedResponse(
  method: string,
  path: string,
  response: globalThis.Response,
  body: unknown,
): void {
  const { status, headers } = response
  const what = `${method} ${path} → ${status} ${JSON.stringify(body)}`
  const found = operationOf(method, path)
  if (!found) {
    expect([404, 405], `${what}: the document has no such call`).toContain(status)
    return
  }
  const described = found.operation.responses[status]
  expect(described, `${what}: the document has no such answer`).toBeDefined()
  const { content, headers: named = {} } = resolved<Response>(openApi, described ?? {})
  for (const name of ['Retry-After', 'WWW-Authenticate', 'Idempotent-Replayed', 'Allow']) {
    if (headers.has(name)) expect(Object.keys(named), what).toContain(name)
  }
  const schema = content?.['application/json']?.schema
  if (schema) expect(errorsIn(nameOf(schema), schema, body), what).toEqual([])
}

/** Throws at a body that the Worker took and the document does not. */
export function checkDescribedRequest(method: string, path: string, contentType: string, text: string): void {
  const found = operationOf(method, path)
  if (!found?.operation.requestBody) return
  const { required, content } = found.operation.requestBody
  if (text === '') {
    expect(required, `${found.name} was taken without a body`).toBe(false)
    return
  }
  const [mediaType = ''] = contentType.toLowerCase().split(';')
  const schema = content[mediaType.trim()]?.schema
  expect(schema, `${found.name} was taken as ${contentType}`).toBeDefined()
  const value = mediaType.startsWith('application/json')
    ? JSON.parse(text)
    : Object.fromEntries(new URLSearchParams(text))
  if (schema) expect(errorsIn(nameOf(schema), schema, value), `${found.name} took ${text}`).toEqual([])
}
