import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { useOf } from '../http/log.ts'
import { countUsage } from '../http/usage.ts'
import { authenticateIntrospection, touchClientSecret } from '../storage/client-authentication.ts'
import { readAccessToken } from './access-token.ts'
import { authenticate } from './client-authentication.ts'
import { readForm } from './form.ts'
import { remainingScope } from './scope.ts'

/**
 * The introspection endpoint (RFC 7662). A client sees its own tokens. A first-party client sees all tokens of its
 * environment. All other tokens are reported as inactive, without a reason (§2.2). The response has only those scopes
 * of the token that the application and the secret still have. A missing `token` is reported only to an authenticated
 * client.
 */
export const introspection = new Hono<HonoEnv>().post('/', async (c) => {
  c.header('Pragma', 'no-cache')
  const form = await readForm(c.req.raw, 'token', 'token_type_hint')
  const token = form.get('token')
  const { client, claims, tokenScopes, recordUse } = await authenticate(c, form, async (database, proof) => {
    const claims = token ? await readAccessToken(c.env, token) : null
    const named = claims && { secretId: claims.secret_id, clientId: claims.client_id }
    const found = await authenticateIntrospection(database, proof, named)
    if (found.refused) return found
    return { ...found, claims, recordUse: () => touchClientSecret(database, proof, found.client, useOf(c)) }
  })
  if (!token) throw new ApiError('invalid_request', { message: 'The parameter token is missing.' })
  recordUse()
  countUsage(c, 'introspection', { environmentId: client.environmentId, applicationId: client.application.id })
  const { application, audience } = client
  const isVisible = claims?.aud === audience && (application.isFirstParty || claims.client_id === application.clientId)
  if (!claims || !tokenScopes || !isVisible) return c.json({ active: false })
  return c.json({ active: true, token_type: 'bearer', ...claims, scope: remainingScope(claims.scope, tokenScopes) })
})
