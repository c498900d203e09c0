// Gets tokens for two resources by each method, and introspects them. Arguments: issuer, client ID, client secret.
import { OAuth2Client } from '@badgateway/oauth2-client'

const [server, clientId, clientSecret] = process.argv.slice(2)
for (const authenticationMethod of ['client_secret_basic', 'client_secret_basic_interop', 'client_secret_post']) {
  const options = { clientId, clientSecret, discoveryEndpoint: '/.well-known/oauth-authorization-server' }
  const client = new OAuth2Client({ server, authenticationMethod, ...options })
  const resource = ['https://a.example', 'https://b.example']
  const token = await client.clientCredentials({ resource })
  const { active } = await client.introspect(token)
  console.log(authenticationMethod, active)
}
