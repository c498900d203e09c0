import { app } from './app.ts'
import { DEFAULT_REGION } from './credential/credential.ts'
import { deliverWebhooks, deliverySettings } from './events/webhooks.ts'
import { readSettings } from './http/settings.ts'
import { cleanUp } from './storage/cleanup.ts'
import { openDatabase } from './storage/database.ts'

const CLEANUP_BUDGET_MS = 30_000

export default {
  fetch: app.fetch,

  async scheduled(_, env, context) {
    const now = Date.now()
    const database = openDatabase(env, DEFAULT_REGION, {
      deadline: now + CLEANUP_BUDGET_MS,
      waitUntil: (promise) => context.waitUntil(promise),
    })
    if (!database) return
    const report = await cleanUp(database, now, readSettings(env).EVENT_RETENTION_DAYS)
    const delivered = await deliverWebhooks(database, deliverySettings(env))
    console.log({ message: 'cleanup', ...report, webhooks_delivered: delivered })
  },
} satisfies ExportedHandler<Env>
