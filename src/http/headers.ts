import { cors } from 'hono/cors'
import { createMiddleware } from 'hono/factory'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { setRequestId } from './log.ts'
import { PUBLIC_CACHE_SECONDS } from './settings.ts'

/**
 * Headers of every response. A route cannot override them, but it can override those in `defaults`. This table adds
 * less to the bundle than hono/secure-headers, whose nonces and reports are not used here.
 */
const FIXED = Object.entries({
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Origin-Agent-Cluster': '?1',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
})

const fixedHeaders = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  for (const [name, value] of FIXED) c.res.headers.set(name, value)
})

const defaults = createMiddleware<HonoEnv>(async (c, next) => {
  c.header('Cache-Control', 'no-store')
  c.header('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
  c.header('Cross-Origin-Resource-Policy', 'same-origin')
  await next()
})

export const defaultHeaders = [fixedHeaders, defaults]

/**
 * Pages for which http requests are redirected to https. The redirect has the path from this list, because the
 * requested path may contain a credential.
 */
const PAGES = ['/dashboard', '/docs', '/']

/**
 * Refuses plain http if the issuer is https. RFC 6749 §3.2 requires TLS. A redirect would hide from a client that it
 * sends its credentials unencrypted. Only requests for a page are redirected to https.
 */
export const requireHttps = createMiddleware<HonoEnv>(async (c, next) => {
  const { ISSUER } = c.env
  if (!c.req.url.startsWith('http:') || !String(ISSUER).startsWith('https:')) return next()
  const { method, path } = c.req
  const page = PAGES.find((page) => path === page || (page === '/dashboard' && path.startsWith('/dashboard/')))
  if (page && (method === 'GET' || method === 'HEAD')) return c.redirect(`${ISSUER}${page}`, 308)
  throw new ApiError('https_required')
})

const HOST = /^[\w.:[\]-]*$/

/**
 * Refuses a malformed Host header (RFC 9110 §7.2). Cloudflare refuses it before the Worker runs. Other servers build
 * the request URL from this header, so the URL could be invalid or have a different path.
 */
export const requireHost = createMiddleware<HonoEnv>(async (c, next) => {
  if (HOST.test(c.req.header('Host') ?? '') && URL.canParse(c.req.url)) return next()
  throw new ApiError('malformed_request', { message: 'The Host header is malformed.' })
})

/** Lets shared caches store a successful response, which is the same for all callers. Errors are not cached. */
export const cacheable = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  if (c.res.ok) c.res.headers.set('Cache-Control', `public, max-age=${PUBLIC_CACHE_SECONDS}`)
})

const preflight = cors({ origin: '*', allowMethods: ['GET', 'HEAD'], maxAge: 86_400 })

/** Lets pages of any origin read a public document, such as the signing keys, the metadata or the API description. */
export const publicDocument = createMiddleware<HonoEnv>(async (c, next) => {
  if (c.req.method === 'OPTIONS') return preflight(c, next)
  // This sets the headers without hono/cors, which creates a response before the route does. Hono would then merge two
  // responses, which takes about 50 µs more CPU time per request.
  c.header('Access-Control-Allow-Origin', '*')
  c.header('Cross-Origin-Resource-Policy', 'cross-origin')
  await next()
  if (c.res.ok) c.res.headers.set('Cache-Control', `public, max-age=${PUBLIC_CACHE_SECONDS}`)
})

interface KeptResponse {
  readonly body: string
  readonly headers: Headers
  readonly until: number
}

/** How long an isolate keeps a public document. A retired signing key can stay published for this much longer. */
const KEPT_MS = 60_000

/**
 * Kept responses by environment object, and then by scheme and path. Changed settings come with a new environment
 * object, so they take effect at once.
 */
const keptResponses = new WeakMap<Env, Map<string, KeptResponse>>()

/**
 * Serves a public document from memory, without running the rest of the app. The document depends only on the settings.
 * Such a response has no log entry, because logging would take longer than the response.
 */
export const keptDocument = createMiddleware<HonoEnv>(async (c, next) => {
  if (c.req.method !== 'GET') return next()
  const responses = keptResponses.get(c.env) ?? new Map<string, KeptResponse>()
  const key = `${c.req.url.startsWith('https:')} ${c.req.path}`
  const found = responses.get(key)
  if (found && Date.now() < found.until) {
    const headers = new Headers(found.headers)
    setRequestId((name, value) => headers.set(name, value))
    return new Response(found.body, { headers })
  }
  await next()
  if (c.res.status !== 200) return
  const body = await c.res.clone().text()
  keptResponses.set(
    c.env,
    responses.set(key, { body, headers: new Headers(c.res.headers), until: Date.now() + KEPT_MS }),
  )
})
