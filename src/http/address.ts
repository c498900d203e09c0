/**
 * The prefix by which an address is counted. One customer has at least a /64 of IPv6 (RFC 6177), so that its addresses count as one; an
 * IPv4-mapped address counts as the IPv4 address in it (RFC 4291 §2.5.5.2).
 */
export function networkOf(address: string): string {
  const groups = groupsOf(address)
  return typeof groups === 'string' ? groups : `${groups.slice(0, 4).join(':')}::/64`
}

/** The prefix that is stored with the use of a secret: enough to tell a network, too little to tell a machine. */
export function siteOf(address: string): string {
  const groups = groupsOf(address)
  return typeof groups === 'string' ? groups.replace(/\d+$/, '0/24') : `${groups.slice(0, 3).join(':')}::/48`
}

/** The eight groups of an IPv6 address; an IPv4 address as it is. */
function groupsOf(address: string): string | string[] {
  if (!address.includes(':')) return address
  // The URL parser gives the canonical form: lower case, at most one `::`, and IPv4 in hexadecimal.
  const [head = '', tail] = (URL.parse(`http://[${address}]`)?.hostname.slice(1, -1) ?? '').split('::')
  const before = head.split(':').filter(Boolean)
  const after = (tail ?? '').split(':').filter(Boolean)
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
  if (groups.slice(0, 6).join() !== '0,0,0,0,0,ffff') return groups
  const bytes = groups.slice(6).flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255])
  return bytes.join('.')
}
