import { type Bytes, sha256OfParts, utf8 } from './digest.ts'

/**
 * A create whose reply was lost is sent again by the SDKs, and must then be answered with the same secret, which nobody
 * has kept. So it is derived: HKDF-SHA-256 (RFC 5869) of the caller's API key, a random salt that is kept for the hour
 * of the replay window, and the request. Nothing at rest leads to it without the API key, which is not at rest.
 */
const INFO = utf8('client secret v1')

/** Kept in the database beside the record of a keyed request. 32 random bytes. */
export function newSalt(): Bytes {
  return crypto.getRandomValues(new Uint8Array(32))
}

/** Derives the 32 bytes of a client secret. The API key has 256 bits of entropy, as HKDF wants of its input. */
export async function deriveEntropy(apiKey: string, salt: Bytes, requestDigest: Bytes): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', utf8(apiKey), 'HKDF', false, ['deriveBits'])
  const info = new Uint8Array([...INFO, ...requestDigest])
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, 256))
}

/** Names one Idempotency-Key of one API key, and no other's. */
export function idempotencyDigest(apiKeyDigest: Bytes, idempotencyKey: string): Promise<Bytes> {
  return sha256OfParts(apiKeyDigest, idempotencyKey)
}

/**
 * Names one request: the same under one Idempotency-Key is a retry, another is a mistake. The path has ids as the caller
 * gave them; `body` is canonical JSON.
 */
export function requestDigest(method: string, path: string, body: string): Promise<Bytes> {
  return sha256OfParts(method, path, body)
}
