import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { routePath } from 'hono/route'
import type { HonoEnv } from './context.ts'

/**
 * One object a request. The route is its pattern, not the path: whatever a caller writes into a URL by mistake, a secret
 * too, stays out of the log. Headers and bodies are never logged.
 */
export const logRequests = createMiddleware<HonoEnv>(async (c, next) => {
  const start = Date.now()
  await next()
  console.log({
    message: 'request',
    request_id: c.var.requestId,
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    duration_ms: Date.now() - start,
  })
})

/** What the caller is not told. The error's text is D1's or ours, and has no bound values. */
export function logError(c: Context<HonoEnv>, code: string, error: Error): void {
  console.error({
    message: code,
    request_id: c.var.requestId,
    error: `${error.name}: ${error.message}`,
    stack: error.stack,
  })
}
