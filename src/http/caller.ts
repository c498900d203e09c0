import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { API_KEY_PREFIX, recogniseCredential } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { addressBits } from '../credential/ip-ranges.ts'
import { identify } from '../storage/batch.ts'
import type { Change, Need } from '../storage/caller.ts'
import type { ApiCaller, HonoEnv, SessionCaller } from './context.ts'
import { type ApiError, granted } from './errors.ts'
import { originOf } from './log.ts'
import { refuseMalformed, withinLimits } from './rate-limits.ts'
import { databaseOf } from './region.ts'

/**
 * Matches a bearer token (RFC 6750 §2.1) of at most 100 characters. API keys are shorter, so longer strings are not
 * hashed.
 */
const BEARER = /^Bearer +([A-Za-z0-9_]{1,100})$/i

/**
 * Guards a route of the management API. A missing or malformed key is refused here, without a D1 request. The route's
 * own D1 batch checks that the key exists and may do what the route needs.
 */
export const requireApiKey = (needs: Need) =>
  createMiddleware<HonoEnv>(async (c, next) => {
    const authorization = c.req.header('Authorization')
    const apiKey = BEARER.exec(authorization ?? '')?.[1] ?? ''
    const key = recogniseCredential(apiKey)
    const database = key?.prefix === API_KEY_PREFIX ? databaseOf(c, key.region) : null
    if (!key || !database) return refuseMalformed(c, authorization)
    const digest = await sha256(apiKey)
    c.set('caller', { kind: 'api_key', apiKey, digest, addressBits: bitsOfCaller(c), region: key.region, needs })
    await withinLimits(c, digest, next)
  })

/** The bits of the caller's address. Cloudflare sets the header: a client cannot. */
export function bitsOfCaller(c: Context<HonoEnv>): string {
  return addressBits(c.req.header('CF-Connecting-IP'))
}

/** Refuses an invalid request after its caller has been identified: 401 and 403 take precedence. */
export async function refuse(c: Context<HonoEnv>, error: ApiError): Promise<never> {
  const database = c.get('database')
  const caller = c.get('caller')
  granted(c, await identify(database, caller, caller.needs))
  throw error
}

/**
 * Fixes the id and the time of this request's change, before its first attempt. From here on a failure of the database
 * leaves the outcome unknown, and the event of a success is sent to the webhooks: both read the change from the context.
 */
export function beginChange(c: Context<HonoEnv>, caller: ApiCaller | SessionCaller = c.get('caller')): Change {
  const now = Date.now()
  const eventId = newId('event', now, caller.region)
  const change = { caller, eventId, requestId: c.get('requestId'), now, origin: originOf(c) }
  c.set('change', change)
  return change
}
