import { oauthProvider } from '@better-auth/oauth-provider'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { jwt } from 'better-auth/plugins'
import { counted } from './counted.ts'

// Better Auth with its OAuth provider, set up as https://better-auth.com/docs/plugins/oauth-provider says: an API around
// adminCreateOAuthClient creates clients, and a token with a resource is a JWT. Off is what would slow it down: its rate
// limits, and the link of each client to each resource.

let auth
const sent = []
const onRequest = () => (statements) => sent.push({ statements, isBehindAnswer: false })

function optionsOf(env, database) {
  return {
    baseURL: env.BASE_URL,
    secret: env.SECRET,
    database,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    disabledPaths: ['/token'],
    plugins: [
      jwt({ jwks: { keyPairConfig: { alg: 'RS256', modulusLength: 2048 } } }),
      oauthProvider({
        loginPage: '/sign-in',
        consentPage: '/consent',
        scopes: ['reports:read', 'reports:write'],
        resources: [{ identifier: env.RESOURCE }],
        enforcePerClientResources: false,
        clientPrivileges: () => true,
      }),
    ],
  }
}

async function migrate(env) {
  const { runMigrations } = await getMigrations(optionsOf(env, env.DB))
  await runMigrations()
  return new Response(null, { status: 204 })
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url)
    if (pathname === '/bench/migrate') return migrate(env)
    if (pathname === '/bench/sent') return Response.json(sent.splice(0))
    auth ??= betterAuth(optionsOf(env, env.IS_COUNTED ? counted(env.DB, onRequest) : env.DB))
    if (pathname !== '/clients') return auth.handler(request)
    const { headers } = request
    return auth.api.adminCreateOAuthClient({ headers, body: await request.json(), asResponse: true })
  },
}
