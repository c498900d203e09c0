import type { Context } from 'hono'
import { idempotencyDigest, newSalt, requestDigest } from '../credential/derivation.ts'
import type { KeyedRequest } from '../storage/idempotency.ts'
import { canonicalJson } from './body.ts'
import { refuse } from './caller.ts'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { readSettings } from './settings.ts'

const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/

/** The SDK for Kotlin sends a hash of the request, the same for every create on one application: ignored. */
const HASH_OF_REQUEST = /^retry-[0-9a-f]{64}$/

/** Identifies a POST by its Idempotency-Key; null if it has none. */
export async function keyedRequest(c: Context<HonoEnv>): Promise<KeyedRequest | null> {
  const key = c.req.header('Idempotency-Key')
  if (key === undefined || HASH_OF_REQUEST.test(key)) return null
  if (!VISIBLE_ASCII.test(key)) return refuse(c, new ApiError('invalid_idempotency_key'))
  return {
    digest: await idempotencyDigest(c.var.caller.digest, key),
    requestDigest: await requestDigest(c.req.method, c.req.path, canonicalJson(c.var.body)),
    salt: newSalt(),
    prefix: readSettings(c.env).CLIENT_SECRET_PREFIX,
  }
}
