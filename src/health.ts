import { Hono } from 'hono'
import { version } from '../package.json'
import { DEFAULT_REGION } from './credential/credential.ts'
import { databaseOf } from './http/caller.ts'
import type { HonoEnv } from './http/context.ts'
import { ApiError } from './http/errors.ts'
import { issuer, SettingsError } from './http/settings.ts'
import { signingKeys } from './oauth/signing-keys.ts'
import { requireCurrentSchema } from './storage/migrations.ts'

/** How long an isolate keeps the database's answer, so that unauthenticated calls cause few D1 requests. */
const MEMORY_MS = 5_000

/** The last answer of each database. A failure is kept too. */
const answers = new WeakMap<D1Database, { readonly until: number; readonly error: unknown }>()

export const health = new Hono<HonoEnv>()

  /** Liveness: the Worker runs. */
  .get('/healthz', (c) => c.json({ status: 'ok', version }))

  /** Readiness: everything that a request needs. The settings, the issuer, the signing keys, and the schema of the database. */
  .get('/readyz', async (c) => {
    try {
      issuer(c.env)
      await signingKeys(c.env)
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error
      throw new ApiError('service_unavailable', { message: error.message, retryAfter: 60 })
    }
    const known = answers.get(c.env.DB)
    const error = known && Date.now() < known.until ? known.error : await askDatabase(c)
    if (error) throw error
    return c.json({ status: 'ok', version, version_id: c.env.CF_VERSION_METADATA.id })
  })

async function askDatabase(c: Parameters<typeof databaseOf>[0]): Promise<unknown> {
  const database = databaseOf(c, DEFAULT_REGION)
  const error =
    database &&
    (await requireCurrentSchema(database).then(
      () => null,
      (reason) => reason,
    ))
  answers.set(c.env.DB, { until: Date.now() + MEMORY_MS, error })
  return error
}
