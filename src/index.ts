import { app } from './app.ts'
import { DEFAULT_REGION } from './credential/credential.ts'
import { deliverWebhooks } from './events/webhooks.ts'
import { readSettings } from './http/settings.ts'
import { openDatabase } from './storage/database.ts'
import { keepHouse } from './storage/housekeeping.ts'

/** How long a run of housekeeping may take, in milliseconds. */
const HOUSEKEEPING_BUDGET_MS = 30_000

export default {
  fetch: app.fetch,

  async scheduled(_, env, context) {
    const now = Date.now()
    const database = openDatabase(env, DEFAULT_REGION, {
      deadline: now + HOUSEKEEPING_BUDGET_MS,
      waitUntil: (promise) => context.waitUntil(promise),
    })
    if (!database) return
    const { EVENT_RETENTION_DAYS, WEBHOOKS_TO_LOCALHOST } = readSettings(env)
    const done = await keepHouse(database, now, EVENT_RETENTION_DAYS)
    const delivered = await deliverWebhooks(database, { isLocal: WEBHOOKS_TO_LOCALHOST })
    console.log({ message: 'housekeeping', ...done, webhooks_delivered: delivered })
  },
} satisfies ExportedHandler<Env>
