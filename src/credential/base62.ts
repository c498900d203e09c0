/** Digits in ASCII order, so that encoded numbers of one length sort as they count. */
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BASE = 62n

/** Writes an unsigned big-endian integer as exactly `length` digits, zero-padded. Throws when it does not fit. */
export function encodeBase62(bytes: Uint8Array, length: number): string {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  let text = ''
  for (let i = 0; i < length; i++) {
    text = DIGITS.charAt(Number(value % BASE)) + text
    value /= BASE
  }
  if (value !== 0n) throw new RangeError(`${bytes.length} bytes do not fit ${length} base62 digits`)
  return text
}

/** Reads digits back into `length` big-endian bytes; null for a foreign character or a number that does not fit. */
export function decodeBase62(text: string, length: number): Uint8Array<ArrayBuffer> | null {
  let value = 0n
  for (const character of text) {
    const digit = DIGITS.indexOf(character)
    if (digit < 0) return null
    value = value * BASE + BigInt(digit)
  }
  const bytes = new Uint8Array(length)
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(value & 0xffn)
    value >>= 8n
  }
  return value === 0n ? bytes : null
}
