import * as v from 'valibot'
import { withoutCredential } from './fields.ts'
import { rule } from './rules.ts'

/** Reports of leaked credentials: one in Oncekey's own format, or many in GitHub's. */

/** A source is shown in the dashboard, so that it must be a URL and not a text of the reporter. */
const SOURCE = /^https?:\/\/[\x21-\x7e]{1,1000}$/
const Source = v.pipe(v.string(), v.regex(SOURCE, rule('malformed_source')), withoutCredential)

/** Unknown members are ignored, and nothing of them is stored. */
export const ReportLeak = v.object({ credential: v.string(), source: v.nullish(Source) })

/** A report of GitHub's secret scanning partner program. `type` and `source` are not used. */
const GitHubReport = v.object({ token: v.string(), url: v.optional(v.unknown()) })
export const ReportGitHubLeaks = v.array(GitHubReport)

/** The same for every report. */
export const AcceptedLeak = v.strictObject({ status: v.literal('accepted') })

/** The source that is kept of a report of GitHub's. A URL that can't be kept makes no report invalid. */
export function sourceOf(url: unknown): string | null {
  const source = v.safeParse(Source, url)
  return source.success ? source.output : null
}
