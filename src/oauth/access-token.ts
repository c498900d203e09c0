import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import * as v from 'valibot'
import { AccessTokenClaims } from '../contract/oauth.ts'
import { SIGNING_ALGORITHMS } from '../credential/signing-key.ts'
import { issuer, MAX_ACCESS_TOKEN_TTL_SECONDS, readSettings } from '../http/settings.ts'
import type { AuthenticatedClient } from '../storage/client-authentication.ts'
import { CLOCK_SKEW_SECONDS, signingKeys } from './signing-keys.ts'

/** The JWT type of access tokens (RFC 9068 §2.1). It distinguishes them from other JWTs. */
const TYPE = 'at+jwt'

type Claims = v.InferOutput<typeof AccessTokenClaims>

/** Issues an access token to a client. `scope` is a space-delimited list. */
export async function issueAccessToken(
  env: Env,
  { application, clientSecret, audience }: AuthenticatedClient,
  scope: string,
): Promise<{ token: string; expiresIn: number }> {
  const { privateKey, algorithm, kid } = await signingKeys(env)
  const expiresIn = readSettings(env).ACCESS_TOKEN_TTL_SECONDS
  const iat = Math.floor(Date.now() / 1000)
  const claims: Claims = {
    iss: issuer(env),
    aud: audience,
    sub: application.clientId,
    client_id: application.clientId,
    ...(application.organizationId !== null && { org_id: application.organizationId }),
    ...(scope !== '' && { scope }),
    jti: crypto.randomUUID(),
    iat,
    exp: iat + expiresIn,
    secret_id: clientSecret.id,
  }
  const token = await new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid, typ: TYPE }).sign(privateKey)
  return { token, expiresIn }
}

/**
 * Verifies an access token and returns its claims; null if it is invalid. Introspection checks in the database whether
 * the secret of the token is still active.
 */
export async function readAccessToken(env: Env, token: string): Promise<Claims | null> {
  const { verifying } = await signingKeys(env)
  const expected = { issuer: issuer(env), typ: TYPE, algorithms: [...SIGNING_ALGORITHMS] }
  try {
    const signer = verifying.get(decodeProtectedHeader(token).kid ?? '')
    if (!signer) return null
    const { payload } = await jwtVerify(token, signer.key, expected)
    const claims = v.parse(AccessTokenClaims, payload)
    return isPlausible(claims, signer.retiredAt) ? claims : null
  } catch {
    return null
  }
}

/**
 * Returns true if the issue time and the lifetime of a token are plausible. A token from a clock that was ahead is
 * refused, because it would be valid for too long. A token that was issued after the retirement of its key is refused.
 * So a stolen retired key is useless once the longest lifetime of a token has passed since the retirement.
 */
function isPlausible({ iat, exp }: Claims, retiredAt: number): boolean {
  const now = Date.now() / 1000
  return iat <= Math.min(now, retiredAt) + CLOCK_SKEW_SECONDS && exp - iat <= MAX_ACCESS_TOKEN_TTL_SECONDS
}
