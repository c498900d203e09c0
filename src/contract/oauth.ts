import * as v from 'valibot'

/** The shapes of what the OAuth endpoints answer, in the standards' words. Times are NumericDates: seconds. */

/** RFC 6749 §5.1. */
export const TokenResponse = v.strictObject({
  access_token: v.string(),
  token_type: v.literal('bearer'),
  expires_in: v.pipe(v.number(), v.integer(), v.minValue(1)),
  scope: v.optional(v.string()),
})

/** The claims of an access token (RFC 9068 §2.2), and `secret_id`: the secret that obtained it. While that is good, so is the token. */
const claims = {
  iss: v.string(),
  aud: v.string(),
  sub: v.string(),
  client_id: v.string(),
  org_id: v.optional(v.string()),
  scope: v.optional(v.string()),
  jti: v.string(),
  iat: v.number(),
  exp: v.number(),
  secret_id: v.string(),
}
export const AccessTokenClaims = v.object(claims)

/** RFC 7662 §2.2. */
export const Introspection = v.variant('active', [
  v.strictObject({ active: v.literal(true), token_type: v.literal('bearer'), ...claims }),
  v.strictObject({ active: v.literal(false) }),
])

/** RFC 8414 §2. */
export const ServerMetadata = v.strictObject({
  issuer: v.string(),
  token_endpoint: v.string(),
  token_endpoint_auth_methods_supported: v.array(v.string()),
  introspection_endpoint: v.string(),
  introspection_endpoint_auth_methods_supported: v.array(v.string()),
  jwks_uri: v.string(),
  grant_types_supported: v.array(v.string()),
  response_types_supported: v.array(v.string()),
})

/** RFC 7517 §5, with public members alone. */
export const PublishedKeys = v.strictObject({
  keys: v.array(
    v.variant('kty', [
      v.strictObject({
        kty: v.literal('RSA'),
        kid: v.string(),
        alg: v.literal('RS256'),
        use: v.literal('sig'),
        n: v.string(),
        e: v.string(),
      }),
      v.strictObject({
        kty: v.literal('EC'),
        kid: v.string(),
        alg: v.literal('ES256'),
        use: v.literal('sig'),
        crv: v.literal('P-256'),
        x: v.string(),
        y: v.string(),
      }),
    ]),
  ),
})

/** RFC 6749 §5.2. */
export const OAuthError = v.strictObject({
  error: v.string(),
  error_description: v.pipe(v.string(), v.regex(/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/)),
})
