import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { API_KEY_PREFIX, recogniseCredential } from '../credential/credential.ts'
import { sha256, toHex } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { identify } from '../storage/batch.ts'
import type { Access, Change } from '../storage/caller.ts'
import type { ApiCaller, HonoEnv, SessionCaller } from './context.ts'
import { databaseOf } from './database.ts'
import { ApiError, granted } from './errors.ts'
import { isOverLimit } from './rate-limits.ts'

/** RFC 6750 §2.1. Nobody's key is longer: what is, is not hashed. */
const BEARER = /^Bearer +([A-Za-z0-9_]{1,100})$/i

/**
 * Guards a route of the management API. A missing or misspelt key is refused here, without asking storage; whether the
 * key is known and may do what it asks, the request's own batch finds out.
 */
export const requireApiKey = (needs: Access) =>
  createMiddleware<HonoEnv>(async (c, next) => {
    const apiKey = BEARER.exec(c.req.header('Authorization') ?? '')?.[1] ?? ''
    const key = recogniseCredential(apiKey)
    if (key?.prefix !== API_KEY_PREFIX) throw new ApiError('unauthorized')
    const database = databaseOf(c, key.region)
    if (!database) throw new ApiError('unauthorized')
    const digest = await sha256(apiKey)
    if (await isOverLimit(c.env.MANAGEMENT_CALLS, toHex(digest))) throw new ApiError('rate_limit_exceeded')
    c.set('caller', { kind: 'api_key', apiKey, digest, region: key.region, needs })
    c.set('database', database)
    await next()
  })

/** Refuses a request for what is wrong with it, once it is known that its caller may ask: 401 and 403 come first. */
export async function refuse(c: Context<HonoEnv>, error: ApiError): Promise<never> {
  const { database, caller } = c.var
  granted(c, await identify(database, caller, caller.needs))
  throw error
}

/** The change that this request asks for. Kept, so that its event can be sent to webhooks once it is made. */
export function changeOf(c: Context<HonoEnv>, caller: ApiCaller | SessionCaller = c.var.caller): Change {
  const now = Date.now()
  const { requestId } = c.var
  const change = { caller, eventId: newId('event', now, caller.region), requestId, now }
  c.set('change', change)
  return change
}
