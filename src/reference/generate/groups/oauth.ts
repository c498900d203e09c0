import * as v from 'valibot'
import * as schemas from '../../../contract/oauth.ts'
import type { Group } from '../operation.ts'

const credentials = { client_id: v.optional(v.string()), client_secret: v.optional(v.string()) }

export const oauth: Group = {
  name: 'OAuth',
  description: 'What applications and resource servers call. Parameters are form-encoded, each of them once.',
  manner: 'oauth',
  schemas: {
    TokenRequest: v.object({
      grant_type: v.literal('client_credentials'),
      scope: v.optional(v.string()),
      ...credentials,
    }),
    TokenResponse: schemas.TokenResponse,
    IntrospectionRequest: v.object({ token: v.string(), token_type_hint: v.optional(v.string()), ...credentials }),
    Introspection: schemas.Introspection,
    PublishedKeys: schemas.PublishedKeys,
    ServerMetadata: schemas.ServerMetadata,
    OAuthError: schemas.OAuthError,
  },
  routes: {
    'POST /oauth2/token': {
      id: 'issueAccessToken',
      summary: 'Get an access token',
      description:
        'The client credentials grant (RFC 6749 §4.4), for `m2m` applications. `openid`, `profile`, `email` and `offline_access` are dropped from the scope where the application has them not.',
      caller: 'client',
      form: 'TokenRequest',
      success: { status: 200, description: 'The token.', schema: 'TokenResponse' },
      refusals: ['unsupported_grant_type', 'unauthorized_client', 'invalid_scope'],
    },
    'POST /oauth2/introspection': {
      id: 'introspectAccessToken',
      summary: 'Introspect an access token',
      description:
        'RFC 7662. An application sees its own tokens, a first-party one all of its environment’s. Any other token, and any that is no longer good, is `{"active": false}`.',
      caller: 'client',
      form: 'IntrospectionRequest',
      success: { status: 200, description: 'What the token says, if it is good.', schema: 'Introspection' },
    },
    'GET /oauth2/jwks': {
      id: 'getSigningKeys',
      summary: 'Get the signing keys',
      description: 'RFC 7517: what access tokens are checked with, offline. May be kept for five minutes.',
      caller: 'anybody',
      success: { status: 200, description: 'The public keys.', schema: 'PublishedKeys' },
      refusals: ['internal_error'],
    },
    'GET /.well-known/oauth-authorization-server': {
      id: 'getServerMetadata',
      summary: 'Discover the endpoints',
      description: 'RFC 8414. May be kept for five minutes.',
      caller: 'anybody',
      success: { status: 200, description: 'What is served, and no more.', schema: 'ServerMetadata' },
      refusals: ['internal_error'],
    },
    'GET /.well-known/openid-configuration': {
      id: 'getOpenIdConfiguration',
      summary: 'Discover the endpoints, as OpenID Connect does',
      description: 'The same document, where libraries for OpenID Connect look for it.',
      caller: 'anybody',
      success: { status: 200, description: 'What is served, and no more.', schema: 'ServerMetadata' },
      refusals: ['internal_error'],
    },
  },
}
