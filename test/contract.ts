import * as v from 'valibot'
import { inject } from 'vitest'
import { Application, ApplicationList } from '../src/contract/applications.ts'
import * as secrets from '../src/contract/client-secrets.ts'
import * as events from '../src/contract/events.ts'
import { ClientSecretsOfEnvironment } from '../src/contract/inventory.ts'
import { AcceptedLeak } from '../src/contract/leaks.ts'
import * as oauth from '../src/contract/oauth.ts'
import { ErrorBody } from '../src/contract/rules.ts'
import { demand } from './demand.ts'
import { jsonSchemas } from './json-schemas.ts'
import { keepLine } from './kept-lines.ts'
import { checkDescribedRequest, checkDescribedResponse } from './reference/described.ts'

/**
 * Every response of every test keeps the contract: our schemas, our OpenAPI document, and the vendor's where it is beside
 * the checkout. Two departures from the vendor's are ours: common refusals that it does not list, and more members.
 */
interface Description {
  readonly paths: Record<string, Record<string, { responses: Record<string, { content?: Content }> }>>
  readonly components: object
}
type Content = { 'application/json': { schema: object } }

declare module 'vitest' {
  interface ProvidedContext {
    vendorDescription: Description | null
  }
}

/** Error statuses that any call may have, even if the vendor's document does not list them. */
const COMMON_REFUSALS = [400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 503]

const SUCCESSES: Record<string, v.GenericSchema> = {
  'GET /connect/applications': ApplicationList,
  'POST /connect/applications': Application,
  'GET /connect/applications/{id}': Application,
  'PUT /connect/applications/{id}': Application,
  'GET /connect/applications/{id}/client_secrets': secrets.ClientSecretList,
  'POST /connect/applications/{id}/client_secrets': secrets.IssuedClientSecret,
  'POST /connect/applications/{id}/client_secrets/rotate': secrets.IssuedClientSecret,
  'GET /connect/client_secrets': ClientSecretsOfEnvironment,
  'GET /connect/client_secrets/{id}': secrets.ClientSecret,
  'PATCH /connect/client_secrets/{id}': secrets.ClientSecret,
  'POST /connect/client_secrets/verify': secrets.Verification,
  'GET /events': events.EventList,
  'POST /leaks': AcceptedLeak,
  'POST /oauth2/token': oauth.TokenResponse,
  'POST /oauth2/introspection': oauth.Introspection,
  'GET /oauth2/jwks': oauth.PublishedKeys,
  'GET /.well-known/oauth-authorization-server': oauth.ServerMetadata,
  'GET /sso/jwks/{client_id}': oauth.PublishedKeys,
  'GET /.well-known/openid-configuration': oauth.OpenIdConfiguration,
}

/** Paths that clients and resource servers call. */
const OAUTH = /^\/(oauth2|sso|\.well-known)\//

/** Public documents may be cached. Nothing else may be. */
const CACHEABLE = /^\/(oauth2\/jwks|sso\/jwks\/[^/]+|\.well-known\/.*|openapi\.json|docs|docs\.md|llms\.txt|)$/

/** The media types of the paths that do not return JSON. */
const TEXTS: Readonly<Record<string, string>> = {
  '/': 'text/html',
  '/docs': 'text/html',
  '/docs.md': 'text/markdown',
  '/llms.txt': 'text/plain',
}

const vendor = inject('vendorDescription')
const vendorErrorsIn = jsonSchemas(vendor?.components ?? {})

/** Throws if a response breaks the contract. Returns the response with its body unread. */
export async function checkResponse(method: string, url: string, response: Response): Promise<Response> {
  const text = await response.clone().text()
  const { status, headers } = response
  const { pathname } = new URL(url)
  const what = `${method} ${pathname} → ${status} ${text}`.slice(0, 1_000)
  keepLine(what)
  const has = (name: string, value: RegExp | string) => {
    const found = headers.get(name) ?? ''
    demand(
      typeof value === 'string' ? found === value : value.test(found),
      `${name} is ${JSON.stringify(found)}, not ${value}`,
      what,
    )
  }
  has('X-Request-ID', /^[\w=-]{1,255}$/)
  has('Cache-Control', status === 200 && CACHEABLE.test(pathname) ? 'public, max-age=300' : 'no-store')
  has('X-Content-Type-Options', 'nosniff')
  if (method === 'HEAD') return response
  if (status === 204) {
    demand(text === '', 'a 204 has a body', what)
    checkDescribedResponse(method, pathname, response, null)
    return response
  }
  const textType = TEXTS[pathname]
  if (status === 200 && textType) {
    has('Content-Type', new RegExp(`^${textType}; charset=utf-8$`, 'i'))
    return response
  }
  has('Content-Type', /^application\/json\b/)
  const body: unknown = JSON.parse(text)
  if (status >= 400) checkRefusal(response, OAUTH.test(pathname), body, what)
  checkDescribedResponse(method, pathname, response, body)
  checkSuccessAndDescription(method, pathname, status, body, what)
  return response
}

/** Throws if the Worker accepted a request that our own document does not. */
export function checkRequest(request: Request, text: string): void {
  const { pathname } = new URL(request.url)
  checkDescribedRequest(request.method, pathname, request.headers.get('Content-Type') ?? '', text)
}

/** A `fetch` that checks responses from `origin`. */
export function checkedFetch(fetch: typeof globalThis.fetch, origin: string): typeof globalThis.fetch {
  return async (input, init) => {
    const request = new Request(input, init)
    const response = await fetch(input, init)
    if (new URL(request.url).origin !== origin) return response
    const isText = typeof init?.body === 'string' || init?.body instanceof URLSearchParams
    if (response.ok && isText) checkRequest(request, await request.text())
    return checkResponse(request.method, request.url, response)
  }
}

function checkRefusal({ status, headers }: Response, isOAuth: boolean, body: unknown, what: string): void {
  demand(COMMON_REFUSALS.includes(status), 'no call has this status', what)
  checkSchema(isOAuth ? oauth.OAuthError : ErrorBody, body, what)
  const challenge = headers.get('WWW-Authenticate')
  const challenges = status !== 401 ? [null] : isOAuth ? [null, 'Basic realm="oncekey"'] : ['Bearer']
  demand(challenges.includes(challenge), `WWW-Authenticate is ${challenge}`, what)
  const isInvalidClient = (body as { error: string }).error === 'invalid_client'
  demand(!isOAuth || isInvalidClient === (status === 401), 'invalid_client and 401 belong together', what)
  demand(headers.has('Allow') === (status === 405), 'Allow and 405 belong together', what)
  const isRetried = status === 429 || status === 503
  demand(!isRetried || /^\d{1,5}$/.test(headers.get('Retry-After') ?? ''), 'Retry-After is no number of seconds', what)
}

function checkSchema(schema: v.GenericSchema, body: unknown, what: string): void {
  const { issues } = v.safeParse(schema, body)
  demand(
    issues === undefined,
    `differs from its schema: ${issues?.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`)}`,
    what,
  )
}

function checkSuccessAndDescription(method: string, path: string, status: number, body: unknown, what: string): void {
  const template = path
    .replace(/^(\/connect\/applications)\/[^/]+/, '$1/{id}')
    .replace(/^(\/connect\/client_secrets)\/(?!verify$)[^/]+$/, '$1/{id}')
    .replace(/^(\/sso\/jwks)\/[^/]+$/, '$1/{client_id}')
  const schema = SUCCESSES[`${method} ${template}`]
  if (status < 300 && schema) checkSchema(schema, body, what)

  const operation = vendor?.paths[template]?.[method.toLowerCase()]
  const described = operation?.responses[status]
  const isDescribed = !operation || described !== undefined || COMMON_REFUSALS.includes(status)
  demand(isDescribed, "the vendor's description does not have this status", what)
  const vendorSchema = described?.content?.['application/json'].schema
  const errors = vendorSchema ? vendorErrorsIn(vendorSchema, body) : []
  demand(errors.length === 0, `differs from the vendor's description: ${JSON.stringify(errors)}`, what)
}
