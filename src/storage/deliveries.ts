import sql, { type Sql } from 'sql-template-tag'
import { type Database, type Query, query, sendBatch, type UnixMs } from './database.ts'
import { type Event, eventColumns, eventFromRow } from './events.ts'
import { limitTo } from './statements.ts'
import { gone } from './webhooks.ts'

/** An event to send to a webhook endpoint. The functions in this file are not limited to one environment. */
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
  /** The HTTP status, or a description of the failure, as the dashboard shows it. */
  readonly outcome: string
  /**
   * The time of the next attempt. Null if no attempt follows, because the event was delivered or the last attempt has
   * failed.
   */
  readonly nextAttemptAt: UnixMs | null
  readonly isDelivered: boolean
}

/** During this time after the start of an attempt, no other run may attempt the same delivery. */
const LEASE_MS = 30_000

/** The number of statements that a claim sends, and the maximum number that a settlement sends. */
export const QUERIES_PER_CLAIM = 5
export const QUERIES_PER_SETTLEMENT = 2

/**
 * Condition: the endpoint is neither deleted nor paused. Its cursor does not move during a pause, so events wait until
 * it is resumed.
 */
const receiving = sql`webhook_endpoints.deleted_at IS NULL AND webhook_endpoints.paused_at IS NULL`

/** Maximum number of events that a claim queues for one endpoint. */
const MAX_QUEUED = 100

export interface Claim {
  readonly limit: number
  /**
   * Claims only those deliveries of this event that were not attempted yet. Null claims all deliveries that are due.
   */
  readonly event: { readonly id: string; readonly environmentId: string } | null
  /** The IDs of endpoints to skip. */
  readonly except: readonly string[]
  /**
   * The number of attempts for each endpoint in this run. Endpoints with fewer attempts come first, and then those
   * whose deliveries have been due for longest.
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
 * Queues new events, and leases due deliveries. It leases at most one delivery per endpoint, so that endpoints do not
 * wait for each other. No other run gets a delivery before its lease ends. Deliveries whose event has been removed are
 * ended. `lease` must be unique to the call. If `isMore` is true, another call may find more deliveries.
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
 * Queues the events after each endpoint's cursor if the endpoint is subscribed to them, and moves the cursor past them
 * in the same transaction. So each event is queued once, even if the Worker stopped right after the change that
 * recorded it.
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

/** Records the outcome of an attempt, unless the lease has ended and another run has taken the delivery. */
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
