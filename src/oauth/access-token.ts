import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import * as v from 'valibot'
import { AccessTokenClaims } from '../contract/oauth.ts'
import { SIGNING_ALGORITHMS } from '../credential/signing-key.ts'
import { LONGEST_ACCESS_TOKEN_TTL_SECONDS, readSettings } from '../http/settings.ts'
import type { AuthenticatedClient } from '../storage/authentication.ts'
import { issuer } from './issuer.ts'
import { signingKeys } from './signing-keys.ts'

/** RFC 9068: what tells an access token from every other JWT. */
const TYPE = 'at+jwt'

/** How far the clocks of two machines may differ. */
const CLOCK_SKEW_SECONDS = 60

type Claims = v.InferOutput<typeof AccessTokenClaims>

/** Issues a token for what the client is and the scopes that it was granted. */
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

/** Reads a token of ours that has not expired; null for any other string. Whether its secret is still good, storage tells. */
export async function readAccessToken(env: Env, token: string): Promise<Claims | null> {
  const { verifying } = await signingKeys(env)
  const expected = { issuer: issuer(env), typ: TYPE, algorithms: [...SIGNING_ALGORITHMS] }
  try {
    const { kid } = decodeProtectedHeader(token)
    const key = verifying.get(kid ?? '')
    if (!key) return null
    const { payload } = await jwtVerify(token, key, expected)
    const claims = v.parse(AccessTokenClaims, payload)
    return isPlausible(claims) ? claims : null
  } catch {
    return null
  }
}

/** Whether a token may be one of ours by its times: a clock that was ahead makes tokens that outlive all others. */
function isPlausible({ iat, exp }: Claims): boolean {
  return iat <= Date.now() / 1000 + CLOCK_SKEW_SECONDS && exp - iat <= LONGEST_ACCESS_TOKEN_TTL_SECONDS
}
