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
 * Matches a bearer token (RFC 6750 §2.1) of at most 100 characters. API keys are shorter, so a longer token needs no
 * digest.
 */
const BEARER = /^Bearer +([A-Za-z0-9_]{1,100})$/i

/**
 * Guards a route of the management API. This middleware refuses a missing or malformed key without a D1 request. The
 * route's own D1 batch then checks that the key exists and has the right that the route needs.
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

/**
 * Returns the bits of the caller's IP address. Cloudflare sets CF-Connecting-IP, so a client cannot forge the address.
 */
export function bitsOfCaller(c: Context<HonoEnv>): string {
  return addressBits(c.req.header('CF-Connecting-IP'))
}

/** Refuses an invalid request, but only after its caller has been identified: 401 and 403 take precedence. */
export async function refuse(c: Context<HonoEnv>, error: ApiError): Promise<never> {
  const database = c.get('database')
  const caller = c.get('caller')
  granted(c, await identify(database, caller, caller.needs))
  throw error
}

/**
 * Fixes the event ID and the time of this request's change before the first attempt. The change is also stored in the
 * context: if the database then fails, the response says that the outcome is unknown, and after a success the event is
 * sent to the webhooks.
 */
export function beginChange(c: Context<HonoEnv>, caller: ApiCaller | SessionCaller = c.get('caller')): Change {
  const now = Date.now()
  const eventId = newId('event', now, caller.region)
  const change = { caller, eventId, requestId: c.get('requestId'), now, origin: originOf(c) }
  c.set('change', change)
  return change
}
