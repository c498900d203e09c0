import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'

/** The algorithms of access tokens. RS256 is the default, because every API gateway can verify it. */
export const SIGNING_ALGORITHMS = ['RS256', 'ES256'] as const
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/**
 * RSA with 2,048 bits has a security strength of 112 bits (NIST SP 800-57 Part 1, table 2). In workerd a signature
 * takes 0.7 ms of CPU; with 3,072 bits it would take 2.3 ms, for every token. ES256 has a strength of 128 bits and
 * takes 0.04 ms.
 */
const RSA_BITS = 2048

/**
 * A public key. `retired_at` is the time (Unix seconds) from which the key signs no tokens. It is absent while the key
 * may sign.
 */
export interface PublishedKey extends JWK {
  readonly retired_at?: number
}

/** Creates a private JWK. The `kid` is the key's thumbprint (RFC 7638), so that the key has the same ID everywhere. */
export async function newSigningKey(algorithm: SigningAlgorithm): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true, modulusLength: RSA_BITS })
  const key = await exportJWK(privateKey)
  return { ...key, kid: await calculateJwkThumbprint(key), alg: algorithm, use: 'sig' }
}

/**
 * Returns the public members of a key. It lists the members to keep, so that a private member cannot be published by
 * mistake.
 */
export function publicHalf({ kty, kid, alg, n, e, crv, x, y, retired_at }: PublishedKey): PublishedKey {
  const members = { kty, kid, alg, use: 'sig', n, e, crv, x, y, retired_at }
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
