import type { FloorEnv } from './env.ts'

let document: string | undefined

/** A constant. */
export function discovery({ ISSUER }: FloorEnv): Response {
  document ??= JSON.stringify({
    issuer: ISSUER,
    token_endpoint: `${ISSUER}/oauth2/token`,
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    introspection_endpoint: `${ISSUER}/oauth2/introspection`,
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    jwks_uri: `${ISSUER}/oauth2/jwks`,
    grant_types_supported: ['client_credentials'],
    response_types_supported: ['none'],
  })
  return new Response(document, { headers: { 'Content-Type': 'application/json' } })
}
