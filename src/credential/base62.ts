/** Digits in ASCII order, so that encoded numbers of one length sort as the numbers do. */
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Writes a number, or an unsigned big-endian integer, as exactly `length` digits, zero-padded. Throws if it does not fit. */
export function encodeBase62(value: number | Uint8Array, length: number): string {
  const quotient = typeof value === 'number' ? [value] : Array.from(value)
  let text = ''
  for (let position = 0; position < length; position++) {
    let remainder = 0
    for (let i = 0; i < quotient.length; i++) {
      const dividend = remainder * 256 + (quotient[i] as number)
      quotient[i] = Math.floor(dividend / 62)
      remainder = dividend % 62
    }
    text = DIGITS.charAt(remainder) + text
  }
  if (quotient.some((digit) => digit !== 0)) throw new RangeError(`the value does not fit ${length} base62 digits`)
  return text
}
