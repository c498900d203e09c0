import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { routePath } from 'hono/route'
import { mayContainCredential } from '../credential/credential.ts'
import type { Origin } from '../storage/caller.ts'
import type { Use } from '../storage/client-authentication.ts'
import type { Figures } from '../storage/figures.ts'
import { siteOf } from './address.ts'
import type { HonoEnv, LogFields } from './context.ts'

/** Maximum length of a header in the log, in characters. */
const MAX_LENGTH = 200
const CLIENT_REQUEST_ID = /^[\w.:=-]{1,50}$/

/**
 * Gives each request an ID, and writes one log entry after its response. The caller's X-Request-ID is logged in a field
 * of its own. If it replaced the request ID, an attacker could choose the request IDs in events. The entry has the
 * route's pattern instead of the path, so that a secret in a URL is not logged.
 */
export const logRequests = createMiddleware<HonoEnv>(async (c, next) => {
  const start = Date.now()
  const requestId = setRequestId((name, value) => c.header(name, value))
  c.set('requestId', requestId)
  c.set('logFields', placeOf(c))
  await next()
  const duration = Date.now() - start
  const figures = c.get('database')?.figures
  const caller = callerOf(c)
  // Only authenticated callers get Server-Timing. The duration of a refusal could reveal something about a credential.
  if (caller && figures) c.res.headers.set('Server-Timing', `total;dur=${duration}, db;dur=${figures.waited}`)
  console.log({
    message: 'request',
    request_id: requestId,
    ...clientRequestId(c),
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    duration_ms: duration,
    ...c.get('logFields'),
    ...caller,
    ...(figures && figureFields(figures)),
    ...(c.res.status >= 400 && sender(c)),
  })
})

/** Sets a new request ID as a response header, and returns the ID. */
export function setRequestId(setHeader: (name: string, value: string) => void): string {
  const requestId = crypto.randomUUID()
  setHeader('X-Request-ID', requestId)
  return requestId
}

/** Adds fields to the log entry of this request. */
export function addLogFields(c: Context<HonoEnv>, fields: LogFields): void {
  c.set('logFields', { ...c.get('logFields'), ...fields })
}

/** Returns the Cloudflare location and the version of the Worker, if the platform provides them. */
export function placeOf(c: Context<HonoEnv>): LogFields {
  const colo = c.req.raw.cf?.colo as string | undefined
  return { ...(colo && { colo }), ...versionField(c.env) }
}

/** Returns the deployed version, if the platform provides it. */
export function versionField(env: Partial<Pick<Env, 'CF_VERSION_METADATA'>>): Pick<LogFields, 'version'> {
  const id = env.CF_VERSION_METADATA?.id
  return id ? { version: id } : {}
}

/** Returns the log fields about D1 requests. Figures that D1 did not report are omitted. */
export function figureFields({ requests, attempts, rowsRead, rowsWritten, waited, sql, region }: Figures): object {
  return {
    d1_requests: requests,
    d1_ms: waited,
    ...(attempts !== null && { d1_attempts: attempts }),
    ...(rowsRead !== null && { d1_rows_read: rowsRead }),
    ...(rowsWritten !== null && { d1_rows_written: rowsWritten }),
    ...(sql !== null && { d1_sql_ms: Math.round(sql * 1000) / 1000 }),
    ...(region !== null && { d1_region: region }),
  }
}

/** Logs an unexpected error. The text comes from D1 or from this Worker, and contains no bound values. */
export function logError(c: Context<HonoEnv>, code: string, error: Error): void {
  console.error({
    message: code,
    request_id: c.get('requestId'),
    error: `${error.name}: ${error.message}`,
    stack: error.stack,
  })
}

/**
 * Returns where a request comes from: the IP address, the country, the User-Agent and the X-Request-ID. A value that is
 * malformed or may contain a credential is null.
 */
export function originOf(c: Context<HonoEnv>): Origin {
  return {
    address: plain(c.req.header('CF-Connecting-IP'), /^[\da-f.:]{2,45}$/i),
    country: plain(c.req.raw.cf?.country as string | undefined, /^[A-Z\d]{2}$/),
    userAgent: plain(c.req.header('User-Agent'), /^[\x20-\x7e]+$/)?.slice(0, MAX_LENGTH) ?? null,
    clientRequestId: plain(c.req.header('X-Request-ID'), CLIENT_REQUEST_ID),
  }
}

/** Returns the origin of a use of a client secret. The IP address is replaced by its network. */
export function useOf(c: Context<HonoEnv>, { address, country, userAgent } = originOf(c)): Use {
  return { address: address && siteOf(address), country, userAgent }
}

function plain(value: string | undefined, pattern: RegExp): string | null {
  return value !== undefined && pattern.test(value) && !mayContainCredential(value) ? value : null
}

function clientRequestId(c: Context<HonoEnv>): object {
  const id = plain(c.req.header('X-Request-ID'), CLIENT_REQUEST_ID)
  return id === null ? {} : { client_request_id: id }
}

/** Returns the log fields of the caller, if the database has identified it. */
function callerOf(c: Context<HonoEnv>): object | undefined {
  const identity = c.get('identity')
  const client = c.get('client')
  if (identity) return { environment_id: identity.environmentId, api_key_id: identity.apiKeyId }
  return client && { environment_id: client.environmentId, client_id: client.application.clientId }
}

/** Returns the log fields of a refused request's origin. */
function sender(c: Context<HonoEnv>): object {
  const { address, country, userAgent } = originOf(c)
  return {
    ...(address && { address }),
    ...(country && { country }),
    ...(userAgent && { user_agent: userAgent }),
  }
}
