import sql, { type Sql } from 'sql-template-tag'
import { type Database, query, sendBatch, type UnixMs } from './database.ts'
import { type Event, type EventRow, eventColumns, eventFromRow } from './events.ts'

/** An event to be sent to a webhook endpoint. The deliverer works for all environments. */
export interface Delivery {
  readonly endpointId: string
  readonly url: string
  /** Signs the request. */
  readonly secret: string
  readonly event: Event
  /** Including the current one. */
  readonly attempts: number
}

export interface Settlement {
  readonly delivery: Delivery
  /** For people: the status, or what failed. */
  readonly outcome: string
  /** Null if the delivery is delivered or dead. */
  readonly nextAttemptAt: UnixMs | null
  readonly isDelivered: boolean
}

/** No other deliverer may begin an attempt within this time. */
const LEASE_MS = 30_000

export interface Claim {
  readonly limit: number
  /** Only this event, and only its first attempts; null for everything that is due. */
  readonly eventId: string | null
  /** Endpoints to leave out. */
  readonly except: readonly string[]
}

interface ClaimedRow extends EventRow {
  readonly endpoint_id: string
  readonly url: string
  readonly secret: string
  readonly attempts: number
}

/**
 * Leases deliveries that are due, at most one per endpoint, so that no endpoint waits for another. No other deliverer
 * gets them before the lease ends. `lease` is unique to the call.
 */
export async function claimDeliveries(
  database: Database,
  lease: string,
  now: UnixMs,
  { limit, eventId, except }: Claim,
): Promise<Delivery[]> {
  const ofEvent = eventId === null ? sql`true` : sql`event_id = ${eventId} AND attempts = 0`
  const ofEnvironment =
    eventId === null
      ? sql`true`
      : sql`webhook_endpoints.environment_id = (SELECT environment_id FROM events WHERE id = ${eventId})`
  const { deliveries } = await sendBatch(database, {
    leased:
      query(sql`UPDATE webhook_deliveries SET lease = ${lease}, attempts = attempts + 1, next_attempt_at = ${now + LEASE_MS}
      WHERE (endpoint_id, event_id) IN (
        SELECT due.endpoint_id, due.event_id FROM webhook_endpoints JOIN webhook_deliveries AS due
          ON due.endpoint_id = webhook_endpoints.id AND due.event_id = (SELECT event_id FROM webhook_deliveries
            WHERE endpoint_id = webhook_endpoints.id AND state = 'pending' AND next_attempt_at <= ${now} AND ${ofEvent}
            AND EXISTS (SELECT 1 FROM events WHERE id = event_id) ORDER BY next_attempt_at LIMIT 1)
        WHERE webhook_endpoints.deleted_at IS NULL AND ${ofEnvironment}
          AND webhook_endpoints.id NOT IN (SELECT value FROM json_each(${JSON.stringify(except)}))
        ORDER BY due.next_attempt_at LIMIT ${limit})`),
    deliveries: query<ClaimedRow>(sql`SELECT endpoint_id, url, secret, attempts, ${eventColumns} FROM webhook_deliveries
      JOIN webhook_endpoints ON webhook_endpoints.id = endpoint_id JOIN events ON events.id = event_id
      WHERE lease = ${lease}`),
  })
  return deliveries.map((row) => ({
    endpointId: row.endpoint_id,
    url: row.url,
    secret: row.secret,
    event: eventFromRow(row),
    attempts: row.attempts,
  }))
}

/** Records the outcome of an attempt, unless another deliverer holds the lease by now. */
export async function settleDelivery(
  database: Database,
  lease: string,
  now: UnixMs,
  { delivery, outcome, nextAttemptAt, isDelivered }: Settlement,
): Promise<void> {
  const state = isDelivered ? 'delivered' : nextAttemptAt === null ? 'dead' : 'pending'
  await sendBatch(database, {
    settled: query(sql`UPDATE webhook_deliveries SET state = ${state}, lease = NULL, last_outcome = ${outcome},
      next_attempt_at = ${nextAttemptAt ?? now}, settled_at = ${nextAttemptAt === null ? now : null}
      WHERE endpoint_id = ${delivery.endpointId} AND event_id = ${delivery.event.id} AND lease = ${lease}`),
  })
}

/** Ends up to `limit` due deliveries that cannot be sent, because their endpoint or event is gone. */
export function endOrphanedDeliveries(now: UnixMs, limit: number): Sql {
  return sql`UPDATE webhook_deliveries SET state = 'dead', lease = NULL, last_outcome = 'gone', settled_at = ${now}
    WHERE (endpoint_id, event_id) IN (SELECT endpoint_id, event_id FROM webhook_deliveries
      WHERE state = 'pending' AND next_attempt_at <= ${now} AND (
        NOT EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = endpoint_id AND deleted_at IS NULL)
        OR NOT EXISTS (SELECT 1 FROM events WHERE id = event_id))
      LIMIT ${limit}) RETURNING 1`
}
