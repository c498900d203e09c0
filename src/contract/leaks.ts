import * as v from 'valibot'
import { withoutCredential } from './fields.ts'
import { rule } from './rules.ts'

/** Schemas of leak reports: a single report in Oncekey's format, or an array in GitHub's format. */

/** A source must be a URL. The dashboard shows it, so an unauthenticated reporter must not choose arbitrary text. */
const SOURCE = /^https?:\/\/[\x21-\x7e]{1,1000}$/
const Source = v.pipe(v.string(), v.regex(SOURCE, rule('malformed_source')), withoutCredential)

/** A report in Oncekey's format. Unknown members are ignored and not stored. */
export const ReportLeak = v.object({ credential: v.string(), source: v.nullish(Source) })

/** A report from GitHub's secret scanning partner program. Its members `type` and `source` are not used. */
const GitHubReport = v.object({ token: v.string(), url: v.optional(v.unknown()) })
export const ReportGitHubLeaks = v.array(GitHubReport)

/** The response. It is the same for every report. */
export const AcceptedLeak = v.strictObject({ status: v.literal('accepted') })

/** Returns the URL of a report from GitHub; null if it is invalid. An invalid URL does not make the report invalid. */
export function sourceOf(url: unknown): string | null {
  const source = v.safeParse(Source, url)
  return source.success ? source.output : null
}
