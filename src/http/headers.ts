import { cors } from 'hono/cors'
import { createMiddleware } from 'hono/factory'
import { secureHeaders } from 'hono/secure-headers'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { setRequestId } from './log.ts'
import { PUBLIC_CACHE_SECONDS } from './settings.ts'

/** Set on every response, whatever a route sets. Pages and public documents replace the defaults below. */
const fixedHeaders = secureHeaders({
  xFrameOptions: 'DENY',
  strictTransportSecurity: 'max-age=31536000; includeSubDomains',
  crossOriginResourcePolicy: false,
  permissionsPolicy: { camera: [], geolocation: [], microphone: [], payment: [], usb: [] },
})

const defaults = createMiddleware<HonoEnv>(async (c, next) => {
  c.header('Cache-Control', 'no-store')
  c.header('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
  c.header('Cross-Origin-Resource-Policy', 'same-origin')
  await next()
})

export const defaultHeaders = [fixedHeaders, defaults]

/** Pages that a browser may open by http. Their path is not repeated: it may hold a credential. */
const PAGES = ['/dashboard', '/docs', '/']

/**
 * Refuses plain http if the issuer is https, before anything is read: RFC 6749 §3.2 requires TLS, and a redirect would
 * hide that a client sends credentials by http. Browsers are redirected to the page with https.
 */
export const requireHttps = createMiddleware<HonoEnv>(async (c, next) => {
  const { ISSUER } = c.env
  if (!c.req.url.startsWith('http:') || !String(ISSUER).startsWith('https:')) return next()
  const { method, path } = c.req
  const page = PAGES.find((page) => path === page || (page === '/dashboard' && path.startsWith('/dashboard/')))
  if (page && (method === 'GET' || method === 'HEAD')) return c.redirect(`${ISSUER}${page}`, 308)
  throw new ApiError('https_required')
})

/** Lets every cache keep a successful response, which is the same for all callers. Errors are not cached. */
export const cacheable = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  if (c.res.ok) c.res.headers.set('Cache-Control', `public, max-age=${PUBLIC_CACHE_SECONDS}`)
})

const preflight = cors({ origin: '*', allowMethods: ['GET', 'HEAD'], maxAge: 86_400 })

/** For public documents: keys, discovery, the API description. Pages of any origin may read them. */
export const publicDocument = createMiddleware<HonoEnv>(async (c, next) => {
  if (c.req.method === 'OPTIONS') return preflight(c, next)
  // hono/cors is not used: it sets headers on a response of its own, and Hono then merges both responses header by header.
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

/** How long an isolate keeps a public document: a retired signing key disappears from it this late at most. */
const KEPT_MS = 60_000

/** By settings, so that changed ones are answered at once, and by scheme and path. */
const keptResponses = new WeakMap<Env, Map<string, KeptResponse>>()

/**
 * For public documents that depend on the settings alone: answers from memory, without the rest of the app. It writes no
 * log entry, which would take longer than the answer.
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
