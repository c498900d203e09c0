import { createSecret } from './create.ts'
import { dashboardList } from './dashboard.ts'
import type { FloorEnv } from './env.ts'
import { introspection } from './introspection.ts'
import { listSecrets } from './list.ts'
import { keepResponse, respond } from './response.ts'
import { revokeSecret } from './revoke.ts'
import { rotateSecrets } from './rotate.ts'
import { token } from './token.ts'
import { verifySecret } from './verify.ts'

/**
 * The minimal cost of each operation: a Worker with no framework, no validation and no log. It answers the same bytes
 * over the same schema, with the one unavoidable database request or signature.
 */
export default {
  fetch(request, env) {
    const path = new URL(request.url).pathname
    if (path === '/oauth2/token') return token(path, request, env)
    if (path === '/oauth2/introspection') return introspection(path, request, env)
    if (path === '/connect/client_secrets/verify') return verifySecret(path, request, env)
    if (path === '/.well-known/oauth-authorization-server') return respond(path, 200)
    if (path === '/dashboard/applications') return dashboardList(path, request, env)
    if (path === '/bench/response') return keepResponse(request)
    if (request.method === 'DELETE') return revokeSecret(path, request, env)
    if (path.endsWith('/rotate')) return rotateSecrets(path, request, env)
    return request.method === 'GET' ? listSecrets(path, request, env) : createSecret(path, request, env)
  },
} satisfies ExportedHandler<FloorEnv>
