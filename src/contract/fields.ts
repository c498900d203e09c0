import * as v from 'valibot'
import { type Rule, rule } from './rules.ts'

/** Fields and parameters that several objects share. */

const isAtMost = (most: number) => (text: string) => text.length <= 2 * most && [...text].length <= most
export const wellFormed = v.check((text: string) => text.isWellFormed(), rule('malformed_unicode'))

/** `most` in code points. */
export const textUpTo = (most: number, tooLong: Rule) => v.check(isAtMost(most), rule(tooLong))

const nameUpTo = (most: number, tooLong: Rule) =>
  v.pipe(
    v.string(),
    textUpTo(most, tooLong),
    v.check((name) => name.trim() !== '', rule('blank')),
    v.check((name) => !/\p{Cc}/u.test(name), rule('control_character')),
    wellFormed,
  )

/** The name of an application, an environment or an API key. */
export const Name = nameUpTo(255, 'name_too_long')

export const SecretName = nameUpTo(100, 'secret_name_too_long')

/** Organizations are another system's objects: their form is checked, their existence is not. */
export const OrganizationId = v.pipe(v.string(), v.regex(/^org_[A-Za-z0-9_]{1,64}$/, rule('malformed_organization_id')))

/** Date moves 30 February on into March, and writes the year 10000 with six digits. */
function isOnCalendar(time: string): boolean {
  const day = time.slice(0, 'YYYY-MM-DD'.length)
  return new Date(day).toJSON()?.startsWith(day) && Date.parse(time) < Date.UTC(10_000, 0)
}

/** A time in a request. */
export const Time = v.pipe(
  v.string(),
  v.isoTimestamp(rule('malformed_time')),
  v.check(isOnCalendar, rule('malformed_time')),
)

/** A time in a response. */
export const Timestamp = v.pipe(v.string(), v.isoTimestamp())

/** A query as it arrives: a repeated parameter is an array. */
export const Query = v.record(v.string(), v.union([v.string(), v.array(v.string())]))

/**
 * A list in a query, however the SDKs write it: comma-separated, repeated, or with brackets behind its name. Undefined
 * when it is absent.
 */
export function listParameter(query: Record<string, string | string[]>, name: string): string[] | undefined {
  const isOfName = (parameter: string) => parameter.replace(/\[\d*\]$/, '') === name
  const values = Object.entries(query).flatMap(([parameter, value]) => (isOfName(parameter) ? value : []))
  return values.length === 0 ? undefined : values.flatMap((list) => list.split(','))
}

export const once = v.string(rule('repeated_parameter'))

/** How many objects a page has at most. */
export const Limit = v.optional(
  v.pipe(once, v.regex(/^([1-9]\d?|100)$/, rule('limit_out_of_range')), v.transform(Number)),
  '10',
)

export const Order = v.picklist(['asc', 'desc', 'normal'], rule('unknown_order'))

/** The two lists that are paged are alike. */
export const ListMetadata = v.strictObject({ before: v.nullable(v.string()), after: v.nullable(v.string()) })
