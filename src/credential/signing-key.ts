import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'

/** What access tokens may be signed with. RS256, unless the operator chooses: every gateway can check it. */
export const SIGNING_ALGORITHMS = ['RS256', 'ES256'] as const
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/** Makes a private JWK. Its `kid` is its thumbprint (RFC 7638), so that a key has one name wherever it stands. */
export async function newSigningKey(algorithm: SigningAlgorithm): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true, modulusLength: 2048 })
  const key = await exportJWK(privateKey)
  return { ...key, kid: await calculateJwkThumbprint(key), alg: algorithm, use: 'sig' }
}

/** What may be published of a JWK: a list of members, so that nothing private can slip through. */
export function publicHalf({ kty, kid, alg, n, e, crv, x, y }: JWK): JWK {
  const members = { kty, kid, alg, use: 'sig', n, e, crv, x, y }
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
