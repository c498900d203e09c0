/**
 * The IP addresses and CIDR ranges from which a credential may be used. Zone IDs, leading zeros in IPv4, and bits after
 * the prefix are refused, because programs interpret them differently. An IPv4-mapped address is treated as IPv4 (RFC
 * 4291 §2.5.5.2), so `::/0` contains every IPv6 address and no IPv4 address.
 */

const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${BYTE}(?:\\.${BYTE}){3}$`)
const IPV4_MAPPED = '0,0,0,0,0,ffff'
const MAPPED_BITS = 96

/**
 * Parses an IP address. Returns an IPv4 address unchanged, and an IPv6 address as its eight groups without leading
 * zeros. Returns null for other text.
 */
export function readAddress(text: string): string | readonly string[] | null {
  if (IPV4.test(text)) return text
  // The URL parser removes tabs and line breaks, so text with them must be refused before.
  if (!/^[\da-f:.]{2,45}$/i.test(text)) return null
  // The URL parser returns the canonical form: lower case, at most one `::`, and IPv4 in hexadecimal.
  const canonical = URL.parse(`http://[${text}]`)?.hostname.slice(1, -1)
  if (canonical === undefined) return null
  const [before = [], after = []] = canonical.split('::').map((part) => part.split(':').filter(Boolean))
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
  if (groups.slice(0, 6).join() !== IPV4_MAPPED) return groups
  const [high = 0, low = 0] = groups.slice(6).map((group) => Number.parseInt(group, 16))
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/**
 * Returns the IP version (4 or 6) followed by the bits of an IP address, as text. A range contains the address if the
 * range's prefix is a prefix of this text.
 */
function bitsOf(address: string | readonly string[]): string {
  return typeof address === 'string'
    ? `4${binary(address.split('.').map(Number), 8)}`
    : `6${binary(
        address.map((group) => Number.parseInt(group, 16)),
        16,
      )}`
}

function binary(parts: readonly number[], width: number): string {
  return parts.map((part) => part.toString(2).padStart(width, '0')).join('')
}

interface Range {
  /** The range as it is stored and shown. A single IP address has no prefix length. */
  readonly text: string
  /** A digit for the IP version, then the bits of the network, as a text of 0 and 1. */
  readonly prefix: string
}

/** Parses an IP address or a CIDR range (RFC 4632 §3.1, RFC 4291 §2.3). */
export function readRange(text: string): Range | 'malformed' | 'bits_after_prefix' {
  const [, start = '', length] = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? []
  const address = readAddress(start)
  if (address === null) return 'malformed'
  const bits = bitsOf(address)
  const width = bits.length - 1
  const isMapped = typeof address === 'string' && start.includes(':')
  const kept = length === undefined ? width : Number(length) - (isMapped ? MAPPED_BITS : 0)
  if (kept > width) return 'malformed'
  if (kept < 0 || bits.includes('1', 1 + kept)) return 'bits_after_prefix'
  const prefix = bits.slice(0, 1 + kept)
  return { text: textOf(prefix), prefix }
}

/** Returns the text of the range with this prefix. */
function textOf(prefix: string): string {
  const [width, step] = prefix.startsWith('4') ? [32, 8] : [128, 16]
  const bits = prefix.slice(1).padEnd(width, '0')
  const parts = Array.from({ length: width / step }, (_, i) => Number.parseInt(bits.slice(i * step, (i + 1) * step), 2))
  const address =
    width === 32
      ? parts.join('.')
      : URL.parse(`http://[${parts.map((part) => part.toString(16)).join(':')}]`)?.hostname.slice(1, -1)
  return prefix.length - 1 === width ? `${address}` : `${address}/${prefix.length - 1}`
}

/** Returns all ranges that contain a range, from the range itself to the range of all IP addresses of its version. */
export function rangesAround(text: string): string[] {
  const range = readRange(text)
  if (typeof range === 'string') throw new Error(`an IP range is ${range}`)
  return Array.from(range.prefix, (_, i) => textOf(range.prefix.slice(0, range.prefix.length - i)))
}

/**
 * Returns true if a credential with these ranges may be used from an IP address. Without ranges it may be used from
 * every IP address, even an unknown one.
 */
export function isAllowedFrom(ranges: readonly string[] | null, address: string | null): boolean {
  if (ranges === null) return true
  const bits = addressBits(address)
  return ranges.some((text) => {
    const range = readRange(text)
    return typeof range === 'object' && bits.startsWith(range.prefix)
  })
}

/**
 * Returns the version and the bits of an IP address, as `bitsOf`. Empty if the text is not an IP address, so that no
 * range matches.
 */
export function addressBits(address: string | null | undefined): string {
  const read = readAddress(address ?? '')
  return read === null ? '' : bitsOf(read)
}
