const POLYNOMIAL = 0xedb88320

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1
  }
  return remainder
})

/** Returns the CRC-32 of an ASCII text (ISO-HDLC, as in zlib and PNG). It detects typing errors, not attacks. */
export function crc32(text: string): number {
  let remainder = 0xffffffff
  for (let i = 0; i < text.length; i++) {
    remainder = (remainder >>> 8) ^ (TABLE[(remainder ^ text.charCodeAt(i)) & 0xff] as number)
  }
  return ~remainder >>> 0
}
