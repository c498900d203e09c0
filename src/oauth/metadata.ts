import type { Context } from 'hono'
import { Hono } from 'hono'
import type * as v from 'valibot'
import type { OpenIdConfiguration, ServerMetadata } from '../contract/oauth.ts'
import { cacheable } from '../http/caching.ts'
import type { HonoEnv } from '../http/context.ts'
import { issuer } from './issuer.ts'
import { publishedAt, signingKeys } from './signing-keys.ts'

/** The public documents that clients and resource servers configure themselves by. None needs the database. */
export const metadata = new Hono<HonoEnv>()
  .get('/.well-known/oauth-authorization-server', cacheable, (c) => c.json(serverMetadata(c.env)))
  .get('/.well-known/openid-configuration', cacheable, async (c) => c.json(await openIdConfiguration(c.env)))
  .get('/oauth2/jwks', cacheable, sendKeys)
  // Where WorkOS's SDKs look. All clients have the same keys, so the client ID is not read.
  .get('/sso/jwks/:client_id', cacheable, sendKeys)

async function sendKeys(c: Context<HonoEnv>) {
  return c.json(publishedAt(await signingKeys(c.env), Date.now()))
}

/** RFC 8414 §2. */
function serverMetadata(env: Env): v.InferOutput<typeof ServerMetadata> {
  const origin = issuer(env)
  const authenticationMethods = ['client_secret_basic', 'client_secret_post']
  return {
    issuer: origin,
    token_endpoint: `${origin}/oauth2/token`,
    token_endpoint_auth_methods_supported: authenticationMethods,
    introspection_endpoint: `${origin}/oauth2/introspection`,
    introspection_endpoint_auth_methods_supported: authenticationMethods,
    jwks_uri: `${origin}/oauth2/jwks`,
    grant_types_supported: ['client_credentials'],
    // Required by §2, and §3.2 forbids an empty array. `none` is OAuth 2.0 Multiple Response Types §4.
    response_types_supported: ['none'],
  }
}

/** OpenID Connect Discovery §3: the same, with the members that it requires. There is no authorization endpoint. */
async function openIdConfiguration(env: Env): Promise<v.InferOutput<typeof OpenIdConfiguration>> {
  const { keys } = publishedAt(await signingKeys(env), Date.now())
  return {
    ...serverMetadata(env),
    subject_types_supported: ['public'],
    // §3 requires RS256, and clients accept tokens only in the algorithms that are listed here.
    id_token_signing_alg_values_supported: [...new Set(['RS256', ...keys.map(({ alg }) => `${alg}`)])],
  }
}
