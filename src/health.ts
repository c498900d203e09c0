import { type Context, Hono } from 'hono'
import type { InferOutput } from 'valibot'
import { version } from '../package.json'
import type { RegionState } from './contract/rules.ts'
import type { HonoEnv } from './http/context.ts'
import { ApiError, asApiError } from './http/errors.ts'
import { logError } from './http/log.ts'
import { openRegion } from './http/region.ts'
import { issuer, readSettings, SettingsError } from './http/settings.ts'
import { signingKeys } from './oauth/signing-keys.ts'
import type { Database } from './storage/database.ts'
import { requireCurrentSchema } from './storage/migrations.ts'
import type { Region } from './storage/regions.ts'

/**
 * How long an isolate caches the readiness of a database. /readyz needs no authentication, so its calls must cause few
 * D1 requests.
 */
const MEMORY_MS = 5_000

/** The cached readiness of each database. Failures are cached too. */
const answers = new WeakMap<D1Database, { readonly until: number; readonly error: Error | null }>()

export const health = new Hono<HonoEnv>()

  /** Liveness: responds with 200 if the Worker runs. */
  .get('/healthz', (c) => c.json({ status: 'ok', version }))

  /** Readiness: checks the settings, the issuer, the signing keys, and the schema of each database. */
  .get('/readyz', async (c) => {
    try {
      issuer(c.env)
      await signingKeys(c.env)
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error
      throw new ApiError('service_unavailable', { message: error.message, retryAfter: 60 })
    }
    const regions = readSettings(c.env).REGIONS
    const errors = await Promise.all(regions.map((region) => errorOf(openRegion(c, region))))
    const error = errors.find((error) => error !== null)
    const several = regions.length > 1 && { regions: regions.map((region, i) => stateOf(c, region, errors[i])) }
    if (!error) return c.json({ ...{ status: 'ok', version, version_id: c.env.CF_VERSION_METADATA.id }, ...several })
    if (!several) throw error
    for (const each of errors) if (each) logError(c, 'service_unavailable', each)
    const { details } = asApiError(error, c)
    const { digit, binding } = regions[errors.indexOf(error)] as Region
    const message = `Region ${digit} (${binding}): ${details.message}`
    throw new ApiError('service_unavailable', { ...details, ...several, message })
  })

/** Returns the state of a region for the response. */
function stateOf(
  c: Context<HonoEnv>,
  { digit, binding }: Region,
  error: Error | null | undefined,
): InferOutput<typeof RegionState> {
  if (!error) return { region: digit, binding, status: 'ok' }
  return { region: digit, binding, status: 'unavailable', message: asApiError(error, c).details.message }
}

/** Returns the error of a region, or null if the region is ready. The result is cached for MEMORY_MS. */
async function errorOf(database: Database): Promise<Error | null> {
  const known = answers.get(database.binding)
  if (known && Date.now() < known.until) return known.error
  const error = await requireCurrentSchema(database).then(
    () => null,
    (reason: Error) => reason,
  )
  answers.set(database.binding, { until: Date.now() + MEMORY_MS, error })
  return error
}
