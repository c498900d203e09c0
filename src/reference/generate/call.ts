import type { OasRef } from '@redocly/openapi-core'
import { html } from 'hono/html'
import { codeBlock, pretty, type Tab, tabs } from './code.ts'
import type { DescribedError } from './errors.ts'
import { type Html, members, parameterMembers, text } from './members.ts'
import {
  type JsonSchema,
  nameOf,
  type OpenApi,
  type Operation,
  type Parameter,
  type Response,
  resolved,
} from './openapi.ts'
import { LANGUAGES, sdkCall } from './samples/languages.ts'
import { exampleOf, sampleRequest } from './samples/request.ts'
import { objectNames, shortened, typeOf } from './shape.ts'

export interface Call {
  readonly method: string
  readonly path: string
  readonly operation: Operation
  /** The position of the call in the document. */
  readonly number: number
}

/** The section of a call: its description and parameters, and beside them its samples and responses. */
export function callArticle(document: OpenApi, errors: readonly DescribedError[], call: Call): Html {
  const { method, path, operation } = call
  const { operationId, summary, description } = operation
  return html`<article id="${operationId}">
<div class="about">
<h3><a href="#${operationId}">${summary}</a></h3>
<p class="route">${badge(method)} <code>${path}</code></p>
<p>${text(description)}</p>
<p class="quiet small">${callerOf(operation)}</p>
${parameterParts(document, operation).map(
  ({ title, parameters, schema }) =>
    html`<h4>${title}</h4>${parameters ? parameterMembers(parameters) : members(schema, 'request')}`,
)}
${returned(document, operation)}
</div>
<div class="example">
${samples(document, call)}
${responses(document, errors, call)}
</div>
</article>`
}

export function badge(method: string): Html {
  return html`<b class="method ${method.toLowerCase()}">${method}</b>`
}

export function callerOf({ security }: Operation): string {
  const [[scheme, roles] = []] = Object.entries(security[0] ?? {})
  if (scheme === 'api_key') {
    const permissions = security.slice(1).flatMap(({ api_key = [] }) => api_key)
    const or = permissions.length > 0 ? `, or with the permission ${permissions.join(' or ')}` : ''
    return `Needs an API key with ${roles?.join()} access${or}.`
  }
  return scheme ? 'Needs a client ID and a client secret.' : 'Needs no authentication.'
}

type ParameterPart = { readonly title: string } & (
  | { readonly parameters: readonly Parameter[]; readonly schema?: never }
  | { readonly parameters?: never; readonly schema: JsonSchema }
)

/**
 * The parameters of a call, grouped by where they are sent. X-Request-ID is not among them: every call takes it, and
 * another section describes it.
 */
export function parameterParts(document: OpenApi, { parameters, requestBody }: Operation): ParameterPart[] {
  const all = parameters.map((parameter) => resolved<Parameter>(document, parameter))
  const [media] = Object.values(requestBody?.content ?? {})
  const inPlaces = (['path', 'query', 'header'] as const).map((place) => ({
    title: { path: 'Path', query: 'Query', header: 'Headers' }[place],
    parameters: all.filter((parameter) => parameter.in === place && parameter.name !== 'X-Request-ID'),
  }))
  return [
    ...inPlaces.filter(({ parameters }) => parameters.length > 0),
    ...(media ? [{ title: 'Body', schema: resolved<JsonSchema>(document, media.schema) }] : []),
  ]
}

/** The members of the success response, unless the object has its own section. */
function returned(document: OpenApi, operation: Operation): Html {
  const { description, schema } = successOf(document, operation)
  const isObject = objectNames(document).includes(nameOf(schema ?? {}))
  return html`<h4>Returns</h4>
<p>${text(description)}${schema && isObject ? html` See ${text(typeOf(schema))}.` : ''}</p>
${schema && !isObject ? members(shortened(document, resolved(document, schema)), 'response') : ''}`
}

export function successOf(document: OpenApi, { responses }: Operation) {
  const [[status = '', response] = []] = Object.entries(responses)
  const { description = '', content } = response ? resolved<Response>(document, response) : {}
  return { status, description, schema: content?.['application/json']?.schema }
}

function samples(document: OpenApi, { method, path, operation, number }: Call): Html {
  const request = sampleRequest(document, method, path, operation)
  return tabs(
    `l-${number}`,
    'Language',
    LANGUAGES.map((language): Tab => {
      const call = sdkCall(operation.operationId, language)
      return {
        value: language.id,
        label: language.name,
        content: html`${codeBlock(language.sample(request, operation.operationId).trimEnd(), language.id)}${
          call ? html`<p class="sdk">With <a href="#sdks">WorkOS’s SDK</a>: <code>${call}</code></p>` : ''
        }`,
      }
    }),
  )
}

/** Errors of nearly every call. Only the guide to errors lists them. */
const COMMON = ['https_required', 'rate_limit_exceeded', 'service_unavailable', 'internal_error']
const isCommon = (name: string) => COMMON.includes(name.replace('oauth_', ''))

/**
 * One tab per status: the success with an example, and each error status with its codes. A status that has only COMMON
 * errors has no tab.
 */
function responses(document: OpenApi, errors: readonly DescribedError[], { operation, number }: Call): Html {
  const { status, description, schema } = successOf(document, operation)
  const example = schema && exampleOf(document, schema)
  const content = example === undefined ? html`<p>${text(description)}</p>` : codeBlock(pretty(example), 'json')
  const refusals = Object.entries(operation.responses)
    .slice(1)
    .filter(([, response]) => !errorNames(response).every(isCommon) || errorNames(response).length === 0)
    .map(([other, response]): Tab => ({ label: other, content: refusal(errors, response) }))
  return tabs(`r-${number}`, 'Response', [{ label: status, content }, ...refusals])
}

function refusal(errors: readonly DescribedError[], response: Response | OasRef): Html {
  const named = errors.filter(({ name }) => errorNames(response).includes(name) && !isCommon(name))
  if (named.length === 0 && !('$ref' in response)) return html`<p>${response.description}</p>`
  return html`<ul>${named.map(
    ({ name, code, body }) =>
      html`<li><a href="#error-${name}"><code>${code}</code></a> ${body.message ?? body.error_description}</li>`,
  )}</ul>`
}

export function errorNames(response: Response | OasRef): string[] {
  if ('$ref' in response) return [nameOf(response)]
  return Object.keys(response.content?.['application/json']?.examples ?? {})
}
