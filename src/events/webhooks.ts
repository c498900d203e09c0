import { createMiddleware } from 'hono/factory'
import { webhookRequest } from '../contract/webhook-request.ts'
import { refuseWebhookUrl } from '../credential/webhook-signature.ts'
import type { HonoEnv } from '../http/context.ts'
import { readSettings } from '../http/settings.ts'
import { afterResponse, type Database } from '../storage/database.ts'
import { claimDeliveries, type Delivery, type Settlement, settleDelivery } from '../storage/deliveries.ts'

/** How long a receiver may take to answer. */
const ATTEMPT_TIMEOUT_MS = 10_000

/** How long a request may go on behind its answer: as long as the platform lets it. */
const AFTER_CHANGE_MS = 30_000

/** How long before the end the last attempt is begun: it may take its time, and how it ended wants noting. */
const LAST_ATTEMPT_MS = ATTEMPT_TIMEOUT_MS + 5_000

/** How many are sent at once: a Worker has six connections. */
const AT_ONCE = 6

/** How many of them to one endpoint, so that a slow one leaves room for others. */
const AT_ONCE_PER_ENDPOINT = 2

const TIMED_OUT = 'timed out'

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
  /** Only the first attempts at this event: right after its change. The rest has its own schedule. */
  readonly event?: { readonly id: string; readonly environmentId: string }
  /** Allows http and this machine: for development. */
  readonly isLocal: boolean
}

/**
 * Sends what is due to its webhooks, until shortly before the database's deadline. Each goes its own way: a slow one
 * takes one of the places, and its endpoint no more than two. Gives how many were delivered.
 */
export async function deliverWebhooks(database: Database, { event, isLocal }: DeliverOptions): Promise<number> {
  const underWay = new Map<Promise<void>, string>()
  const slow = new Set<string>()
  let delivered = 0

  /** What fails here, and is not noted, is sent again when its lease ends: at least once. */
  async function deliver(lease: string, delivery: Delivery): Promise<void> {
    try {
      const settlement = await attempt(delivery, isLocal)
      if (settlement.outcome === TIMED_OUT) slow.add(delivery.endpointId)
      if (settlement.isDelivered) delivered++
      await settleDelivery(database, lease, Date.now(), settlement)
    } catch (error) {
      console.error({ message: 'webhook attempt not noted', event_id: delivery.event.id, error: String(error) })
    }
  }

  function busy(): string[] {
    const endpoints = [...underWay.values()]
    return endpoints.filter((id) => endpoints.filter((other) => other === id).length >= AT_ONCE_PER_ENDPOINT)
  }

  /** Begins what there is room for. False when there is nothing to begin. */
  async function begin(): Promise<boolean> {
    const limit = AT_ONCE - underWay.size
    if (limit === 0 || Date.now() > database.deadline - LAST_ATTEMPT_MS) return false
    const lease = crypto.randomUUID()
    const except = [...slow, ...busy()]
    const claim = { limit, event: event ?? null, except }
    const { deliveries, isMore } = await claimDeliveries(database, lease, Date.now(), claim)
    for (const delivery of deliveries) {
      const delivering = deliver(lease, delivery).finally(() => underWay.delete(delivering))
      underWay.set(delivering, delivery.endpointId)
    }
    return isMore
  }

  try {
    for (;;) {
      // Those that end meanwhile make room, so that it is asked once more.
      const wasIdle = underWay.size === 0
      if (await begin()) continue
      if (wasIdle) return delivered
      if (underWay.size > 0) await Promise.race(underWay.keys())
    }
  } finally {
    await Promise.all(underWay.keys())
  }
}

/** Sends the event of a change right after the response, if a webhook endpoint wants it. Failures are left to the schedule. */
export const deliverAfterChange = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  const { change, database, identity, hasDelivery, requestId } = c.var
  if (!change || !identity || !hasDelivery) return
  const isLocal = readSettings(c.env).WEBHOOKS_TO_LOCALHOST
  const event = { id: change.eventId, environmentId: identity.environmentId }
  afterResponse(database, async () => {
    const unhurried = { ...database, deadline: Date.now() + AFTER_CHANGE_MS }
    await deliverWebhooks(unhurried, { event, isLocal }).catch((error) => {
      console.error({ message: 'webhooks left to the schedule', request_id: requestId, error: String(error) })
    })
  })
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
  try {
    const response = await fetch(url, await webhookRequest(event, secret, Date.now(), ATTEMPT_TIMEOUT_MS))
    await response.body?.cancel().catch(() => {})
    return String(response.status)
  } catch (error) {
    return error instanceof Error && error.name === 'TimeoutError' ? TIMED_OUT : 'no connection'
  }
}
