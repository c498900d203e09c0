import * as v from 'valibot'
import * as schemas from '../../contract/oauth.ts'
import { RegionState } from '../../contract/rules.ts'
import type { Group } from './operation.ts'

const clientSecretPost = { client_id: v.optional(v.string()), client_secret: v.optional(v.string()) }

export const oauth: Group = {
  name: 'OAuth',
  description: 'Applications and resource servers call these endpoints. Parameters are form-encoded.',
  errorStyle: 'oauth',
  schemas: {
    TokenRequest: v.object({
      grant_type: v.literal('client_credentials'),
      scope: v.optional(v.string()),
      ...clientSecretPost,
    }),
    TokenResponse: schemas.TokenResponse,
    IntrospectionRequest: v.object({ token: v.string(), token_type_hint: v.optional(v.string()), ...clientSecretPost }),
    Introspection: schemas.Introspection,
    PublishedKeys: schemas.PublishedKeys,
    ServerMetadata: schemas.ServerMetadata,
    OpenIdConfiguration: schemas.OpenIdConfiguration,
    OAuthError: schemas.OAuthError,
  },
  routes: {
    'POST /oauth2/token': {
      id: 'issueAccessToken',
      summary: 'Get an access token',
      description:
        'The client credentials grant (RFC 6749 §4.4), for `m2m` applications. The scopes `openid`, `profile`, `email` and `offline_access` are dropped silently if the application does not have them. A token without scopes has no `scope` claim: resource servers must treat it as a token that allows nothing.',
      caller: 'client',
      form: 'TokenRequest',
      success: { status: 200, description: 'The access token.', schema: 'TokenResponse' },
      errors: ['unsupported_grant_type', 'unauthorized_client', 'invalid_scope'],
    },
    'POST /oauth2/introspection': {
      id: 'introspectAccessToken',
      summary: 'Introspect an access token',
      description:
        'RFC 7662. An application can introspect its own tokens; a first-party application can introspect every token of its environment. Every other token, and every expired or revoked one, gives `{"active": false}`.',
      caller: 'client',
      form: 'IntrospectionRequest',
      success: { status: 200, description: 'The claims of an active token.', schema: 'Introspection' },
    },
    'GET /oauth2/jwks': {
      id: 'getSigningKeys',
      summary: 'Get the public signing keys',
      description: 'The keys that verify access tokens, as a JWK Set (RFC 7517 §5). Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The public keys.', schema: 'PublishedKeys' },
    },
    'GET /sso/jwks/{client_id}': {
      id: 'getSigningKeysOfClient',
      summary: 'Get the public signing keys, where WorkOS SDKs look',
      description: 'The same keys as `/oauth2/jwks`, for any client ID. Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The public keys.', schema: 'PublishedKeys' },
    },
    'GET /.well-known/oauth-authorization-server': {
      id: 'getServerMetadata',
      summary: 'Get the authorization server metadata',
      description: 'RFC 8414. Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The metadata.', schema: 'ServerMetadata' },
    },
    'GET /.well-known/openid-configuration': {
      id: 'getOpenIdConfiguration',
      summary: 'Get the OpenID configuration',
      description:
        'OpenID Connect Discovery, for libraries that look there. There is no authorization endpoint. Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The metadata.', schema: 'OpenIdConfiguration' },
    },
  },
}

export const service: Group = {
  name: 'Service',
  description: 'Health checks and documentation, without authentication.',
  errorStyle: 'api',
  schemas: {
    Health: v.strictObject({ status: v.literal('ok'), version: v.string() }),
    Readiness: v.strictObject({
      ...{ status: v.literal('ok'), version: v.string(), version_id: v.string() },
      regions: v.optional(v.array(RegionState)),
    }),
  },
  routes: {
    'GET /healthz': {
      id: 'getHealth',
      summary: 'Liveness check',
      description: 'Reports that the Worker runs, without a database request.',
      caller: 'public',
      success: { status: 200, description: 'The Worker runs.', schema: 'Health' },
    },
    'GET /readyz': {
      id: 'getReadiness',
      summary: 'Readiness check',
      description:
        'Reports whether the database of every region responds and has the schema of this version. Each answer is kept for five seconds.',
      caller: 'public',
      success: { status: 200, description: 'The Worker can serve requests.', schema: 'Readiness' },
      errors: ['service_unavailable'],
    },
    'GET /openapi.json': {
      id: 'getOpenApi',
      summary: 'OpenAPI document',
      description: 'This API in OpenAPI 3.1. Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The document.', schema: 'OpenApi' },
    },
    'GET /docs.md': {
      id: 'getMarkdown',
      summary: 'API reference as Markdown',
      description: 'This reference as one Markdown file. Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The reference.', schema: 'markdown' },
    },
    'GET /llms.txt': {
      id: 'getIndex',
      summary: 'Index for language models',
      description:
        'An index of the documentation, with a line about each part (llmstxt.org). Cacheable for five minutes.',
      caller: 'public',
      success: { status: 200, description: 'The index.', schema: 'text' },
    },
    'GET /docs': {
      id: 'getReference',
      summary: 'API reference',
      description: 'This API as a page.',
      caller: 'public',
      success: { status: 200, description: 'The page.', schema: 'html' },
    },
    'GET /': {
      id: 'getStart',
      summary: 'Start page',
      description: 'Links to the dashboard, the API reference and the public documents.',
      caller: 'public',
      success: { status: 200, description: 'The page.', schema: 'html' },
    },
  },
}
