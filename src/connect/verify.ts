import { Hono } from 'hono'
import * as schemas from '../contract/client-secrets.ts'
import { applicationToWire, clientSecretToWire } from '../contract/wire.ts'
import { recogniseCredential } from '../credential/credential.ts'
import { sha256 } from '../credential/digest.ts'
import { requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { validJson } from '../http/validation.ts'
import { verifyClientSecret } from '../storage/authentication.ts'
import { identify } from '../storage/batch.ts'

/** For programs that are shown a client secret themselves, and ask whether it is good. Counts as use. */
export const verify = new Hono<HonoEnv>().post(
  '/client_secrets/verify',
  requireApiKey('read'),
  validJson(schemas.VerifyClientSecret),
  async (c) => {
    const { database, caller } = c.var
    const input = c.req.valid('json')
    if (!recogniseCredential(input.client_secret)) {
      granted(c, await identify(database, caller, 'read'))
      return c.json({ valid: false })
    }
    const proof = { digest: await sha256(input.client_secret), clientId: input.client_id ?? null, now: Date.now() }
    const proven = granted(c, await verifyClientSecret(database, caller, proof))
    if (!proven) return c.json({ valid: false })
    return c.json({
      valid: true,
      client_secret: clientSecretToWire(proven.clientSecret),
      application: applicationToWire(proven.application),
    })
  },
)
