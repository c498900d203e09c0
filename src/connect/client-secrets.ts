import type { Context } from 'hono'
import { Hono } from 'hono'
import * as schemas from '../contract/client-secrets.ts'
import { SecretQuery } from '../contract/inventory.ts'
import {
  applicationToWire,
  clientSecretToWire,
  cursorParameter,
  listedSecretToWire,
  listToWire,
  pageFromWire,
  secretFilterFromWire,
} from '../contract/wire.ts'
import { type IssuedCredential, issueCredential, recogniseCredential } from '../credential/credential.ts'
import { deriveEntropy } from '../credential/derivation.ts'
import { type Bytes, sameBytes, sha256 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { beginChange, requireApiKey } from '../http/caller.ts'
import type { ApiCaller, HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { addLogFields, originOf, useOf } from '../http/log.ts'
import { readSettings } from '../http/settings.ts'
import { countUsage } from '../http/usage.ts'
import { keyedRequest, validJson, validQuery } from '../http/validation.ts'
import { identify } from '../storage/batch.ts'
import type { Change } from '../storage/caller.ts'
import { recordRefusedUse, verifyClientSecret } from '../storage/client-authentication.ts'
import {
  findApplicationWithSecrets,
  findClientSecret,
  findClientSecretsByHint,
  revokeAllClientSecrets,
  revokeClientSecret,
  updateClientSecret,
} from '../storage/client-secrets.ts'
import type { Derivation, KeyedRequest } from '../storage/idempotency.ts'
import { listSecrets } from '../storage/inventory.ts'
import { type CreatedClientSecret, createClientSecret, rotateClientSecrets } from '../storage/issuing.ts'

export const clientSecrets = new Hono<HonoEnv>()

  .post(
    '/applications/:id/client_secrets',
    requireApiKey('secrets:write'),
    validJson(schemas.CreateClientSecret),
    async (c) => {
      const application = c.req.param('id')
      const { name = null, expires_at = null, scopes = null, allowed_ips = null } = c.req.valid('json')
      const request = await keyedRequest(c)
      const change = beginChange(c)
      const { plaintext, row } = await newClientSecret(c, change, request)
      const secret = { ...row, application, name, expiresAt: expires_at, scopes, allowedIps: allowed_ips }
      const outcome = await createClientSecret(c.get('database'), change, secret, maxSecrets(c), request)
      return answerIssued(c, granted(c, outcome, application), plaintext, row.digest, request)
    },
  )

  .post(
    '/applications/:id/client_secrets/rotate',
    requireApiKey('secrets:write'),
    validJson(schemas.RotateClientSecrets),
    async (c) => {
      const application = c.req.param('id')
      const { grace_period_seconds } = c.req.valid('json')
      const request = await keyedRequest(c)
      const change = beginChange(c)
      const { plaintext, row } = await newClientSecret(c, change, request)
      const secret = { ...row, application, name: null, expiresAt: null }
      const retireAt = change.now + grace_period_seconds * 1000
      const outcome = await rotateClientSecrets(c.get('database'), change, secret, retireAt, maxSecrets(c), request)
      return answerIssued(c, granted(c, outcome, application), plaintext, row.digest, request)
    },
  )

  .get('/applications/:id/client_secrets', requireApiKey('secrets:read'), async (c) => {
    const application = c.req.param('id')
    const { secrets } = granted(
      c,
      await findApplicationWithSecrets(c.get('database'), c.get('caller'), application, Date.now()),
      application,
    )
    return c.json(secrets.map(clientSecretToWire))
  })

  .delete('/applications/:id/client_secrets', requireApiKey('secrets:write'), async (c) => {
    const application = c.req.param('id')
    granted(c, await revokeAllClientSecrets(c.get('database'), beginChange(c), application), application)
    return c.body(null, 204)
  })

  .get('/client_secrets', requireApiKey('secrets:read'), validQuery(SecretQuery), async (c) => {
    const database = c.get('database')
    const caller = c.get('caller')
    const query = c.req.valid('query')
    if ('limit' in query) {
      const options = { ...pageFromWire(query), filter: secretFilterFromWire(query) }
      const page = granted(c, await listSecrets(database, caller, options, Date.now()), {
        field: cursorParameter(query),
      })
      return c.json(listToWire(query, page.items.map(listedSecretToWire), page))
    }
    const secrets = granted(c, await findClientSecretsByHint(database, caller, query.hint, Date.now()))
    return c.json(secrets.map((secret) => ({ ...clientSecretToWire(secret), application_id: secret.applicationId })))
  })

  .get('/client_secrets/:id', requireApiKey('secrets:read'), async (c) => {
    const id = c.req.param('id')
    return c.json(clientSecretToWire(granted(c, await findClientSecret(c.get('database'), c.get('caller'), id), id)))
  })

  .patch('/client_secrets/:id', requireApiKey('secrets:write'), validJson(schemas.UpdateClientSecret), async (c) => {
    const id = c.req.param('id')
    const { name, expires_at, disabled, scopes, allowed_ips } = c.req.valid('json')
    const changes = { name, expiresAt: expires_at, disabled, scopes, allowedIps: allowed_ips }
    const outcome = await updateClientSecret(c.get('database'), beginChange(c), { id }, changes, maxSecrets(c))
    return c.json(clientSecretToWire(granted(c, outcome, id)))
  })

  .delete('/client_secrets/:id', requireApiKey('secrets:write'), async (c) => {
    const id = c.req.param('id')
    granted(c, await revokeClientSecret(c.get('database'), beginChange(c), { id }), id)
    return c.body(null, 204)
  })

  /** Verifies a client secret that another service has received. A success counts as a use of the secret. */
  .post('/client_secrets/verify', requireApiKey('secrets:verify'), validJson(schemas.VerifyClientSecret), async (c) => {
    const database = c.get('database')
    const caller = c.get('caller')
    const input = c.req.valid('json')
    if (!recogniseCredential(input.client_secret)) {
      granted(c, await identify(database, caller, 'secrets:verify'))
      return c.json({ valid: false })
    }
    const service = originOf(c)
    // `ip_address` is the IP address of the service's client. The country and the user agent of the request belong to
    // the service itself, so they are dropped.
    const origin = input.ip_address
      ? { ...service, address: input.ip_address, country: null, userAgent: null }
      : service
    const proof = {
      digest: await sha256(input.client_secret),
      clientId: input.client_id ?? null,
      address: origin.address,
      now: Date.now(),
    }
    const verified = granted(c, await verifyClientSecret(database, caller, proof, useOf(c, origin)))
    if (verified?.refused) {
      recordRefusedUse(database, proof, verified, c.get('requestId'), origin)
      addLogFields(c, { reason: verified.refused, ...(verified.secretId && { secret_id: verified.secretId }) })
    }
    if (!verified || verified.refused) return c.json({ valid: false })
    return c.json({
      valid: true,
      client_secret: clientSecretToWire(verified.clientSecret),
      application: applicationToWire(verified.application),
    })
  })

function maxSecrets(c: Context<HonoEnv>): number {
  return readSettings(c.env).MAX_SECRETS_PER_APPLICATION
}

/**
 * Creates a client secret. With an Idempotency-Key it is derived, so that a retry can derive it again. Otherwise it is
 * random.
 */
async function newClientSecret(c: Context<HonoEnv>, change: Change, request: KeyedRequest | null) {
  const caller = c.get('caller')
  const { plaintext, digest, hint } = request
    ? await deriveClientSecret(caller, request, request)
    : await issueCredential(readSettings(c.env).CLIENT_SECRET_PREFIX, caller.region)
  return { plaintext, row: { id: newId('secret', change.now, caller.region), digest, hint } }
}

/** Derives the client secret of a request. For a retry, the salt and the prefix are those of the first attempt. */
async function deriveClientSecret(
  { apiKey, region }: ApiCaller,
  { requestDigest }: KeyedRequest,
  { salt, prefix }: Derivation,
): Promise<IssuedCredential> {
  return issueCredential(prefix, region, await deriveEntropy(apiKey, salt, requestDigest))
}

/** Responds with the created secret and its plaintext. For a retry, the plaintext is derived again. */
async function answerIssued(
  c: Context<HonoEnv>,
  created: CreatedClientSecret,
  plaintext: string,
  digest: Bytes,
  request: KeyedRequest | null,
): Promise<Response> {
  const again = request && created.replayedFrom
  const issued = again ? await deriveClientSecret(c.get('caller'), request, again) : { plaintext, digest }
  if (!sameBytes(issued.digest, created.digest))
    throw new Error('the derived client secret differs from the one created')
  if (again) c.header('Idempotent-Replayed', 'true')
  else countUsage(c, 'create', { ...c.get('identity'), applicationId: created.secret.applicationId })
  return c.json({ ...clientSecretToWire(created.secret), secret: issued.plaintext }, 201)
}
