import sql, { type Sql } from 'sql-template-tag'
import { type Database, type Query, query, sendBatch, type UnixMs } from './database.ts'
import { type Event, eventColumns, eventFromRow } from './events.ts'
import { limitTo } from './statements.ts'
import { gone } from './webhooks.ts'

/** An event to be sent to a webhook endpoint. The deliverer works for all environments. */
export interface Delivery {
  readonly endpointId: string
  readonly url: string
  /** The secret that signs the request. */
  readonly secret: string
  readonly event: Event
  /** The number of attempts, including the current one. */
  readonly attempts: number
}

export interface Settlement {
  readonly delivery: Delivery
  /** The HTTP status, or a description of the failure. Shown to people. */
  readonly outcome: string
  /** The time of the next attempt; null if the delivery is delivered or dead. */
  readonly nextAttemptAt: UnixMs | null
  readonly isDelivered: boolean
}

/** No other deliverer may begin an attempt within this time. */
const LEASE_MS = 30_000

/** Statements of a claim, and of a settlement at most. */
export const QUERIES_PER_CLAIM = 5
export const QUERIES_PER_SETTLEMENT = 2

/** Condition: the endpoint is neither deleted nor paused. The cursor of a paused one stays, so that its events wait. */
const receiving = sql`webhook_endpoints.deleted_at IS NULL AND webhook_endpoints.paused_at IS NULL`

/** Events that are queued per endpoint and claim. */
const MAX_QUEUED = 100

export interface Claim {
  readonly limit: number
  /** Claims only the first attempts at this event; null claims all deliveries that are due. */
  readonly event: { readonly id: string; readonly environmentId: string } | null
  /** IDs of endpoints to leave out. */
  readonly except: readonly string[]
  /**
   * The attempts that each endpoint has had in this run. Those with fewer come first, then those that are due for
   * longer.
   */
  readonly attempted?: Readonly<Record<string, number>>
}

interface ClaimedRow {
  readonly endpoint_id: string
  readonly url: string
  readonly secret: string
  readonly attempts: number
}

/**
 * Queues the events after each endpoint's cursor, and leases deliveries that are due, at most one per endpoint, so that
 * no endpoint waits for another. No other deliverer gets them before the lease ends. Those whose event is past its
 * retention are ended. `lease` is unique to the call. `isMore`: another call may find more.
 */
export async function claimDeliveries(
  database: Database,
  lease: string,
  now: UnixMs,
  { limit, event, except, attempted = {} }: Claim,
): Promise<{ deliveries: Delivery[]; isMore: boolean }> {
  const ofEnvironment = event ? sql`webhook_endpoints.environment_id = ${event.environmentId}` : sql`true`
  const ofEvent = event ? sql`event_id = ${event.id} AND attempts = 0` : sql`true`
  const due = sql`SELECT event_id FROM webhook_deliveries WHERE endpoint_id = webhook_endpoints.id
    AND state = 'pending' AND next_attempt_at <= ${now} AND ${ofEvent} ORDER BY next_attempt_at LIMIT 1`
  const ofLease = sql`(endpoint_id, event_id) IN (SELECT endpoint_id, event_id FROM webhook_deliveries WHERE lease = ${lease})`
  const { deliveries, pruned } = await sendBatch(database, {
    ...queueEvents(now, ofEnvironment),
    leased:
      query(sql`UPDATE webhook_deliveries SET lease = ${lease}, attempts = attempts + 1, next_attempt_at = ${now + LEASE_MS}
      WHERE (endpoint_id, event_id) IN (
        SELECT due.endpoint_id, due.event_id FROM webhook_endpoints JOIN webhook_deliveries AS due
          ON due.endpoint_id = webhook_endpoints.id AND due.event_id = (${due})
        WHERE ${receiving} AND ${ofEnvironment}
          AND webhook_endpoints.id NOT IN (SELECT value FROM json_each(${JSON.stringify(except)}))
        ORDER BY coalesce((SELECT value FROM json_each(${JSON.stringify(attempted)}) WHERE key = due.endpoint_id), 0),
          due.next_attempt_at ${limitTo(limit)})`),
    pruned: query(sql`UPDATE webhook_deliveries SET ${gone(now)}, attempts = attempts - 1
      WHERE ${ofLease} AND NOT EXISTS (SELECT 1 FROM events WHERE id = event_id) RETURNING 1`),
    deliveries: query<ClaimedRow>(sql`SELECT endpoint_id, url, secret, attempts, ${eventColumns} FROM webhook_deliveries
      JOIN webhook_endpoints ON webhook_endpoints.id = endpoint_id JOIN events ON events.id = event_id
      WHERE lease = ${lease}`),
  })
  return { deliveries: deliveries.map(deliveryFromRow), isMore: deliveries.length + pruned.length > 0 }
}

/**
 * Queues the next events for each endpoint that wants them, and moves its cursor past them, in one transaction: an
 * event is queued once, also if the Worker stopped after the change that recorded it.
 */
export function queueEvents(
  now: UnixMs,
  ofEnvironment: Sql = sql`true`,
): { queued: Query<never>; advanced: Query<never> } {
  const next = sql`SELECT seq FROM events WHERE environment_id = webhook_endpoints.environment_id
    AND seq > webhook_endpoints.cursor ORDER BY seq ${limitTo(MAX_QUEUED)}`
  return {
    queued:
      query(sql`INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
      SELECT webhook_endpoints.id, events.id, events.environment_id, 'pending', 0, ${now}, ${now}
      FROM webhook_endpoints JOIN events ON events.seq IN (${next})
      WHERE ${receiving} AND ${ofEnvironment}
        AND (webhook_endpoints.events = '[]' OR events.type IN (SELECT value FROM json_each(webhook_endpoints.events)))
      ON CONFLICT DO NOTHING`),
    advanced: query(sql`UPDATE webhook_endpoints SET cursor = (SELECT max(seq) FROM (${next}))
      WHERE ${receiving} AND ${ofEnvironment} AND EXISTS (${next})`),
  }
}

function deliveryFromRow(row: ClaimedRow): Delivery {
  const { endpoint_id: endpointId, url, secret, attempts } = row
  return { endpointId, url, secret, attempts, event: eventFromRow(row) }
}

/** Records the outcome of an attempt, unless another deliverer holds the lease by now. */
export async function settleDelivery(
  database: Database,
  lease: string,
  now: UnixMs,
  { delivery, outcome, nextAttemptAt, isDelivered }: Settlement,
): Promise<void> {
  const state = isDelivered ? 'delivered' : nextAttemptAt === null ? 'dead' : 'pending'
  const matches = sql`endpoint_id = ${delivery.endpointId} AND event_id = ${delivery.event.id} AND lease = ${lease}`
  await sendBatch(database, {
    ...(isDelivered && {
      counted: query(sql`UPDATE webhook_endpoints SET delivered_count = delivered_count + 1
        WHERE id = ${delivery.endpointId} AND EXISTS (SELECT 1 FROM webhook_deliveries WHERE ${matches})`),
    }),
    settled: query(sql`UPDATE webhook_deliveries SET state = ${state}, lease = NULL, last_outcome = ${outcome},
      next_attempt_at = ${nextAttemptAt ?? now}, settled_at = ${nextAttemptAt === null ? now : null} WHERE ${matches}`),
  })
}
