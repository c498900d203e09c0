import type { Context } from 'hono'
import { Hono } from 'hono'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { applications } from './connect/applications.ts'
import { clientSecrets } from './connect/client-secrets.ts'
import { environment } from './connect/environment.ts'
import { leaks } from './connect/leaks.ts'
import { dashboard } from './dashboard/dashboard.ts'
import { onPageError } from './dashboard/layout.tsx'
import { deliverAfterChange, offerDelivery } from './events/deliver.ts'
import { events } from './events/events.ts'
import { health } from './health.ts'
import type { HonoEnv } from './http/context.ts'
import { ApiError, onError, onOAuthError } from './http/errors.ts'
import { defaultHeaders, keptDocument, publicDocument, requireHost, requireHttps } from './http/headers.ts'
import { logRequests } from './http/log.ts'
import { refuseIfClosed } from './http/maintenance.ts'
import { introspection } from './oauth/introspection.ts'
import { metadata } from './oauth/metadata.ts'
import { token } from './oauth/token.ts'
import { onBrowserError } from './pages/problem.tsx'
import { reference } from './reference/reference.tsx'

/** The error handler of each part of the app, by the first segment of the path. */
const ERROR_HANDLERS = new Map([
  ['connect', onError],
  ['events', onError],
  ['leaks', onError],
  ['oauth2', onOAuthError],
  ['.well-known', onOAuthError],
  ['sso', onOAuthError],
  ['dashboard', onPageError],
])

const answerError = (error: Error, c: Context<HonoEnv>) =>
  (ERROR_HANDLERS.get(c.req.path.split('/', 2)[1] ?? '') ?? (isBrowser(c) ? onBrowserError : onError))(error, c)

/**
 * Detects a browser. In every browser, the Accept header begins with these two media types. Java's HttpURLConnection
 * also accepts text/html, but expects JSON.
 */
function isBrowser(c: Context<HonoEnv>): boolean {
  return c.req.header('Accept')?.startsWith('text/html,application/xhtml+xml') ?? false
}

/** Public documents that depend only on the settings. */
const SETTINGS_DOCUMENTS = [
  '/oauth2/jwks',
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
]

/**
 * The Worker's routes and middleware, in order. Unknown routes and wrong methods get their error before the caller is
 * identified.
 */
export const app = new Hono<HonoEnv>()

for (const path of SETTINGS_DOCUMENTS) app.use(path, keptDocument)
app.use(logRequests, ...defaultHeaders, requireHost, requireHttps)
app.use(
  methodNotAllowed({
    app,
    onMethodNotAllowed: (c, allow) => answerError(new ApiError('method_not_allowed', { allow }), c),
  }),
)
for (const path of [...SETTINGS_DOCUMENTS, '/sso/jwks/*', '/openapi.json', '/docs.md', '/llms.txt']) {
  app.use(path, publicDocument)
}
for (const path of [
  '/connect/*',
  '/events',
  '/leaks',
  '/oauth2/token',
  '/oauth2/introspection',
  '/dashboard/*',
  '/readyz',
]) {
  app.use(path, refuseIfClosed)
}
app.use('/connect/*', deliverAfterChange)
app.use('/dashboard/*', deliverAfterChange)
app.use('/leaks', offerDelivery)

app.route('/', health)
app.route('/connect/applications', applications)
app.route('/connect/environment', environment)
app.route('/connect', clientSecrets)
app.route('/events', events)
app.route('/leaks', leaks)
app.route('/oauth2/token', token)
app.route('/oauth2/introspection', introspection)
app.route('/', metadata)
app.route('/dashboard', dashboard)
app.route('/', reference)
app.notFound((c) => answerError(new ApiError('not_found'), c))
app.onError(answerError)
