import { readAddress } from '../credential/ip-ranges.ts'

/**
 * Returns the network whose failures are counted together: an IPv4 address, or the /64 of an IPv6 address, because one
 * customer has at least a /64 (RFC 6177). An IPv4-mapped address counts as its IPv4 address (RFC 4291 §2.5.5.2).
 */
export function networkOf(address: string): string {
  const groups = readAddress(address) ?? NO_ADDRESS
  return typeof groups === 'string' ? groups : `${groups.slice(0, 4).join(':')}::/64`
}

/**
 * Returns the network that is stored with the use of a secret: the /24 of an IPv4 address, or the /48 of an IPv6
 * address. This identifies a network, but not a machine.
 */
export function siteOf(address: string): string {
  const groups = readAddress(address) ?? NO_ADDRESS
  return typeof groups === 'string' ? groups.replace(/\d+$/, '0/24') : `${groups.slice(0, 3).join(':')}::/48`
}

/** Replaces an IP address that cannot be parsed. Callers with such an address share one count of failures. */
const NO_ADDRESS: readonly string[] = Array<string>(8).fill('0')
