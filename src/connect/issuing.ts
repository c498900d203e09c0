import type { Context } from 'hono'
import { Hono } from 'hono'
import * as schemas from '../contract/client-secrets.ts'
import { clientSecretToWire } from '../contract/wire.ts'
import { type IssuedCredential, issueCredential } from '../credential/credential.ts'
import { deriveEntropy } from '../credential/derivation.ts'
import { sameBytes } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { changeOf, requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted, invalidParameter } from '../http/errors.ts'
import { keyedRequest } from '../http/idempotency-key.ts'
import { readSettings } from '../http/settings.ts'
import { validJson } from '../http/validation.ts'
import type { Change } from '../storage/caller.ts'
import type { KeyedRequest } from '../storage/idempotency.ts'
import {
  createClientSecret,
  type IssuingOutcome,
  type NewClientSecret,
  rotateClientSecrets,
} from '../storage/issuing.ts'

/** The two calls whose answer has a plaintext. */
export const issuing = new Hono<HonoEnv>()

  .post('/applications/:id/client_secrets', requireApiKey('write'), validJson(schemas.CreateClientSecret), (c) => {
    const { name, expires_at } = c.req.valid('json')
    const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
    const settings = { name: name ?? null, expiresAt: expires_at ? Date.parse(expires_at) : null }
    return issue(c, c.req.param('id'), settings, (change, secret, request) =>
      createClientSecret(c.var.database, change, secret, limit, request),
    )
  })

  .post(
    '/applications/:id/client_secrets/rotate',
    requireApiKey('write'),
    validJson(schemas.RotateClientSecrets),
    (c) => {
      const { grace_period_seconds } = c.req.valid('json')
      const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
      return issue(c, c.req.param('id'), { name: null, expiresAt: null }, (change, secret, request) =>
        rotateClientSecrets(c.var.database, change, secret, change.now + grace_period_seconds * 1000, limit, request),
      )
    },
  )

/** Issues a secret by `store`, and answers with its plaintext: this once, or again to the same request. */
async function issue(
  c: Context<HonoEnv>,
  application: string,
  settings: Pick<NewClientSecret, 'name' | 'expiresAt'>,
  store: (change: Change, secret: NewClientSecret, request: KeyedRequest | null) => Promise<IssuingOutcome>,
): Promise<Response> {
  const change = changeOf(c)
  const request = await keyedRequest(c)
  const issued = await issueClientSecret(c, request)
  const id = newId('secret', change.now, c.var.caller.region)
  const secret = { id, application, digest: issued.digest, hint: issued.hint, ...settings }
  const outcome = await store(change, secret, request)
  if ('refused' in outcome && outcome.refused === 'expires_at_past') {
    throw invalidParameter('expires_at', 'past')
  }
  const created = granted(c, outcome, application)
  const { plaintext, digest } =
    request && created.replayedFrom ? await issueClientSecret(c, { ...request, ...created.replayedFrom }) : issued
  if (!sameBytes(digest, created.digest)) throw new Error('the client secret derived again is not the one created')
  if (created.replayedFrom) c.header('Idempotent-Replayed', 'true')
  return c.json({ ...clientSecretToWire(created.secret), secret: plaintext }, 201)
}

/** Random, unless the request may be sent again and must then lead to the same secret. */
async function issueClientSecret(c: Context<HonoEnv>, request: KeyedRequest | null): Promise<IssuedCredential> {
  const { apiKey, region } = c.var.caller
  if (!request) return issueCredential(readSettings(c.env).CLIENT_SECRET_PREFIX, region)
  return issueCredential(request.prefix, region, await deriveEntropy(apiKey, request.salt, request.requestDigest))
}
