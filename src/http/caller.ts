import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { API_KEY_PREFIX, recogniseCredential } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { identify } from '../storage/batch.ts'
import type { Access, Change } from '../storage/caller.ts'
import type { ApiCaller, HonoEnv, SessionCaller } from './context.ts'
import { databaseOf } from './database.ts'
import { type ApiError, granted } from './errors.ts'
import { refuseMalformed, withinLimits } from './rate-limits.ts'

/** RFC 6750 §2.1. Nobody's key is longer: what is, is not hashed. */
const BEARER = /^Bearer +([A-Za-z0-9_]{1,100})$/i

/**
 * Guards a route of the management API. A missing or malformed key is refused here, without a D1 request. Whether the key
 * is valid, and has the access that the route needs, the request's own batch decides.
 */
export const requireApiKey = (needs: Access) =>
  createMiddleware<HonoEnv>(async (c, next) => {
    const authorization = c.req.header('Authorization')
    const apiKey = BEARER.exec(authorization ?? '')?.[1] ?? ''
    const key = recogniseCredential(apiKey)
    const database = key?.prefix === API_KEY_PREFIX ? databaseOf(c, key.region) : null
    if (!key || !database) return refuseMalformed(c, authorization)
    const digest = await sha256(apiKey)
    c.set('caller', { kind: 'api_key', apiKey, digest, region: key.region, needs })
    c.set('database', database)
    await withinLimits(c, digest, next)
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
