import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { webhookRequest, webhookUrlProblem } from '../contract/webhooks.ts'
import type { HonoEnv, RecordedEvent } from '../http/context.ts'
import { figureFields, placeOf } from '../http/log.ts'
import { readSettings } from '../http/settings.ts'
import { afterResponse, type Database, measuredApart } from '../storage/database.ts'
import {
  claimDeliveries,
  type Delivery,
  QUERIES_PER_CLAIM,
  QUERIES_PER_SETTLEMENT,
  type Settlement,
  settleDelivery,
} from '../storage/deliveries.ts'
import { retryAfter, waitAfter } from './retry-delays.ts'

/** How long deliveries may run after a change. Cloudflare lets a request continue for this time after its response. */
const AFTER_CHANGE_MS = 30_000

/**
 * An upper bound for the number of statements in a change. A change and its webhooks share the limit of one invocation.
 */
const QUERIES_OF_CHANGE = 15

/** The time that a run reserves before its deadline, to record the outcome of the last attempt. */
const SETTLE_MARGIN_MS = 5_000

/** A Worker can have six open connections. */
const MAX_CONCURRENT_ATTEMPTS = 6

/** Maximum number of concurrent attempts at one endpoint, so that a slow endpoint leaves connections for the others. */
const MAX_ATTEMPTS_PER_ENDPOINT = 2

const TIMED_OUT = 'timed out'

export interface DeliverOptions {
  /**
   * If set, the run makes only the first attempts at this event, right after its change. The scheduled job makes all
   * other attempts.
   */
  readonly event?: RecordedEvent
  /** Allows http and local hosts, for development. */
  readonly isLocal: boolean
  /** How long a receiver may take to respond. */
  readonly timeoutMs: number
  /** Maximum number of statements in this run. The scheduled job makes the remaining attempts. */
  readonly maxQueries: number
}

/** The number of attempts by outcome, as log fields. `failed` means that no further attempt follows. */
export interface DeliveryReport {
  webhooks_delivered: number
  webhooks_to_retry: number
  webhooks_failed: number
}

/**
 * Makes the attempts that are due, until shortly before the deadline of `database`. Attempts run concurrently, so that
 * a slow endpoint does not delay the others. Endpoints take turns, so that every endpoint gets some events even if
 * there is no time for all of them.
 */
export async function deliverWebhooks(database: Database, options: DeliverOptions): Promise<DeliveryReport> {
  const underWay = new Map<Promise<void>, string>()
  const slow = new Set<string>()
  const attempted: Record<string, number> = {}
  let queries = 0
  const report: DeliveryReport = { webhooks_delivered: 0, webhooks_to_retry: 0, webhooks_failed: 0 }

  /**
   * Makes one attempt and records its outcome. Delivery is at least once: if the outcome cannot be recorded, the event
   * is sent again after its lease ends.
   */
  async function deliver(lease: string, delivery: Delivery): Promise<void> {
    try {
      const settlement = await attempt(delivery, options)
      if (settlement.outcome === TIMED_OUT) slow.add(delivery.endpointId)
      report[reportedAs(settlement)]++
      await settleDelivery(database, lease, Date.now(), settlement)
    } catch (error) {
      console.error({ message: 'webhook attempt not recorded', event_id: delivery.event.id, error: String(error) })
    }
  }

  function busy(): string[] {
    const endpoints = [...underWay.values()]
    return endpoints.filter((id) => endpoints.filter((other) => other === id).length >= MAX_ATTEMPTS_PER_ENDPOINT)
  }

  /** Starts as many attempts as the limits allow. Returns true if more deliveries may be due. */
  async function begin(): Promise<boolean> {
    const affordable = Math.floor((options.maxQueries - queries - QUERIES_PER_CLAIM) / QUERIES_PER_SETTLEMENT)
    const limit = Math.min(MAX_CONCURRENT_ATTEMPTS - underWay.size, affordable)
    if (limit <= 0 || Date.now() > database.deadline - options.timeoutMs - SETTLE_MARGIN_MS) return false
    const lease = crypto.randomUUID()
    const except = [...slow, ...busy()]
    const claim = { limit, event: options.event ?? null, except, attempted }
    const { deliveries, isMore } = await claimDeliveries(database, lease, Date.now(), claim)
    queries += QUERIES_PER_CLAIM + deliveries.length * QUERIES_PER_SETTLEMENT
    for (const delivery of deliveries) {
      attempted[delivery.endpointId] = (attempted[delivery.endpointId] ?? 0) + 1
      const delivering = deliver(lease, delivery).finally(() => underWay.delete(delivering))
      underWay.set(delivering, delivery.endpointId)
    }
    return isMore
  }

  try {
    for (;;) {
      // An attempt may have ended during the query and left room for another one. So the loop ends only if no attempt
      // was running before the query.
      const wasIdle = underWay.size === 0
      if (await begin()) continue
      if (wasIdle) return report
      if (underWay.size > 0) await Promise.race(underWay.keys())
    }
  } finally {
    await Promise.all(underWay.keys())
  }
}

function reportedAs({ isDelivered, nextAttemptAt }: Settlement): keyof DeliveryReport {
  if (isDelivered) return 'webhooks_delivered'
  return nextAttemptAt === null ? 'webhooks_failed' : 'webhooks_to_retry'
}

/** Sends the event of a change right after the response, if a webhook endpoint is subscribed to it. */
export const deliverAfterChange = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  const change = c.get('change')
  const database = c.get('database')
  const identity = c.get('identity')
  const hasDelivery = c.get('hasDelivery')
  if (!change || !identity || !hasDelivery) return
  const event = { id: change.eventId, environmentId: identity.environmentId }
  afterResponse(database, () => deliverEvents(c, { ...database, deadline: Date.now() + AFTER_CHANGE_MS }, [event]))
})

/** Middleware for routes that record events after the response. It provides `deliver`. */
export const offerDelivery = createMiddleware<HonoEnv>((c, next) => {
  c.set('deliver', (database, events) => deliverEvents(c, database, events))
  return next()
})

/**
 * Makes the first attempts at events. The scheduled job retries failures, and makes the attempts that exceed the limit
 * on statements.
 */
async function deliverEvents(c: Context<HonoEnv>, database: Database, events: readonly RecordedEvent[]): Promise<void> {
  const requestId = c.get('requestId')
  const settings = deliverySettings(c.env)
  const maxQueries = Math.floor(settings.maxQueries / events.length)
  for (const event of events) {
    const measured = measuredApart(database)
    try {
      const report = await deliverWebhooks(measured, { ...settings, maxQueries, event })
      console.log({
        message: 'webhooks',
        request_id: requestId,
        ...placeOf(c),
        environment_id: event.environmentId,
        ...report,
        ...figureFields(measured.figures),
      })
    } catch (error) {
      console.error({ message: 'webhooks left to the schedule', request_id: requestId, error: String(error) })
    }
  }
}

/** Returns the options of a run from the settings. */
export function deliverySettings(env: Env): DeliverOptions {
  const { D1_QUERIES_PER_INVOCATION, WEBHOOKS_TO_LOCALHOST, WEBHOOK_TIMEOUT_MS } = readSettings(env)
  const maxQueries = D1_QUERIES_PER_INVOCATION - QUERIES_OF_CHANGE
  return { isLocal: WEBHOOKS_TO_LOCALHOST, timeoutMs: WEBHOOK_TIMEOUT_MS, maxQueries }
}

async function attempt(delivery: Delivery, options: DeliverOptions): Promise<Settlement> {
  const { outcome, isDelivered, isFinal, retryAfterMs } = await send(delivery, options)
  const wait = isDelivered || isFinal ? null : waitAfter(delivery.attempts, retryAfterMs)
  return { delivery, outcome, isDelivered, nextAttemptAt: wait === null ? null : Math.round(Date.now() + wait) }
}

interface Sent {
  /**
   * The HTTP status, or a description of the failure. The receiver's response text is not stored, because it may
   * contain anything.
   */
  readonly outcome: string
  readonly isDelivered: boolean
  /** True if the receiver wants no more attempts. */
  readonly isFinal: boolean
  readonly retryAfterMs: number
}

async function send({ url, secret, event }: Delivery, { isLocal, timeoutMs }: DeliverOptions): Promise<Sent> {
  const failed = (outcome: string): Sent => ({ outcome, isDelivered: false, isFinal: false, retryAfterMs: 0 })
  const problem = webhookUrlProblem(url, isLocal)
  if (problem) return failed(`not sent: the URL ${problem}`)
  const request = await webhookRequest(event, secret, Date.now(), timeoutMs)
  try {
    const response = await fetch(url, request)
    await response.body?.cancel().catch(() => {})
    // In Standard Webhooks, status 410 ends the retries.
    if (response.status === 410) return { ...failed('410: the receiver wants no retries'), isFinal: true }
    const outcome = String(response.status)
    if (response.status >= 200 && response.status < 300) return { ...failed(outcome), isDelivered: true }
    return { ...failed(outcome), retryAfterMs: retryAfter(response.headers, Date.now()) }
  } catch (error) {
    return failed(error instanceof Error && error.name === 'TimeoutError' ? TIMED_OUT : 'no connection')
  }
}
