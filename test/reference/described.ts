import document from '../../src/pages/assets/generated/openapi.json'
import { type OpenApi, type Operation, resolved } from '../../src/reference/generate/openapi.ts'
import { demand } from '../demand.ts'
import { jsonSchemas } from '../json-schemas.ts'

/** Compares requests and responses with the OpenAPI document. */
export const openApi = document as unknown as OpenApi

/** Paths with fewer parameters come first, so that `/client_secrets/verify` does not match `/client_secrets/{id}`. */
const routes = Object.entries(openApi.paths)
  .sort(([a], [b]) => a.split('{').length - b.split('{').length)
  .map(([path, methods]) => ({ path, pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`), methods }))

function operationOf(method: string, path: string): { name: string; operation: Operation } | undefined {
  // The Worker decodes a path before it routes it. An encoded slash in an ID stays in its segment.
  const plain = path.replace(/%(?!2f)[0-7][0-9a-f]/gi, decodeURIComponent)
  const route = routes.find(({ pattern, methods }) => pattern.test(plain) && methods[method.toLowerCase()])
  const operation = route?.methods[method.toLowerCase()]
  return route && operation && { name: `${method} ${route.path}`, operation }
}

/** The errors of a value under a schema of the document. */
export const errorsIn = jsonSchemas(openApi.components)

/** Fails if the document does not describe a response: its call, its status, its headers or its body. */
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
    demand(status === 404 || status === 405, 'the document does not have this call', what)
    return
  }
  const described = found.operation.responses[status]
  if (!described) throw new Error(`${what}: the document does not have this status`)
  const { content, headers: named = {} } = resolved(openApi, described)
  for (const name of ['Retry-After', 'WWW-Authenticate', 'Idempotent-Replayed', 'Allow'])
    demand(!headers.has(name) || Object.hasOwn(named, name), `the document does not have ${name}`, what)
  const isTimed = headers.has('Server-Timing')
  demand(status >= 300 || isTimed === Object.hasOwn(named, 'Server-Timing'), `Server-Timing is there: ${isTimed}`, what)
  checkSchema(content?.['application/json']?.schema, body, what)
}

/** Fails if the Worker accepted a body that the document does not. */
export function checkDescribedRequest(method: string, path: string, contentType: string, text: string): void {
  const found = operationOf(method, path)
  if (!found?.operation.requestBody) return
  const { required, content } = found.operation.requestBody
  if (text === '') {
    demand(required === false, 'accepted an empty body', found.name)
    return
  }
  const [mediaType = ''] = contentType.toLowerCase().split(';')
  const schema = content[mediaType.trim()]?.schema
  demand(schema !== undefined, `accepted ${contentType}`, found.name)
  const isJson = mediaType.startsWith('application/json')
  const value = isJson ? JSON.parse(text) : Object.fromEntries(new URLSearchParams(text))
  checkSchema(schema, value, `${found.name} accepted ${text}`)
}

function checkSchema(schema: object | undefined, value: unknown, what: string): void {
  const errors = schema ? errorsIn(schema, value) : []
  demand(errors.length === 0, `differs from the document: ${JSON.stringify(errors)}`, what)
}
