const POLYNOMIAL = 0xedb88320

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1
  }
  return remainder
})

/** CRC-32 (ISO-HDLC, the one of zlib and PNG) as four big-endian bytes. Catches typing errors; it is no defence. */
export function crc32(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  let remainder = 0xffffffff
  for (const byte of bytes) {
    remainder = (remainder >>> 8) ^ (TABLE[(remainder ^ byte) & 0xff] as number)
  }
  const checksum = new Uint8Array(4)
  new DataView(checksum.buffer).setUint32(0, ~remainder >>> 0)
  return checksum
}
