import type { ErrorHandler } from 'hono'
import { Hono } from 'hono'
import { createMiddleware } from 'hono/factory'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { requestId } from 'hono/request-id'
import { secureHeaders } from 'hono/secure-headers'
import { applications } from './connect/applications.ts'
import { clientSecrets } from './connect/client-secrets.ts'
import { issuing } from './connect/issuing.ts'
import { verify } from './connect/verify.ts'
import { dashboard, isDashboard } from './dashboard/dashboard.ts'
import { onPageError } from './dashboard/problem.tsx'
import { events } from './events/events.ts'
import { deliverAfterChange } from './events/webhooks.ts'
import { health } from './health.ts'
import type { HonoEnv } from './http/context.ts'
import { ApiError, onError } from './http/errors.ts'
import { logRequests } from './http/log.ts'
import { introspection } from './oauth/introspection.ts'
import { metadata } from './oauth/metadata.ts'
import { token } from './oauth/token.ts'
import { reference } from './reference/reference.tsx'

const noStore = createMiddleware(async (c, next) => {
  c.header('Cache-Control', 'no-store')
  await next()
})

/** Programs are told in JSON, people in pages. */
const answerError: ErrorHandler<HonoEnv> = (error, c) => (isDashboard(c.req.path) ? onPageError : onError)(error, c)

/** Every mount and guard, in order. Unknown routes and wrong methods are answered before anyone is asked. */
export const app = new Hono<HonoEnv>()

// Shorter than any credential (52 characters): one that is sent here by mistake is not echoed, logged or kept.
app.use(requestId({ headerName: 'X-Request-ID', limitLength: 50 }))
app.use(logRequests)
app.use(secureHeaders({ xFrameOptions: 'DENY' }), noStore)
app.use(
  methodNotAllowed({
    app,
    onMethodNotAllowed: (c, allow) => answerError(new ApiError('method_not_allowed', { allow }), c),
  }),
)
app.route('/', health)
app.use('/connect/*', deliverAfterChange)
app.use('/dashboard/*', deliverAfterChange)
app.route('/connect/applications', applications)
app.route('/connect', clientSecrets)
app.route('/connect', issuing)
app.route('/connect', verify)
app.route('/events', events)
app.route('/oauth2/token', token)
app.route('/oauth2/introspection', introspection)
app.route('/', metadata)
app.route('/dashboard', dashboard)
app.route('/', reference)
app.notFound((c) => answerError(new ApiError('not_found'), c))
app.onError(answerError)
