// Discovers the server, gets a token by each method, and introspects it. Arguments: issuer, client ID, client secret.
import { Issuer } from 'openid-client'

const [url, client_id, client_secret] = process.argv.slice(2)
for (const document of ['openid-configuration', 'oauth-authorization-server']) {
  const issuer = await Issuer.discover(`${url}/.well-known/${document}`)
  for (const token_endpoint_auth_method of ['client_secret_basic', 'client_secret_post']) {
    const client = new issuer.Client({ client_id, client_secret, token_endpoint_auth_method })
    const { access_token } = await client.grant({ grant_type: 'client_credentials' })
    const { active } = await client.introspect(access_token)
    console.log(document, token_endpoint_auth_method, active)
  }
}
