import * as v from 'valibot'
import { containsCredential } from '../credential/credential.ts'
import { readAddress, readRange } from '../credential/ip-ranges.ts'
import { type Rule, rule } from './rules.ts'

/** Schemas of fields and parameters that several objects share. */

const isAtMost = (most: number) => (text: string) => text.length <= 2 * most && [...text].length <= most
export const wellFormed = v.check((text: string) => text.isWellFormed(), rule('malformed_unicode'))

/**
 * Matches invisible characters. Some of them reverse the text that follows (U+202E), and others make different names
 * look the same (U+200B). Zero-width joiners, which some scripts and emoji need, are allowed, but not next to Latin or
 * ASCII characters, and not at the start or end.
 */
const INVISIBLE =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]|(?:^|[\p{sc=Latin}\p{ASCII}])[\u200c\u200d]|[\u200c\u200d](?:[\p{sc=Latin}\p{ASCII}]|$)/u
export const visible = v.check((text: string) => !INVISIBLE.test(text), rule('invisible_character'))

/**
 * Refuses text with a credential, such as a secret that was pasted into the wrong field. Otherwise the credential would
 * be stored, and every caller with read access could see it.
 */
export const withoutCredential = v.check((text: string) => !containsCredential(text), rule('contains_credential'))

/** Limits a text to `most` code points. */
export const textUpTo = (most: number, tooLong: Rule) => v.check(isAtMost(most), rule(tooLong))

const nameUpTo = (most: number, tooLong: Rule) =>
  v.pipe(
    v.string(),
    textUpTo(most, tooLong),
    v.check((name) => name.trim() !== '', rule('blank')),
    v.check((name) => !/\p{Cc}/u.test(name), rule('control_character')),
    visible,
    wellFormed,
    withoutCredential,
  )

/** The name of an application, an environment or an API key. */
export const Name = nameUpTo(255, 'name_too_long')

/**
 * The email address of a person, at most 254 characters (RFC 5321 §4.5.3.1.3). It is only displayed. No email is sent
 * to it.
 */
export const Person = v.pipe(nameUpTo(254, 'name_too_long'), v.includes('@'))

export const SecretName = nameUpTo(100, 'secret_name_too_long')

/**
 * The ID of an organization. Organizations exist only in another system, so Oncekey checks the format of an ID, but not
 * its existence.
 */
export const OrganizationId = v.pipe(
  v.string(),
  v.regex(/^org_[A-Za-z0-9_]{1,64}$/, rule('malformed_organization_id')),
  withoutCredential,
)

/** The IPv4 or IPv6 address of a client. */
export const IpAddress = v.pipe(
  v.string(),
  v.check((text) => readAddress(text) !== null, rule('malformed_ip_address')),
)

const IpRange = v.pipe(
  v.string(),
  v.check((text) => readRange(text) !== 'malformed', rule('malformed_ip_range')),
  v.check((text) => readRange(text) !== 'bits_after_prefix', rule('bits_after_prefix')),
  v.transform((text) => {
    const range = readRange(text)
    return typeof range === 'string' ? text : range.text
  }),
)

/** The IP ranges from which a credential may be used, in canonical form. Null allows every IP address. */
export const AllowedIps = v.pipe(
  v.array(IpRange),
  v.minLength(1, rule('no_ip_range')),
  v.maxLength(50, rule('too_many_ip_ranges')),
  v.transform((ranges) => [...new Set(ranges)]),
)

/** An RFC 3339 timestamp (§5.6). As its notes allow, T and Z may be lower case, and a space may replace the T. */
const TIME =
  /^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

/**
 * Returns Unix milliseconds. Returns null for malformed timestamps, and for leap seconds, which Unix time cannot
 * represent.
 */
function parseTime(text: string): number | null {
  const [, day = '', time, fraction = '', zone = ''] = TIME.exec(text) ?? []
  // `Date` would parse 30 February as a day in March.
  if (new Date(`${day}T00:00:00Z`).toJSON()?.slice(0, 10) !== day) return null
  const parsed = Date.parse(`${day}T${time}.${fraction.slice(0, 3).padEnd(3, '0')}${zone.toUpperCase()}`)
  return Number.isNaN(parsed) || parsed >= Date.UTC(10_000, 0) ? null : parsed
}

/** A time in a request, as Unix milliseconds. */
export const Time = v.pipe(
  v.string(),
  v.check((text) => parseTime(text) !== null, rule('malformed_time')),
  v.transform((text) => Number(parseTime(text))),
)

/** A time in a response. */
export const Timestamp = v.pipe(v.string(), v.isoTimestamp())

/** A parsed query string. A repeated parameter is an array. */
export const Query = v.record(v.string(), v.union([v.string(), v.array(v.string())]))

/** Returns a list parameter, which may be repeated or comma-separated. Returns undefined if it is absent or empty. */
export function listParameter(query: Record<string, string | string[]>, name: string): string[] | undefined {
  const values = [query[name] ?? []].flat().filter((value) => value !== '')
  return values.length === 0 ? undefined : values.flatMap((list) => list.split(','))
}

export const once = v.string(rule('repeated_parameter'))

/** Maximum number of objects on a page. */
export const Limit = v.optional(
  v.pipe(once, v.regex(/^([1-9]\d?|100)$/, rule('limit_out_of_range')), v.transform(Number)),
  '10',
)

export const Order = v.picklist(['asc', 'desc', 'normal'], rule('unknown_order'))

/** Returns true unless the query has both cursors. A page is either before or after an object. */
export function hasOneCursor({ before, after }: { before?: string | undefined; after?: string | undefined }): boolean {
  return before === undefined || after === undefined
}

/** The cursors of the neighbouring pages; null if there is no such page. */
export const ListMetadata = v.strictObject({ before: v.nullable(v.string()), after: v.nullable(v.string()) })
