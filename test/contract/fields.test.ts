import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { AllowedIps } from '../../src/contract/fields.ts'
import { describeIssue } from '../../src/contract/rules.ts'

const messages = (input: unknown) =>
  (v.safeParse(AllowedIps, input, { abortPipeEarly: true }).issues ?? []).map((issue) => describeIssue(issue).message)

describe('allowed IP ranges in a request', () => {
  test('IP ranges are converted to their canonical form, and a range in two notations is kept once', () =>
    expect(v.parse(AllowedIps, ['203.0.113.7/32', '::ffff:203.0.113.7', '2001:DB8::/32'])).toEqual([
      '203.0.113.7',
      '2001:db8::/32',
    ]))

  test('the error for each invalid IP range has its position in the list and the rule that it breaks', () =>
    expect(messages(['203.0.113.7', '203.0.113.07', '203.0.113.7/24'])).toEqual([
      '1 must be an IPv4 or IPv6 address or CIDR range: 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.',
      '2 must be zero after the prefix: 203.0.113.0/24, not 203.0.113.7/24.',
    ]))

  test('an empty list of IP ranges is refused, because it could mean every IP address or none', () =>
    expect(messages([])).toEqual([
      'The body must have at least one IP range. Leave it out, or use null, to allow every address.',
    ]))

  test('a list of 51 IP ranges is refused, and a list of 50 is accepted', () => {
    const ranges = Array.from({ length: 51 }, (_, i) => `203.0.113.${i}`)
    expect(messages(ranges.slice(1))).toEqual([])
    expect(messages(ranges)).toEqual(['The body must have at most 50 IP ranges.'])
  })
})
