/**
 * The networks from which a credential works: IP addresses and CIDR ranges. A range is exact: zone IDs, leading zeros in
 * IPv4, and bits after the prefix are refused, because two programs could read them differently. An IPv4-mapped address
 * is the IPv4 address in it (RFC 4291 §2.5.5.2), so that `::/0` is every IPv6 address and no IPv4 address.
 */

const BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${BYTE}(?:\\.${BYTE}){3}$`)
const IPV4_MAPPED = '0,0,0,0,0,ffff'
const MAPPED_BITS = 96

/** An IPv4 address as it is, an IPv6 address as its eight groups without leading zeros; null for anything else. */
export function readAddress(text: string): string | readonly string[] | null {
  if (IPV4.test(text)) return text
  // The URL parser removes tabs and line breaks, so that they must not reach it.
  if (!/^[\da-f:.]{2,45}$/i.test(text)) return null
  // The URL parser gives the canonical form: lower case, at most one `::`, and IPv4 in hexadecimal.
  const canonical = URL.parse(`http://[${text}]`)?.hostname.slice(1, -1)
  if (canonical === undefined) return null
  const [before = [], after = []] = canonical.split('::').map((part) => part.split(':').filter(Boolean))
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
  if (groups.slice(0, 6).join() !== IPV4_MAPPED) return groups
  const [high = 0, low = 0] = groups.slice(6).map((group) => Number.parseInt(group, 16))
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/** The bits of an address after the digit of its IP version, as text: a range that contains the address is a prefix of it. */
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
  /** The range as it is stored and shown. A single address has no prefix length. */
  readonly text: string
  /** The version and the bits of the prefix. */
  readonly prefix: string
}

/** Reads an address or a CIDR range (RFC 4632 §3.1, RFC 4291 §2.3). */
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

/** The text of a range with this prefix. */
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

/** The texts of all ranges that contain a range, from itself to every address. */
export function rangesAround(text: string): string[] {
  const range = readRange(text)
  if (typeof range === 'string') throw new Error(`an IP range is ${range}`)
  return Array.from(range.prefix, (_, i) => textOf(range.prefix.slice(0, range.prefix.length - i)))
}

/** True if a credential with these ranges works from an address: without ranges from every one, also an unknown one. */
export function isAllowedFrom(ranges: readonly string[] | null, address: string | null): boolean {
  if (ranges === null) return true
  const bits = addressBits(address)
  return ranges.some((text) => {
    const range = readRange(text)
    return typeof range === 'object' && bits.startsWith(range.prefix)
  })
}

/** The text that begins with the prefix of every range that has the address; empty for what is no address. */
export function addressBits(address: string | null | undefined): string {
  const read = readAddress(address ?? '')
  return read === null ? '' : bitsOf(read)
}
