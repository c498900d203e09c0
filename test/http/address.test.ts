import { describe, expect, test } from 'vitest'
import { networkOf, siteOf } from '../../src/http/address.ts'

describe('the network of an IP address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:db8:0:0:1::', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1', 'fe80:0:0:0::/64'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['1::ffff:192.0.2.1', '1:0:0:0::/64'],
    ['not:an:address', '0:0:0:0::/64'],
  ])('the network of %s is %s (RFC 6177, RFC 4291 §2.5.5.2)', (address, network) =>
    expect(networkOf(address)).toBe(network),
  )
})

describe('the prefix of an IP address that is stored with the use of a secret', () => {
  test.each([
    ['192.0.2.77', '192.0.2.0/24'],
    ['::ffff:192.0.2.77', '192.0.2.0/24'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
    ['2001:DB8::1', '2001:db8:0::/48'],
    ['not:an:address', '0:0:0::/48'],
  ])('the stored prefix of the IP address %s is %s', (address, site) => expect(siteOf(address)).toBe(site))
})
