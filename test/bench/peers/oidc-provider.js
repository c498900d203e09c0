import { generateKeyPairSync } from 'node:crypto'
import { Provider } from 'oidc-provider'

// node-oidc-provider, set up as https://github.com/panva/node-oidc-provider/blob/main/docs/README.md says, over the
// in-memory adapter that comes with it. Prints its port.

const resource = process.env.RESOURCE
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const provider = new Provider('http://peer.test', {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  scopes: ['reports:read', 'reports:write'],
  ttl: { ClientCredentials: 3600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      getResourceServerInfo: () => ({
        scope: 'reports:read reports:write',
        accessTokenTTL: 3600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
      useGrantedResource: () => true,
    },
  },
})
const server = provider.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
