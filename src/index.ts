import { app } from './app.ts'
import { deliverWebhooks, deliverySettings } from './events/deliver.ts'
import { figureFields, versionField } from './http/log.ts'
import { isClosed, readSettings } from './http/settings.ts'
import { CLEANUP_QUERIES_PER_PASS, cleanUp } from './storage/cleanup.ts'
import { measuredApart, openDatabase } from './storage/database.ts'
import type { Region } from './storage/regions.ts'

const CLEANUP_BUDGET_MS = 30_000

export default {
  fetch: app.fetch,

  async scheduled(_, env, context) {
    if (isClosed(env)) return
    const runs = readSettings(env).REGIONS.map((region) => cleanRegion(env, region, context))
    // A failure in one region must not stop the cleanup of the others.
    const failed = (await Promise.allSettled(runs)).find(({ status }) => status === 'rejected')
    if (failed?.status === 'rejected') throw failed.reason
  },
} satisfies ExportedHandler<Env>

async function cleanRegion(env: Env, region: Region, context: ExecutionContext): Promise<void> {
  const now = Date.now()
  const database = openDatabase(env, region, {
    deadline: now + CLEANUP_BUDGET_MS,
    waitUntil: (promise) => context.waitUntil(promise),
  })
  const place = { ...versionField(env), region: region.digit }
  const cleaned = measuredApart(database)
  const { REGIONS, D1_QUERIES_PER_INVOCATION, EVENT_RETENTION_DAYS } = readSettings(env)
  const maxQueries = Math.floor(D1_QUERIES_PER_INVOCATION / REGIONS.length)
  const cleanupQueries = Math.max(Math.floor(maxQueries / 4), CLEANUP_QUERIES_PER_PASS)
  const report = await cleanUp(cleaned, now, EVENT_RETENTION_DAYS, cleanupQueries)
  const { size } = cleaned.figures
  console.log({
    message: 'cleanup',
    ...place,
    ...report,
    ...figureFields(cleaned.figures),
    ...(size !== null && { d1_size_bytes: size }),
  })
  const delivered = measuredApart(database)
  const deliveries = await deliverWebhooks(delivered, {
    ...deliverySettings(env),
    maxQueries: maxQueries - cleanupQueries,
  })
  console.log({ message: 'webhooks', ...place, ...deliveries, ...figureFields(delivered.figures) })
}
