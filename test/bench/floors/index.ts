import { createSecret } from './create.ts'
import { dashboardList, keepPage } from './dashboard.ts'
import { discovery } from './discovery.ts'
import type { FloorEnv } from './env.ts'
import { introspection } from './introspection.ts'
import { listSecrets } from './list.ts'
import { revokeSecret } from './revoke.ts'
import { rotateSecrets } from './rotate.ts'
import { token } from './token.ts'
import { verifySecret } from './verify.ts'

/**
 * What each operation costs at the least: a Worker with no framework, no validation, no headers and no log. It answers
 * the same bodies over the same schema, with the one unavoidable database request or signature.
 */
export default {
  fetch(request, env) {
    const path = new URL(request.url).pathname
    if (path === '/oauth2/token') return token(request, env)
    if (path === '/oauth2/introspection') return introspection(request, env)
    if (path === '/connect/client_secrets/verify') return verifySecret(request, env)
    if (path === '/.well-known/oauth-authorization-server') return discovery(env)
    if (path === '/dashboard') return request.method === 'PUT' ? keepPage(request) : dashboardList(request, env)
    if (request.method === 'DELETE') return revokeSecret(request, env, path.split('/')[3] as string)
    const [, , , application = '', , rotate] = path.split('/')
    if (rotate) return rotateSecrets(request, env, application)
    return request.method === 'GET' ? listSecrets(request, env, application) : createSecret(request, env, application)
  },
} satisfies ExportedHandler<FloorEnv>
