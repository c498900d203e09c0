import { ORIGIN } from '../../origin.ts'
import { pretty } from '../code.ts'
import { type JsonSchema, type OpenApi, type Operation, type Parameter, resolved } from '../openapi.ts'

/** The request that all samples of a call make. Its texts may contain variables: see `partsOf`. */
export interface SampleRequest {
  readonly method: string
  readonly url: string
  readonly authentication: 'api_key' | 'client' | null
  readonly json?: unknown
  readonly form?: Readonly<Record<string, string>>
  /** True if the success response has a body. */
  readonly hasResponseBody: boolean
}

/**
 * The sample request of an operation, from the example of its body. It has the optional members of a JSON body, but no
 * optional form fields.
 */
export function sampleRequest(document: OpenApi, method: string, path: string, operation: Operation): SampleRequest {
  const content = operation.requestBody?.content
  const json = content?.['application/json'] && exampleOf(document, content['application/json'].schema)
  const form = content?.['application/x-www-form-urlencoded']
  const [scheme = ''] = Object.keys(operation.security[0] ?? {})
  const [status = ''] = Object.keys(operation.responses)
  return {
    method,
    url: url(document, path, operation),
    authentication: scheme === 'api_key' ? scheme : scheme === '' ? null : 'client',
    ...(json !== undefined && { json }),
    ...(form && { form: requiredFields(document, form.schema) }),
    hasResponseBody: status !== '204',
  }
}

function url(document: OpenApi, path: string, { parameters }: Operation): string {
  const all = parameters.map((parameter) => resolved<Parameter>(document, parameter))
  const filled = all.reduce((text, { name, example }) => text.replace(`{${name}}`, String(example)), path)
  const query = all.filter((parameter) => parameter.in === 'query' && parameter.required)
  const search = query.map(({ name, example }) => `${name}=${example}`).join('&')
  return `${ORIGIN}${filled}${search && `?${search}`}`
}

function requiredFields(document: OpenApi, schema: JsonSchema): Record<string, string> {
  const { required = [] } = resolved<JsonSchema>(document, schema)
  const example = exampleOf(document, schema) as Record<string, string>
  return Object.fromEntries(required.map((name) => [name, `${example[name]}`]))
}

export function exampleOf(document: OpenApi, schema: JsonSchema): unknown {
  return resolved<JsonSchema>(document, schema).examples?.[0]
}

/** The maximum length of JSON on one line. */
const MAX_JSON_LENGTH = 60

/**
 * The environment variables that the page asks the reader to set, each with the pattern of the examples that it
 * replaces.
 */
const VARIABLES: readonly [name: string, example: RegExp][] = [
  ['APPLICATION_ID', /\bconn_app_0\w+/g],
  ['CLIENT_ID', /\bclient_0\w+/g],
  ['SECRET_ID', /\bsecret_0\w+/g],
  ['CLIENT_SECRET', /\bcs_0\w+/g],
  ['ACCESS_TOKEN', /\beyJ[\w.-]+/g],
]

export type Part = { readonly text: string } | { readonly variable: string }

/** Splits a text into plain parts and variables. A variable replaces each match of its pattern. */
export function partsOf(text: string): Part[] {
  const marked = VARIABLES.reduce((before, [name, example]) => before.replace(example, `\0${name}\0`), text)
  return marked.split('\0').flatMap((part, i): Part[] => {
    if (i % 2) return [{ variable: part }]
    return part === '' ? [] : [{ text: part }]
  })
}

/** JSON as text. A long object has one line per member, each of which begins with `indent`. */
export function jsonText(value: unknown, indent = ''): string {
  const line = JSON.stringify(value)
  return line.length <= MAX_JSON_LENGTH ? line : pretty(value).replaceAll('\n', `\n${indent}`)
}
