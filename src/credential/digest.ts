export type Bytes = Uint8Array<ArrayBuffer>

const encoder = new TextEncoder()

export function utf8(text: string): Bytes {
  return encoder.encode(text) as Bytes
}

/**
 * SHA-256. It is stored in place of a credential, whose 256 random bits cannot be searched: a fast hash is enough
 * (OWASP ASVS 5.0 §6.5.2, NIST SP 800-63B §5.1.1.2).
 */
export async function sha256(data: string | Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', typeof data === 'string' ? utf8(data) : data))
}

/**
 * SHA-256 of parts, each after its length (32-bit big-endian), so that two lists of parts never have the same bytes.
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
 * True if two byte strings are equal. Use it only for digests that the caller can compute: its timing depends on the
 * bytes.
 */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Writes bytes as lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte]
  return text
}
