const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Reads base62 digits as `length` big-endian bytes; null for another character or a number that does not fit. */
export function decodeBase62(text: string, length: number): Uint8Array<ArrayBuffer> | null {
  let value = 0n
  for (const character of text) {
    const digit = DIGITS.indexOf(character)
    if (digit < 0) return null
    value = value * 62n + BigInt(digit)
  }
  const bytes = new Uint8Array(length)
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(value & 0xffn)
    value >>= 8n
  }
  return value === 0n ? bytes : null
}
