/** The digits are in ASCII order, so that encoded numbers of the same length sort numerically. */
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/**
 * Encodes an unsigned big-endian integer, or a 32-bit number, as exactly `length` digits, zero-padded. Throws
 * RangeError if the value does not fit.
 */
export function encodeBase62(value: number | Uint8Array, length: number): string {
  const quotient = typeof value === 'number' ? [value >>> 16, value & 0xffff] : pairsOf(value)
  let text = ''
  for (let position = 0; position < length; position++) {
    let remainder = 0
    for (let i = 0; i < quotient.length; i++) {
      const dividend = (remainder << 16) | (quotient[i] as number)
      quotient[i] = (dividend / 62) | 0
      remainder = dividend % 62
    }
    text = DIGITS.charAt(remainder) + text
  }
  if (quotient.some((digit) => digit !== 0)) throw new RangeError(`the value does not fit ${length} base62 digits`)
  return text
}

/** Splits the bytes into 16-bit digits. This halves the number of divisions, and all values stay small integers. */
function pairsOf(bytes: Uint8Array): number[] {
  const pairs: number[] = []
  for (let end = bytes.length; end > 0; end -= 2)
    pairs.unshift(((bytes[end - 2] ?? 0) << 8) | (bytes[end - 1] as number))
  return pairs
}
