export type Bytes = Uint8Array<ArrayBuffer>

const encoder = new TextEncoder()

export function utf8(text: string): Bytes {
  return encoder.encode(text) as Bytes
}

/**
 * Returns the SHA-256 digest. The database stores it instead of a credential. A fast hash is enough, because a
 * credential has 256 random bits and cannot be guessed (OWASP ASVS 5.0 §6.5.2, NIST SP 800-63B §5.1.1.2).
 */
export async function sha256(data: string | Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', typeof data === 'string' ? utf8(data) : data))
}

/**
 * Returns the SHA-256 digest of several parts. Each part follows its length (32-bit big-endian), so that different
 * lists of parts never have the same bytes.
 */
export async function sha256OfParts(...parts: (string | Bytes)[]): Promise<Bytes> {
  const framed = parts.map((part) => (typeof part === 'string' ? utf8(part) : part))
  const bytes = new Uint8Array(framed.reduce((total, part) => total + 4 + part.length, 0))
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const part of framed) {
    view.setUint32(offset, part.length)
    bytes.set(part, offset + 4)
    offset += 4 + part.length
  }
  return sha256(bytes)
}

/**
 * Compares two byte strings. The comparison is not in constant time, so use it only for digests that the caller can
 * compute.
 */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Encodes bytes as lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte]
  return text
}
