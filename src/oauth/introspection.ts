import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { authenticateIntrospection } from '../storage/authentication.ts'
import { readAccessToken } from './access-token.ts'
import { authenticate } from './client-authentication.ts'
import { readForm } from './form.ts'

/**
 * Introspection (RFC 7662). An application may ask about its own tokens, a first-party one about all of its
 * environment; whatever it may not see, and whatever is not good, is inactive, with no word on why (§2.2).
 */
export const introspection = new Hono<HonoEnv>().post('/', async (c) => {
  const form = await readForm(c.req.raw, 'token', 'token_type_hint')
  const token = form.get('token')
  if (!token) throw new ApiError('invalid_request', { message: 'The parameter token is missing.' })
  const claims = await readAccessToken(c.env, token)
  const named = claims && { secretId: claims.secret_id, clientId: claims.client_id }
  const { client, isTokenLive } = await authenticate(c, form, async (database, proof) => {
    const found = await authenticateIntrospection(database, proof, named)
    return found.client && { client: found.client, isTokenLive: found.isTokenLive }
  })
  const { application, audience } = client
  const isVisible = claims?.aud === audience && (application.isFirstParty || claims.client_id === application.clientId)
  if (!claims || !isTokenLive || !isVisible) return c.json({ active: false })
  return c.json({ active: true, token_type: 'bearer', ...claims })
})
