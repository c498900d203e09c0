import { decodeBase62 } from '../credential/base62.ts'

/** Encodings of bytes. Each returns the part that does not depend on the bytes around them. */
export const FORMS: Record<string, (bytes: Buffer) => Buffer> = {
  raw: (bytes) => bytes,
  hex: (bytes) => Buffer.from(bytes.toString('hex')),
  'upper-case hex': (bytes) => Buffer.from(bytes.toString('hex').toUpperCase()),
  'base64 0': (bytes) => base64(bytes, 'base64', 0),
  'base64 1': (bytes) => base64(bytes, 'base64', 1),
  'base64 2': (bytes) => base64(bytes, 'base64', 2),
  'base64url 0': (bytes) => base64(bytes, 'base64url', 0),
  'base64url 1': (bytes) => base64(bytes, 'base64url', 1),
  'base64url 2': (bytes) => base64(bytes, 'base64url', 2),
  'URL-encoded': (bytes) => urlEncoded(bytes, /[\w.~-]/),
  'URL-encoded with _': (bytes) => urlEncoded(bytes, /[0-9A-Za-z]/),
  'URL-encoded throughout': (bytes) => urlEncoded(bytes),
  'lower-case URL-encoded': (bytes) => Buffer.from(urlEncoded(bytes).toString().toLowerCase()),
  'UTF-16': (bytes) => Buffer.from(bytes.toString('latin1'), 'utf16le'),
  'UTF-16 big-endian': (bytes) => Buffer.from(bytes.toString('latin1'), 'utf16le').swap16(),
  reversed: (bytes) => Buffer.from(bytes).reverse(),
  'decimal list': (bytes) => Buffer.from(bytes.join(',')),
  'spaced decimal list': (bytes) => Buffer.from(bytes.join(', ')),
}

/** A credential as text, and the 32 random bytes in it. */
export function contentsOf(credential: string): { text: Buffer; entropy: Buffer } {
  const entropy = decodeBase62(credential.slice(-49, -6), 32)
  if (!entropy) throw new Error('not a credential')
  return { text: Buffer.from(credential), entropy: Buffer.from(entropy) }
}

/** The digits that carry only bits of `bytes`, which stand behind `shift` other bytes (mod 3). */
function base64(bytes: Buffer, encoding: 'base64' | 'base64url', shift: number): Buffer {
  const encoded = Buffer.concat([Buffer.alloc(shift), bytes, Buffer.alloc(3)]).toString(encoding)
  return Buffer.from(encoded.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6)))
}

function urlEncoded(bytes: Buffer, unreserved?: RegExp): Buffer {
  const encode = (byte: number) => {
    const character = String.fromCharCode(byte)
    return unreserved?.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return Buffer.from(Array.from(bytes, encode).join(''))
}

/** In bytes: at least 64 random bits in each form but UTF-16, which has 47. */
const WINDOW = 16
/** 2^26: room for the million windows of 10,000 credentials, so that one hash in 60 is taken. */
const FILTER_BITS = 26
const MULTIPLIER = 0x01000193

/** Finds credentials and bytes by the first, the middle or the last 16 bytes of any form. */
export class LeakScanner {
  readonly #labels = new Map<string, string>()
  readonly #filter = new Uint8Array(2 ** FILTER_BITS / 8)

  /** Adds all forms of a credential, to be reported as `label`. */
  addCredential(credential: string, label = credential): void {
    for (const bytes of Object.values(contentsOf(credential))) {
      for (const form of Object.values(FORMS)) this.addBytes(form(bytes), label)
    }
  }

  /** Adds these bytes, to be reported as `label`. */
  addBytes(bytes: Buffer, label: string): void {
    const last = bytes.length - WINDOW
    for (const start of [0, last >> 1, last]) {
      const window = bytes.subarray(start, start + WINDOW)
      this.#labels.set(window.toString('latin1'), label)
      let hash = 0
      for (const byte of window) hash = Math.imul(hash, MULTIPLIER) + byte
      const slot = hash >>> (32 - FILTER_BITS)
      this.#filter[slot >>> 3] = (this.#filter[slot >>> 3] as number) | (1 << (slot & 7))
    }
  }

  /** The labels of all that `bytes` contain. */
  scan(bytes: Buffer): Set<string> {
    const found = new Set<string>()
    const filter = this.#filter
    let outgoing = 1
    for (let i = 0; i < WINDOW; i++) outgoing = Math.imul(outgoing, MULTIPLIER)
    let hash = 0
    for (let end = 0; end < bytes.length; end++) {
      hash = (Math.imul(hash, MULTIPLIER) + (bytes[end] as number)) | 0
      if (end >= WINDOW) hash = (hash - Math.imul(outgoing, bytes[end - WINDOW] as number)) | 0
      const slot = hash >>> (32 - FILTER_BITS)
      if (((filter[slot >>> 3] as number) & (1 << (slot & 7))) === 0) continue
      const label = this.#labels.get(bytes.toString('latin1', end - WINDOW + 1, end + 1))
      if (label !== undefined) found.add(label)
    }
    return found
  }
}
