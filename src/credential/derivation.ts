import { type Bytes, sha256OfParts, utf8 } from './digest.ts'

/**
 * SDKs retry a create whose response was lost, and must get the same secret, which is not stored. So the secret is derived:
 * HKDF-SHA-256 (RFC 5869) of the caller's API key, a random salt that is kept for the hour of the replay window, and the
 * request. The database does not lead to the secret without the API key, of which it has only the digest.
 */
const INFO = utf8('client secret v1')

/** 32 random bytes, stored with the record of a request that has an Idempotency-Key. */
export function newSalt(): Bytes {
  return crypto.getRandomValues(new Uint8Array(32))
}

/** Derives the 32 bytes of a client secret. The API key has 256 bits of entropy, so HKDF needs no stretching before it. */
export async function deriveEntropy(apiKey: string, salt: Bytes, requestDigest: Bytes): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', utf8(apiKey), 'HKDF', false, ['deriveBits'])
  const info = new Uint8Array([...INFO, ...requestDigest])
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, 256))
}

/** Identifies one Idempotency-Key of one API key. */
export function idempotencyDigest(apiKeyDigest: Bytes, idempotencyKey: string): Promise<Bytes> {
  return sha256OfParts(apiKeyDigest, idempotencyKey)
}

/**
 * Identifies a request: under one Idempotency-Key the same one is a retry, and another one is a mistake. `path` has IDs as
 * the caller sent them; `body` is canonical JSON.
 */
export function requestDigest(method: string, path: string, body: string): Promise<Bytes> {
  return sha256OfParts(method, path, body)
}
