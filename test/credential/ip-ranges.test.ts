import { describe, expect, test } from 'vitest'
import { addressBits, isAllowedFrom, rangesAround, readRange } from '../../src/credential/ip-ranges.ts'

const textOf = (range: ReturnType<typeof readRange>) => (typeof range === 'string' ? range : range.text)

describe('a range is stored in its canonical form', () => {
  test.each([
    ['203.0.113.7', '203.0.113.7'],
    ['203.0.113.7/32', '203.0.113.7'],
    ['203.0.113.0/24', '203.0.113.0/24'],
    ['203.0.113.128/25', '203.0.113.128/25'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:0db8:0000:0000:0000:0000:0000:0001/128', '2001:db8::1'],
    ['2001:db8::/32', '2001:db8::/32'],
    ['::/0', '::/0'],
    ['::1', '::1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::ffff:cb00:7107', '203.0.113.7'],
    ['::ffff:203.0.113.0/120', '203.0.113.0/24'],
    ['::ffff:0:0/96', '0.0.0.0/0'],
  ])('the canonical form of %s is %s', (text, canonical) => expect(textOf(readRange(text))).toBe(canonical))
})

describe('a range that two programs could read differently is refused', () => {
  test.each([
    '',
    ' 203.0.113.7',
    '203.0.113.7\n',
    '203.0.113',
    '203.0.113.7.1',
    '203.0.113.256',
    '203.0.113.-1',
    '203.0.113.07',
    '0203.0.113.7',
    '0xcb.0.113.7',
    '3405803783',
    '203.0.113.7/',
    '203.0.113.0/024',
    '203.0.113.0/+24',
    '203.0.113.0/33',
    '203.0.113.0/24/24',
    '203.0.113.0-203.0.113.9',
    '203.0.113.*',
    '203.0.113.0/255.255.255.0',
    '٢٠٣.0.113.7',
    '2001:db8::/129',
    '2001:db8::1::',
    '2001:db8:0:0:0:0:0',
    '2001:db8::12345',
    '2001:d\tb8::1',
    'fe80::1%eth0',
    'fe80::1%25eth0',
    '[2001:db8::1]',
    '::ffff:203.0.113.07',
    '::ffff:203.0.113.0/129',
    '::1]@example.com/[::',
    'example.com',
  ])('%j is refused as malformed', (text) => expect(readRange(text)).toBe('malformed'))

  test.each([
    '203.0.113.7/24',
    '203.0.113.1/31',
    '1.0.0.0/0',
    '2001:db8::1/64',
    '::1/0',
    '::ffff:203.0.113.7/120',
    '::ffff:0:0/95',
  ])('%s is refused, because it has bits after its prefix', (text) => expect(readRange(text)).toBe('bits_after_prefix'))
})

describe('the IP addresses that a range contains', () => {
  test.each([
    ['203.0.113.0/24', '203.0.113.0', true],
    ['203.0.113.0/24', '203.0.113.255', true],
    ['203.0.113.0/24', '203.0.114.0', false],
    ['203.0.113.0/24', '203.0.112.255', false],
    ['203.0.113.0/24', '::ffff:203.0.113.9', true],
    ['::ffff:203.0.113.0/120', '203.0.113.9', true],
    ['203.0.113.6/31', '203.0.113.7', true],
    ['203.0.113.6/31', '203.0.113.8', false],
    ['203.0.113.7', '203.0.113.7', true],
    ['203.0.113.7', '203.0.113.71', false],
    ['128.0.0.0/1', '255.255.255.255', true],
    ['128.0.0.0/1', '127.255.255.255', false],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '203.0.113.7', false],
    ['::/0', '::ffff:203.0.113.7', false],
    ['2001:db8::/33', '2001:db8:7fff:ffff:ffff:ffff:ffff:ffff', true],
    ['2001:db8::/33', '2001:db8:8000::', false],
    ['2001:db8::1', '2001:DB8:0:0:0:0:0:1', true],
    ['2001:db8::1', '2001:db8::11', false],
  ])('%s contains %s: %s', (range, address, contains) => expect(isAllowedFrom([range], address)).toBe(contains))

  test('a credential with several ranges works from an IP address in any of the ranges, and from no other', () => {
    const ranges = ['198.51.100.7', '2001:db8::/32']
    expect(['198.51.100.7', '2001:db8::9', '198.51.100.8'].map((address) => isAllowedFrom(ranges, address))).toEqual([
      true,
      true,
      false,
    ])
  })

  test('a credential without ranges works from everywhere, and one with ranges does not work from an unknown IP address', () => {
    expect(isAllowedFrom(null, null)).toBe(true)
    expect(
      [null, '', 'unknown', 'fe80::1%eth0'].map((address) => isAllowedFrom(['0.0.0.0/0', '::/0'], address)),
    ).toEqual([false, false, false, false])
  })
})

describe('the ranges that contain a range', () => {
  test('the ranges that contain a range are the range itself, and one for each shorter prefix', () => {
    expect(rangesAround('128.0.0.0/3')).toEqual(['128.0.0.0/3', '128.0.0.0/2', '128.0.0.0/1', '0.0.0.0/0'])
    expect(rangesAround('2000::/3')).toEqual(['2000::/3', '::/2', '::/1', '::/0'])
    const around = rangesAround('203.0.113.7')
    expect(around).toHaveLength(33)
    expect(around.slice(0, 3)).toEqual(['203.0.113.7', '203.0.113.6/31', '203.0.113.4/30'])
    expect(rangesAround('2001:db8::1')).toHaveLength(129)
  })

  test.each(['', '203.0.113.7/24'])('looking for the ranges that contain %j throws an error', (text) =>
    expect(() => rangesAround(text)).toThrow('an IP range is'),
  )
})

test('addressBits returns the IP version and the bits of an IP address, or an empty string if it is missing or malformed', () => {
  expect(addressBits('192.0.2.1')).toBe(`4${'11000000'}${'00000000'}${'00000010'}${'00000001'}`)
  expect(addressBits('::ffff:192.0.2.1')).toBe(addressBits('192.0.2.1'))
  expect(addressBits('8000::1')).toBe(`61${'0'.repeat(126)}1`)
  for (const none of [null, undefined, '', 'unknown']) expect(addressBits(none)).toBe('')
})
