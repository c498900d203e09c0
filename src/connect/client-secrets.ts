import { type Context, Hono } from 'hono'
import { type IssuedCredential, issueCredential } from '../credential/credential.ts'
import { deriveEntropy } from '../credential/derivation.ts'
import { type Bytes, sameBytes } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { changeOf, requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { keyedRequest } from '../http/idempotency-key.ts'
import { readSettings } from '../http/settings.ts'
import { validJson } from '../http/validation.ts'
import { createClientSecret, listClientSecrets, revokeClientSecret } from '../storage/client-secrets.ts'
import type { KeyedRequest } from '../storage/idempotency.ts'
import * as schemas from './schemas.ts'
import { clientSecretToWire } from './wire.ts'

export const clientSecrets = new Hono<HonoEnv>()

  .post(
    '/applications/:id/client_secrets',
    requireApiKey('write'),
    validJson(schemas.CreateClientSecret),
    async (c) => {
      const { database, caller } = c.var
      const application = c.req.param('id')
      const change = changeOf(c)
      const request = await keyedRequest(c)
      const issued = await issueClientSecret(c, request)
      const created = granted(
        await createClientSecret(
          database,
          change,
          { id: newId('secret', change.now, caller.region), application, digest: issued.digest, hint: issued.hint },
          readSettings(c.env).MAX_SECRETS_PER_APPLICATION,
          request,
        ),
        application,
      )
      const { plaintext, digest } =
        request && created.replayedFrom
          ? await issueClientSecret(c, { ...request, salt: created.replayedFrom })
          : issued
      if (!sameBytes(digest, created.digest)) throw new Error('the client secret derived again is not the one created')
      if (created.replayedFrom) c.header('Idempotent-Replayed', 'true')
      return c.json({ ...clientSecretToWire(created.secret), secret: plaintext }, 201)
    },
  )

  .get('/applications/:id/client_secrets', requireApiKey('read'), async (c) => {
    const application = c.req.param('id')
    const secrets = granted(await listClientSecrets(c.var.database, c.var.caller, application, Date.now()), application)
    return c.json(secrets.map(clientSecretToWire))
  })

  .delete('/client_secrets/:id', requireApiKey('write'), async (c) => {
    const id = c.req.param('id')
    granted(await revokeClientSecret(c.var.database, changeOf(c), id), id)
    return c.body(null, 204)
  })

/** Random, unless the request may be sent again and must then lead to the same secret. */
async function issueClientSecret(c: Context<HonoEnv>, request: KeyedRequest | null): Promise<IssuedCredential> {
  const { apiKey, region } = c.var.caller
  const entropy: Bytes | undefined = request
    ? await deriveEntropy(apiKey, request.salt, request.requestDigest)
    : undefined
  return issueCredential(readSettings(c.env).CLIENT_SECRET_PREFIX, region, entropy)
}
