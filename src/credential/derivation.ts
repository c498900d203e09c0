import { type Bytes, sha256OfParts, utf8 } from './digest.ts'

/**
 * SDKs retry a create whose response was lost, and must get the same secret, although it is not stored. So the secret
 * is derived with HKDF-SHA-256 (RFC 5869) from the caller's API key, a random salt and the request. The salt is stored
 * for one hour, the replay window. The database has only the digest of the API key, so the secret cannot be derived
 * from the database alone.
 */
const INFO = utf8('client secret v1')

/** Returns 32 random bytes. They are stored in the record of a request with an Idempotency-Key. */
export function newSalt(): Bytes {
  return crypto.getRandomValues(new Uint8Array(32))
}

/**
 * Derives the 32 bytes of a client secret. The API key has 256 bits of entropy, so it needs no password hashing first.
 */
export async function deriveEntropy(apiKey: string, salt: Bytes, requestDigest: Bytes): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', utf8(apiKey), 'HKDF', false, ['deriveBits'])
  const info = new Uint8Array([...INFO, ...requestDigest])
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, 256))
}

/** Returns the digest that identifies an Idempotency-Key of an API key. */
export function idempotencyDigest(apiKeyDigest: Bytes, idempotencyKey: string): Promise<Bytes> {
  return sha256OfParts(apiKeyDigest, idempotencyKey)
}

/**
 * Returns the digest of a request. If two requests have the same Idempotency-Key, the digest distinguishes a retry from
 * a different request. `path` has the IDs as the caller sent them. `body` is canonical JSON.
 */
export function requestDigest(method: string, path: string, body: string): Promise<Bytes> {
  return sha256OfParts(method, path, body)
}
