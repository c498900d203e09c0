import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { addLogFields, useOf } from '../http/log.ts'
import { countUsage } from '../http/usage.ts'
import { authenticateClient, touchClientSecret } from '../storage/client-authentication.ts'
import { issueAccessToken } from './access-token.ts'
import { authenticate } from './client-authentication.ts'
import { readForm } from './form.ts'
import { grantScope } from './scope.ts'

/**
 * The token endpoint (RFC 6749 §3.2) for the client credentials grant (§4.4). The client is authenticated before the
 * values of the other parameters are checked, so that only an authenticated client gets errors about these values.
 */
export const token = new Hono<HonoEnv>().post('/', async (c) => {
  // For caches that support only HTTP/1.0 (RFC 6749 §5.1).
  c.header('Pragma', 'no-cache')
  const form = await readForm(c.req.raw, 'grant_type', 'scope')
  const { client, recordUse } = await authenticate(c, form, async (database, proof) => {
    const found = await authenticateClient(database, proof)
    if (found.refused) return found
    return { ...found, recordUse: () => touchClientSecret(database, proof, found.client, useOf(c)) }
  })
  const grantType = form.get('grant_type')
  if (!grantType) throw new ApiError('invalid_request', { message: 'The parameter grant_type is missing.' })
  if (grantType !== 'client_credentials') throw new ApiError('unsupported_grant_type')
  if (client.application.applicationType !== 'm2m') throw new ApiError('unauthorized_client')
  if (client.isFrozen) {
    addLogFields(c, { reason: 'environment_frozen' })
    throw new ApiError('unauthorized_client', { message: 'The environment is frozen, so it issues no tokens.' })
  }
  const scope = grantScope(form.get('scope'), client.scopes)
  if (scope === null) throw new ApiError('invalid_scope')
  const { token, expiresIn } = await issueAccessToken(c.env, client, scope)
  recordUse()
  countUsage(c, 'token', { environmentId: client.environmentId, applicationId: client.application.id })
  return c.json({ access_token: token, token_type: 'bearer', expires_in: expiresIn, ...(scope !== '' && { scope }) })
})
