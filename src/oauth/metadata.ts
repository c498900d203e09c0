import type { Context } from 'hono'
import { Hono } from 'hono'
import { cacheable } from '../http/caching.ts'
import type { HonoEnv } from '../http/context.ts'
import { issuer } from './issuer.ts'
import { signingKeys } from './signing-keys.ts'

/** What clients and resource servers read to find their way: the same for everybody, and what is served, no more. */
export const metadata = new Hono<HonoEnv>()
  .get('/.well-known/oauth-authorization-server', cacheable, describeServer)
  .get('/.well-known/openid-configuration', cacheable, describeServer)
  .get('/oauth2/jwks', cacheable, async (c) => c.json((await signingKeys(c.env)).published))

/** RFC 8414 §2. */
function describeServer(c: Context<HonoEnv>) {
  const origin = issuer(c.env)
  const authenticationMethods = ['client_secret_basic', 'client_secret_post']
  return c.json({
    issuer: origin,
    token_endpoint: `${origin}/oauth2/token`,
    token_endpoint_auth_methods_supported: authenticationMethods,
    introspection_endpoint: `${origin}/oauth2/introspection`,
    introspection_endpoint_auth_methods_supported: authenticationMethods,
    jwks_uri: `${origin}/oauth2/jwks`,
    grant_types_supported: ['client_credentials'],
    response_types_supported: [],
  })
}
