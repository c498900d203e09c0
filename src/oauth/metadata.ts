import type { Context } from 'hono'
import { Hono } from 'hono'
import { openIdConfigurationOf, serverMetadataOf } from '../contract/oauth.ts'
import type { HonoEnv } from '../http/context.ts'
import { issuer } from '../http/settings.ts'
import { publishedAt, signingKeys } from './signing-keys.ts'

/**
 * Public documents with the configuration for clients and resource servers. They need no database. app.ts makes them
 * cacheable, and readable by pages of any origin.
 */
export const metadata = new Hono<HonoEnv>()
  .get('/.well-known/oauth-authorization-server', (c) => c.json(serverMetadataOf(issuer(c.env))))
  .get('/.well-known/openid-configuration', async (c) => {
    const { keys } = publishedAt(await signingKeys(c.env), Date.now())
    const algorithms = keys.map(({ alg }) => `${alg}`)
    return c.json(openIdConfigurationOf(issuer(c.env), algorithms))
  })
  .get('/oauth2/jwks', sendKeys)
  // WorkOS's SDKs request the keys at this path. All clients have the same keys, so the client ID is ignored.
  .get('/sso/jwks/:client_id', sendKeys)

async function sendKeys(c: Context<HonoEnv>) {
  return c.json(publishedAt(await signingKeys(c.env), Date.now()))
}
