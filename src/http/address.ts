import { readAddress } from '../credential/ip-ranges.ts'

/**
 * The prefix by which an address is counted. One customer has at least a /64 of IPv6 (RFC 6177), so that its addresses count as one; an
 * IPv4-mapped address counts as the IPv4 address in it (RFC 4291 §2.5.5.2).
 */
export function networkOf(address: string): string {
  const groups = readAddress(address) ?? NO_ADDRESS
  return typeof groups === 'string' ? groups : `${groups.slice(0, 4).join(':')}::/64`
}

/** The prefix that is stored with the use of a secret: enough to tell a network, too little to tell a machine. */
export function siteOf(address: string): string {
  const groups = readAddress(address) ?? NO_ADDRESS
  return typeof groups === 'string' ? groups.replace(/\d+$/, '0/24') : `${groups.slice(0, 3).join(':')}::/48`
}

/** Callers without an address share one count. */
const NO_ADDRESS: readonly string[] = Array<string>(8).fill('0')
