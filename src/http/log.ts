import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { routePath } from 'hono/route'
import { mayContainCredential } from '../credential/credential.ts'
import type { HonoEnv, LogFields } from './context.ts'

/** Maximum length of a header that the log repeats. */
const MAX_LENGTH = 200
const PLAIN_ID = /^[\w.:=-]{1,50}$/

/**
 * Gives each request an id of its own, and writes one entry when it is answered. A caller's X-Request-ID is logged beside
 * it: were it used instead, a thief could choose the ids of the audit. The route is its pattern, not the path, so that
 * a secret in a URL stays out of the log.
 */
export const logRequests = createMiddleware<HonoEnv>(async (c, next) => {
  const start = Date.now()
  const requestId = crypto.randomUUID()
  c.set('requestId', requestId)
  c.set('logFields', {})
  c.header('X-Request-ID', requestId)
  await next()
  console.log({
    message: 'request',
    request_id: requestId,
    ...optional('client_request_id', c.req.header('X-Request-ID'), PLAIN_ID),
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    duration_ms: Date.now() - start,
    ...c.var.logFields,
    ...(c.res.status >= 400 && sender(c)),
  })
})

/** Adds to the log entry of this request. */
export function addLogFields(c: Context<HonoEnv>, fields: LogFields): void {
  c.set('logFields', { ...c.var.logFields, ...fields })
}

/** Logs an unexpected error. Its text is the database's or ours, without bound values. */
export function logError(c: Context<HonoEnv>, code: string, error: Error): void {
  console.error({
    message: code,
    request_id: c.var.requestId,
    error: `${error.name}: ${error.message}`,
    stack: error.stack,
  })
}

/** Who sent a refused request. */
function sender(c: Context<HonoEnv>): object {
  const { identity } = c.var
  return {
    ...(identity && { api_key_id: identity.apiKeyId, environment_id: identity.environmentId }),
    ...optional('address', c.req.header('CF-Connecting-IP'), /^[\da-f.:]{2,45}$/i),
    ...optional('country', c.req.raw.cf?.country as string | undefined, /^[A-Z\d]{2}$/),
    ...optional('user_agent', c.req.header('User-Agent')?.slice(0, MAX_LENGTH)),
  }
}

/** Leaves out a header that is malformed, or that may contain a credential. */
function optional(name: string, value: string | undefined, pattern = /^[\x20-\x7e]+$/): object {
  return value !== undefined && pattern.test(value) && !mayContainCredential(value) ? { [name]: value } : {}
}
