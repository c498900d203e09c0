import * as v from 'valibot'
import { CREDENTIAL_PREFIX } from '../credential/credential.ts'

/** A variable may be a number in wrangler.toml and is a string from the dashboard and `--var`. */
const wholeNumber = (least: number, most: number) =>
  v.pipe(v.unknown(), v.transform(Number), v.integer(), v.minValue(least), v.maxValue(most))

/** No setting makes an access token good for longer. */
export const LONGEST_ACCESS_TOKEN_TTL_SECONDS = 86_400

const Settings = v.object({
  CLIENT_SECRET_PREFIX: v.pipe(v.string(), v.regex(CREDENTIAL_PREFIX)),
  MAX_SECRETS_PER_APPLICATION: wholeNumber(1, 100),
  MAX_APPLICATIONS_PER_ENVIRONMENT: wholeNumber(1, 10_000_000),
  /** Milliseconds. */
  REQUEST_BUDGET_MS: wholeNumber(1_000, 30_000),
  ACCESS_TOKEN_TTL_SECONDS: wholeNumber(60, LONGEST_ACCESS_TOKEN_TTL_SECONDS),
  EVENT_RETENTION_DAYS: wholeNumber(1, 3_650),
  WEBHOOKS_TO_LOCALHOST: v.pipe(
    v.unknown(),
    v.transform((value) => String(value) === 'true'),
  ),
})

export type Settings = v.InferOutput<typeof Settings>

/** Reads the variables of wrangler.toml. Throws one that is out of its bounds, by name. */
export function readSettings(env: Env): Settings {
  const result = v.safeParse(Settings, env)
  if (result.success) return result.output
  throw new Error(`wrangler.toml: ${result.issues.map((issue) => v.getDotPath(issue)).join(', ')} out of bounds`)
}
