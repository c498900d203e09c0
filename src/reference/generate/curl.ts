import { ORIGIN } from '../origin.ts'
import { type JsonSchema, type OpenApi, type Operation, type Parameter, resolved } from './openapi.ts'

/** The shell variables that the page asks its reader to set, by the pattern of the examples that they replace. */
const VARIABLES: readonly [RegExp, string][] = [
  [/\bconn_app_0\w+/g, '$APPLICATION_ID'],
  [/\bclient_0\w+/g, '$CLIENT_ID'],
  [/\bsecret_0\w+/g, '$SECRET_ID'],
  [/\bcs_0\w+/g, '$CLIENT_SECRET'],
  [/\beyJ[\w.-]+/g, '$ACCESS_TOKEN'],
]

/** A shell command that makes the call. Optional JSON members follow the example; optional form fields are omitted. */
export function curl(document: OpenApi, method: string, path: string, operation: Operation): string {
  const [scheme = ''] = Object.keys(operation.security[0] ?? {})
  const content = operation.requestBody?.content
  const json = content?.['application/json'] && exampleOf(document, content['application/json'].schema)
  const form = content?.['application/x-www-form-urlencoded']
  const options = [
    ...(scheme === 'api_key' ? [`-H "Authorization: Bearer $API_KEY"`] : []),
    ...(scheme === 'client_secret_basic' ? [`-u "$CLIENT_ID:$CLIENT_SECRET"`] : []),
    ...(json ? [`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(json))}`] : []),
    ...(form ? formFields(document, form.schema).map((field) => `-d ${quoted(field)}`) : []),
  ]
  const hasOwnMethod = method === 'GET' || (method === 'POST' && content !== undefined)
  const command = ['curl', ...(hasOwnMethod ? [] : [`-X ${method}`]), quoted(url(document, path, operation))]
  return [command.join(' '), ...options].join(' \\\n  ')
}

function url(document: OpenApi, path: string, { parameters }: Operation): string {
  const all = parameters.map((parameter) => resolved<Parameter>(document, parameter))
  const filled = all.reduce((text, { name, example }) => text.replace(`{${name}}`, String(example)), path)
  const query = all.filter((parameter) => parameter.in === 'query' && parameter.required)
  const search = query.map(({ name, example }) => `${name}=${example}`).join('&')
  return `${ORIGIN}${filled}${search && `?${search}`}`
}

function formFields(document: OpenApi, schema: JsonSchema): string[] {
  const { required = [] } = resolved<JsonSchema>(document, schema)
  const example = exampleOf(document, schema) as Record<string, string>
  return required.map((name) => `${name}=${example[name]}`)
}

export function exampleOf(document: OpenApi, schema: JsonSchema): unknown {
  return resolved<JsonSchema>(document, schema).examples?.[0]
}

/** Quotes one shell word. Double quotes, so that the shell expands variables, only where there are any. */
function quoted(text: string): string {
  const withVariables = VARIABLES.reduce((before, [example, name]) => before.replace(example, () => name), text)
  if (withVariables !== text) return `"${withVariables.replace(/["\\`]/g, '\\$&')}"`
  return /^[\w:/.=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
