import { app } from './app.ts'
import { deliverWebhooks, deliverySettings } from './events/webhooks.ts'
import { readSettings } from './http/settings.ts'
import { cleanUp } from './storage/cleanup.ts'
import { openDatabase } from './storage/database.ts'
import type { Region } from './storage/regions.ts'

const CLEANUP_BUDGET_MS = 30_000

export default {
  fetch: app.fetch,

  async scheduled(_, env, context) {
    const runs = readSettings(env).REGIONS.map((region) => cleanRegion(env, region, context))
    // Every region is cleaned up before the failure of one ends this invocation.
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
  const report = await cleanUp(database, now, readSettings(env).EVENT_RETENTION_DAYS)
  const delivered = await deliverWebhooks(database, deliverySettings(env))
  console.log({ message: 'cleanup', region: region.digit, ...report, webhooks_delivered: delivered })
}
