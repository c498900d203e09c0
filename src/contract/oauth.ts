import * as v from 'valibot'
import { SIGNING_ALGORITHMS } from '../credential/signing-key.ts'

/** Schemas of the OAuth endpoints' responses and of the signing keys. Times are in Unix seconds. */

/** A token response (RFC 6749 §5.1). */
export const TokenResponse = v.strictObject({
  access_token: v.string(),
  token_type: v.literal('bearer'),
  expires_in: v.pipe(v.number(), v.integer(), v.minValue(1)),
  scope: v.optional(v.string()),
})

/**
 * The claims of an access token (RFC 9068 §2.2). `secret_id` is the secret that obtained the token. When that secret
 * expires, or is revoked or disabled, introspection reports the token as inactive.
 */
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

/** An introspection response (RFC 7662 §2.2). */
export const Introspection = v.variant('active', [
  v.strictObject({ active: v.literal(true), token_type: v.literal('bearer'), ...claims }),
  v.strictObject({ active: v.literal(false) }),
])

/** A non-empty array. RFC 8414 §3.2 requires that empty arrays are omitted. */
const strings = v.pipe(v.array(v.string()), v.minLength(1))

const serverMetadata = {
  issuer: v.string(),
  token_endpoint: v.string(),
  token_endpoint_auth_methods_supported: strings,
  introspection_endpoint: v.string(),
  introspection_endpoint_auth_methods_supported: strings,
  jwks_uri: v.string(),
  grant_types_supported: strings,
  response_types_supported: strings,
}

/** Authorization server metadata (RFC 8414 §2). */
export const ServerMetadata = v.strictObject(serverMetadata)

/** OpenID provider metadata (OpenID Connect Discovery 1.0 §3). */
export const OpenIdConfiguration = v.strictObject({
  ...serverMetadata,
  subject_types_supported: strings,
  id_token_signing_alg_values_supported: strings,
})

export function serverMetadataOf(issuer: string): v.InferOutput<typeof ServerMetadata> {
  const authenticationMethods = ['client_secret_basic', 'client_secret_post']
  return {
    issuer,
    token_endpoint: `${issuer}/oauth2/token`,
    token_endpoint_auth_methods_supported: authenticationMethods,
    introspection_endpoint: `${issuer}/oauth2/introspection`,
    introspection_endpoint_auth_methods_supported: authenticationMethods,
    jwks_uri: `${issuer}/oauth2/jwks`,
    grant_types_supported: ['client_credentials'],
    // RFC 8414 §2 requires this member, and §3.2 forbids an empty array. `none` is defined in OAuth 2.0 Multiple
    // Response Types §4.
    response_types_supported: ['none'],
  }
}

/**
 * Returns the metadata with the members that OpenID Connect Discovery requires. Oncekey has no authorization endpoint.
 */
export function openIdConfigurationOf(
  issuer: string,
  algorithms: readonly string[],
): v.InferOutput<typeof OpenIdConfiguration> {
  return {
    ...serverMetadataOf(issuer),
    subject_types_supported: ['public'],
    // OpenID Connect Discovery §3 requires RS256. Clients accept a token only if it is signed with a listed algorithm.
    id_token_signing_alg_values_supported: [...new Set(['RS256', ...algorithms])],
  }
}

const publishedKey = {
  kid: v.string(),
  use: v.literal('sig'),
  /** The time in Unix seconds from which the key signs no tokens; absent while the key may sign. */
  retired_at: v.optional(v.pipe(v.number(), v.integer())),
}

/** A JWK Set (RFC 7517 §5) without private members. */
export const PublishedKeys = v.strictObject({
  keys: v.array(
    v.variant('kty', [
      v.strictObject({
        ...publishedKey,
        kty: v.literal('RSA'),
        alg: v.literal('RS256'),
        n: v.string(),
        e: v.string(),
      }),
      v.strictObject({
        ...publishedKey,
        kty: v.literal('EC'),
        alg: v.literal('ES256'),
        crv: v.literal('P-256'),
        x: v.string(),
        y: v.string(),
      }),
    ]),
  ),
})

/** The Worker secret SIGNING_KEY: a private JWK as JSON. */
export const SigningKeySetting = v.pipe(
  v.string(),
  v.parseJson(),
  v.looseObject({
    kid: v.pipe(v.string(), v.nonEmpty()),
    alg: v.picklist(SIGNING_ALGORITHMS),
    kty: v.picklist(['RSA', 'EC']),
    d: v.string(),
  }),
)

/**
 * The Worker secret PUBLISHED_KEYS: a JWK Set as JSON. It has the published keys except the public key of SIGNING_KEY.
 */
export const PublishedKeysSetting = v.pipe(
  v.optional(v.string(), '{"keys":[]}'),
  v.parseJson(),
  v.object({
    keys: v.array(
      v.looseObject({
        kid: v.pipe(v.string(), v.nonEmpty()),
        alg: v.picklist(SIGNING_ALGORITHMS),
        kty: v.picklist(['RSA', 'EC']),
        retired_at: v.optional(v.pipe(v.number(), v.integer())),
      }),
    ),
  }),
)

/** An error response (RFC 6749 §5.2). */
export const OAuthError = v.strictObject({
  error: v.string(),
  error_description: v.pipe(v.string(), v.regex(/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/)),
})
