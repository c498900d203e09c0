import { html } from 'hono/html'
import { ORIGIN } from '../origin.ts'
import { curl, exampleOf } from './curl.ts'
import { type Html, members, parameterMembers, text } from './members.ts'
import type { JsonSchema, OpenApi, Operation, Parameter, Response } from './openapi.ts'
import { nameOf, resolved } from './resolved.ts'

interface Call {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

/** Objects that calls answer with, told of once. */
const OBJECTS = ['Application', 'ClientSecret', 'Event', 'ErrorBody', 'OAuthError']

/** The page's own part, from the document alone. Where it stands, `ORIGIN` says. */
export function makePage(document: OpenApi): string {
  const calls = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
  const groups = document.tags.map((tag) => ({
    ...tag,
    id: tag.name.toLowerCase().replaceAll(' ', '-'),
    calls: calls.filter(({ operation }) => operation.tags.includes(tag.name)),
  }))
  return `${html`<div class="reference">
<header>
<h1>API reference</h1>
<p class="lead">${text(document.info.description)}</p>
<p class="quiet small">Version ${document.info.version}. For programs: <a href="/openapi.json">OpenAPI 3.1</a>.</p>
</header>
<nav class="contents" aria-label="Contents">
<ul>
<li><a href="#begin">Before you begin</a></li>
<li><a href="#authentication">Authentication</a></li>
<li><a href="#conventions">Conventions</a></li>
</ul>
${groups.map(
  ({ name, id, calls }) => html`<h2><a href="#${id}">${name}</a></h2>
<ul>${calls.map(({ operation }) => html`<li><a href="#${operation.operationId}">${operation.summary}</a></li>`)}</ul>`,
)}
<h2><a href="#objects">Objects</a></h2>
<ul>${OBJECTS.map((name) => html`<li><a href="#${name}">${name}</a></li>`)}</ul>
<h2><a href="#errors">Errors</a></h2>
</nav>
<div class="calls">
${beginning()}
${authentication(document)}
${conventions(document)}
${groups.map(
  ({ name, description, id, calls }) => html`<section id="${id}" class="group">
<h2>${name}</h2>
<p>${text(description)}</p>
${calls.map((call) => article(document, call))}
</section>`,
)}
${objects(document)}
${errors(document)}
</div>
</div>
`}`
}

function beginning(): Html {
  return html`<section id="begin">
<h2>Before you begin</h2>
<p>The lines below can be pasted into a shell that knows what is yours. <code>npm run dev</code> prints a key and the ids
of an example; an application and a secret of your own come from the calls further down.</p>
<pre>export API_KEY=sk_…
export APPLICATION_ID=conn_app_…
export CLIENT_ID=client_…
export SECRET_ID=secret_…
export CLIENT_SECRET=cs_…
export ACCESS_TOKEN=eyJ…</pre>
<p>Everything is served at <code>${ORIGIN}</code>.</p>
</section>`
}

function authentication({ components }: OpenApi): Html {
  return html`<section id="authentication">
<h2>Authentication</h2>
<dl class="members">${Object.entries(components.securitySchemes).map(
    ([name, { description }]) => html`<div><dt><code>${name}</code></dt><dd>${text(description)}</dd></div>`,
  )}</dl>
</section>`
}

function conventions({ components }: OpenApi): Html {
  return html`<section id="conventions">
<h2>Conventions</h2>
<p>Bodies are JSON in UTF-8, of at most 64 KiB; OAuth’s are forms. What is unknown in a body is ignored. Ids are opaque.
Times are ISO 8601 in UTC. Every refusal has a JSON object for a body: see <a href="#errors">Errors</a>.</p>
<h3>Headers of requests</h3>
${parameterMembers(Object.values(components.parameters).filter((parameter) => parameter.in === 'header'))}
<h3>Headers of answers</h3>
<dl class="members">${Object.entries(components.headers).map(
    ([name, { description }]) => html`<div><dt><code>${name}</code></dt><dd>${text(description)}</dd></div>`,
  )}</dl>
</section>`
}

function article(document: OpenApi, { method, path, operation }: Call): Html {
  const { operationId, summary, description } = operation
  return html`<article id="${operationId}">
<div class="about">
<h3><a href="#${operationId}">${summary}</a></h3>
<p class="route"><b>${method}</b> <code>${path}</code></p>
<p>${text(description)}</p>
<p class="quiet small">${caller(operation)}</p>
${parameters(document, operation)}
${answers(document, operation)}
</div>
${examples(document, { method, path, operation })}
</article>`
}

function caller({ security }: Operation): string {
  const [scheme, roles] = Object.entries(security[0] ?? {})[0] ?? []
  if (scheme === 'api_key') return `For an API key with ${roles?.join()} access.`
  return scheme ? 'For an application, with a client secret of its own.' : 'For anybody.'
}

function parameters(document: OpenApi, { parameters = [], requestBody }: Operation): Html {
  const all = parameters.map((parameter) => resolved<Parameter>(document, parameter))
  const parts = (['path', 'query', 'header'] as const).map((place) => ({
    title: { path: 'Path', query: 'Query', header: 'Headers' }[place],
    parameters: all.filter((parameter) => parameter.in === place && parameter.name !== 'X-Request-ID'),
  }))
  const [media] = Object.values(requestBody?.content ?? {})
  return html`${parts.map(({ title, parameters }) =>
    parameters.length > 0 ? html`<h4>${title}</h4>${parameterMembers(parameters)}` : '',
  )}${media ? html`<h4>Body</h4>${members(resolved<JsonSchema>(document, media.schema))}` : ''}`
}

function answers(document: OpenApi, { responses }: Operation): Html {
  const all = Object.entries(responses).map(([status, response]) => ({
    status,
    names: refusalNames(response),
    response: resolved<Response>(document, response),
  }))
  const refusals = all.filter(({ status }) => Number(status) >= 400)
  return html`<h4>Answer</h4>
${all.slice(0, 1).map(({ status, response }) => {
  const schema = response.content?.['application/json']?.schema
  const found = schema && resolved<JsonSchema>(document, schema)
  return html`<p><b>${status}</b> ${text(response.description)}</p>
${schema && OBJECTS.includes(nameOf(schema)) ? html`<p>See <a href="#${nameOf(schema)}">${nameOf(schema)}</a>.</p>` : found?.properties || found?.oneOf ? members(found) : ''}`
})}
${refusals.length > 0 ? html`<h4>Refusals</h4>` : ''}
<ul class="refusals">${refusals.flatMap(({ status, names }) =>
    names.map(
      (name) => html`<li><a href="#error-${name}">${status} <code>${name.replace('oauth_', '')}</code></a></li>`,
    ),
  )}</ul>`
}

function refusalNames(response: Response | { readonly $ref: string }): string[] {
  if ('$ref' in response) return [nameOf(response)]
  return Object.keys(response.content?.['application/json']?.examples ?? {})
}

function examples(document: OpenApi, { method, path, operation }: Call): Html {
  const [status = '', response] = Object.entries(operation.responses)[0] ?? []
  const schema = response && resolved<Response>(document, response).content?.['application/json']?.schema
  const example = schema && exampleOf(document, schema)
  return html`<div class="example">
<pre class="curl"><code>${curl(document, method, path, operation)}</code></pre>
${example === undefined ? '' : html`<p class="quiet small">Answer: ${status}</p><pre><code>${pretty(example)}</code></pre>`}
</div>`
}

function objects(document: OpenApi): Html {
  return html`<section id="objects" class="group">
<h2>Objects</h2>
${OBJECTS.map((name) => {
  const schema = document.components.schemas[name] ?? {}
  const example = exampleOf(document, schema)
  return html`<article id="${name}">
<div class="about"><h3><a href="#${name}">${name}</a></h3>${members(schema)}</div>
${example === undefined ? '' : html`<div class="example"><pre><code>${pretty(example)}</code></pre></div>`}
</article>`
})}
</section>`
}

function errors({ components }: OpenApi): Html {
  return html`<section id="errors" class="group">
<h2>Errors</h2>
<p>Programs decide by <code>code</code>, or by <code>error</code> where the call is OAuth’s; the words are for people and
may change. After 429 and 503 wait as long as <code>Retry-After</code> says, and send the same request again.</p>
<dl class="errors">${Object.entries(components.examples).map(([name, { summary, value }]) => {
    const headers = Object.keys(components.responses[name]?.headers ?? {}).filter((header) => header !== 'X-Request-ID')
    return html`<div id="error-${name}"><dt>${summary}${name.startsWith('oauth_') ? html` <span>OAuth</span>` : ''}</dt>
<dd><pre><code>${pretty(value)}</code></pre>${headers.map((header) => html`<p class="quiet small">With <code>${header}</code>.</p>`)}</dd></div>`
  })}</dl>
</section>`
}

function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2)
}
