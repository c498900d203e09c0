import { Hono } from 'hono'
import * as schemas from '../contract/client-secrets.ts'
import { clientSecretToWire } from '../contract/wire.ts'
import { changeOf, requireApiKey } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { validJson, validQuery } from '../http/validation.ts'
import {
  findApplicationWithSecrets,
  findClientSecret,
  findClientSecretsByHint,
  revokeAllClientSecrets,
  revokeClientSecret,
  updateClientSecret,
} from '../storage/client-secrets.ts'

export const clientSecrets = new Hono<HonoEnv>()

  .get('/applications/:id/client_secrets', requireApiKey('read'), async (c) => {
    const application = c.req.param('id')
    const { secrets } = granted(
      c,
      await findApplicationWithSecrets(c.var.database, c.var.caller, application, Date.now()),
      application,
    )
    return c.json(secrets.map(clientSecretToWire))
  })

  .delete('/applications/:id/client_secrets', requireApiKey('write'), async (c) => {
    const application = c.req.param('id')
    granted(c, await revokeAllClientSecrets(c.var.database, changeOf(c), application), application)
    return c.body(null, 204)
  })

  .get('/client_secrets', requireApiKey('read'), validQuery(schemas.FindClientSecrets), async (c) => {
    const { hint } = c.req.valid('query')
    const secrets = granted(c, await findClientSecretsByHint(c.var.database, c.var.caller, hint, Date.now()))
    return c.json(secrets.map((secret) => ({ ...clientSecretToWire(secret), application_id: secret.applicationId })))
  })

  .get('/client_secrets/:id', requireApiKey('read'), async (c) => {
    const id = c.req.param('id')
    return c.json(clientSecretToWire(granted(c, await findClientSecret(c.var.database, c.var.caller, id), id)))
  })

  .patch('/client_secrets/:id', requireApiKey('write'), validJson(schemas.UpdateClientSecret), async (c) => {
    const id = c.req.param('id')
    const { name, expires_at, disabled } = c.req.valid('json')
    const changes = { name, expiresAt: typeof expires_at === 'string' ? Date.parse(expires_at) : expires_at, disabled }
    const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
    const secret = granted(c, await updateClientSecret(c.var.database, changeOf(c), id, changes, limit), id)
    return c.json(clientSecretToWire(secret))
  })

  .delete('/client_secrets/:id', requireApiKey('write'), async (c) => {
    const id = c.req.param('id')
    granted(c, await revokeClientSecret(c.var.database, changeOf(c), id), id)
    return c.body(null, 204)
  })
