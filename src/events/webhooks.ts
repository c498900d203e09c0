import { createMiddleware } from 'hono/factory'
import { refuseWebhookUrl, signWebhook, WEBHOOK_SIGNATURE_HEADER } from '../credential/webhook-signature.ts'
import type { HonoEnv } from '../http/context.ts'
import { readSettings } from '../http/settings.ts'
import type { Database } from '../storage/database.ts'
import { claimDeliveries, type Delivery, type Settlement, settleDeliveries } from '../storage/deliveries.ts'
import { eventToWire } from './wire.ts'

/** How long a receiver may take to answer. */
export const ATTEMPT_TIMEOUT_MS = 10_000

/** How long a request may go on beginning attempts after its answer: the platform gives it 30 s in all. */
const AFTER_CHANGE_MS = 15_000

/** How many are sent at once: a Worker has six connections. */
const AT_ONCE = 6

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** How long to wait behind each attempt that failed, before jitter: three days in all. After the last one it is dead. */
const BACKOFF_MS = [
  10 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  6 * HOUR_MS,
  15 * HOUR_MS,
  24 * HOUR_MS,
  24 * HOUR_MS,
]

export interface DeliverOptions {
  /** Unix ms past which no further attempt is begun. */
  readonly until: number
  /** Only what was never attempted: right after a change, when the rest has its own schedule. */
  readonly isFirst: boolean
  /** Allows http and this machine: for development. */
  readonly isLocal: boolean
}

/** Sends what is due to its webhooks, each on its own: none waits for another's success. Gives how many were delivered. */
export async function deliverWebhooks(
  database: Database,
  { until, isFirst, isLocal }: DeliverOptions,
): Promise<number> {
  let delivered = 0
  while (Date.now() < until) {
    const lease = crypto.randomUUID()
    const deliveries = await claimDeliveries(database, lease, Date.now(), { limit: AT_ONCE, isFirst })
    if (deliveries.length === 0) break
    const settlements = await Promise.all(deliveries.map((delivery) => attempt(delivery, isLocal)))
    await settleDeliveries(database, lease, Date.now(), settlements)
    delivered += settlements.filter(({ isDelivered }) => isDelivered).length
  }
  return delivered
}

/** Sends the events of a change as soon as it is answered. What fails is left to the schedule. */
export const deliverAfterChange = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  if (!c.res.ok || c.var.caller?.needs !== 'write') return
  const until = Date.now() + AFTER_CHANGE_MS
  const database = { ...c.var.database, deadline: until + ATTEMPT_TIMEOUT_MS }
  const isLocal = readSettings(c.env).WEBHOOKS_TO_LOCALHOST
  // Not before the answer is on its way.
  const answered = new Promise((resolve) => setTimeout(resolve))
  const delivery = answered.then(() => deliverWebhooks(database, { until, isFirst: true, isLocal }))
  const noted = delivery.catch((error) => {
    console.error({ message: 'webhooks left to the schedule', request_id: c.var.requestId, error: String(error) })
  })
  c.executionCtx.waitUntil(noted)
})

async function attempt(delivery: Delivery, isLocal: boolean): Promise<Settlement> {
  const outcome = await send(delivery, isLocal)
  const isDelivered = /^2\d\d$/.test(outcome)
  const wait = isDelivered ? undefined : BACKOFF_MS[delivery.attempts - 1]
  // Half of it is jitter: those that failed together do not come back together.
  const nextAttemptAt = wait === undefined ? null : Math.round(Date.now() + wait * (0.5 + Math.random() / 2))
  return { delivery, outcome, isDelivered, nextAttemptAt }
}

/** Gives the status, or in a word what went wrong. Never what the receiver says: that is not ours to keep. */
async function send({ url, secret, event }: Delivery, isLocal: boolean): Promise<string> {
  const problem = refuseWebhookUrl(url, isLocal)
  if (problem) return `not sent: the URL ${problem}`
  const body = JSON.stringify(eventToWire(event))
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'Oncekey-Webhooks',
        [WEBHOOK_SIGNATURE_HEADER]: await signWebhook(body, secret, Date.now()),
      },
      body,
      // A redirect is an answer, and not a good one: it could lead anywhere.
      redirect: 'manual',
      signal: AbortSignal.timeout(ATTEMPT_TIMEOUT_MS),
    })
    await response.body?.cancel()
    return String(response.status)
  } catch (error) {
    return error instanceof Error && error.name === 'TimeoutError' ? 'timed out' : 'no connection'
  }
}
