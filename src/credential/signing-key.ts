import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'

/** The algorithms of access tokens. RS256 is the default, because every gateway can verify it. */
export const SIGNING_ALGORITHMS = ['RS256', 'ES256'] as const
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/**
 * RSA of 2,048 bits has the strength of 112 bits (NIST SP 800-57 Part 1, table 2). In workerd a signature costs 0.7 ms
 * of CPU; with 3,072 bits it costs 2.3 ms, on every token. ES256 has the strength of 128 bits and costs 0.04 ms.
 */
const RSA_BITS = 2048

/**
 * A public key. `retired_at` is the time in Unix seconds from which the key signs no token; absent while it may sign.
 */
export interface PublishedKey extends JWK {
  readonly retired_at?: number
}

/** Makes a private JWK. Its `kid` is its thumbprint (RFC 7638), so that a key has the same name everywhere. */
export async function newSigningKey(algorithm: SigningAlgorithm): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true, modulusLength: RSA_BITS })
  const key = await exportJWK(privateKey)
  return { ...key, kid: await calculateJwkThumbprint(key), alg: algorithm, use: 'sig' }
}

/** The public members of a key. The function lists the members to keep, so that no private member gets out. */
export function publicHalf({ kty, kid, alg, n, e, crv, x, y, retired_at }: PublishedKey): PublishedKey {
  const members = { kty, kid, alg, use: 'sig', n, e, crv, x, y, retired_at }
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
