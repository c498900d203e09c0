import sql, { type Sql } from 'sql-template-tag'
import { type Database, sendBatch } from './database.ts'
import { type Event, eventColumns, eventFromRow } from './events.ts'

/** Events on their way to webhooks, as the deliverer sees them: it works for all environments. */
export interface Delivery {
  readonly endpointId: string
  readonly url: string
  /** Signs what is sent. */
  readonly secret: string
  readonly event: Event
  /** Counting the one under way. */
  readonly attempts: number
}

export interface Settlement {
  readonly delivery: Delivery
  /** For people: the status, or what went wrong. */
  readonly outcome: string
  /** Unix ms; null when there is none, because it was delivered or is dead. */
  readonly nextAttemptAt: number | null
  readonly isDelivered: boolean
}

/** How long an attempt may take before another deliverer may begin one. */
const LEASE_MS = 30_000

export interface Claim {
  readonly limit: number
  /** Only this event, and only its first attempts; null for all that is due. */
  readonly eventId: string | null
  /** Endpoints that are to be left out. */
  readonly except: readonly string[]
}

/**
 * Takes deliveries that are due at `now` (unix ms), at most one of each endpoint, so that none waits behind another's,
 * and no other deliverer has them until the lease ends. `lease` is new for each call.
 */
export async function claimDeliveries(
  database: Database,
  lease: string,
  now: number,
  { limit, eventId, except }: Claim,
): Promise<Delivery[]> {
  const isOfEvent = sql`event_id = ${eventId} AND attempts = 0`
  const isDue = sql`state = 'pending' AND next_attempt_at <= ${now} AND ${eventId === null ? sql`true` : isOfEvent}`
  const isOfEnvironment = sql`webhook_endpoints.environment_id = (SELECT environment_id FROM events WHERE id = ${eventId})`
  const [, rows] = await sendBatch(database, [
    sql`UPDATE webhook_deliveries SET lease = ${lease}, attempts = attempts + 1, next_attempt_at = ${now + LEASE_MS}
      WHERE (endpoint_id, event_id) IN (
        SELECT due.endpoint_id, due.event_id FROM webhook_endpoints JOIN webhook_deliveries AS due
          ON due.endpoint_id = webhook_endpoints.id AND due.event_id = (SELECT event_id FROM webhook_deliveries
            WHERE endpoint_id = webhook_endpoints.id AND ${isDue}
            AND EXISTS (SELECT 1 FROM events WHERE id = event_id) ORDER BY next_attempt_at LIMIT 1)
        WHERE webhook_endpoints.deleted_at IS NULL AND ${eventId === null ? sql`true` : isOfEnvironment}
          AND webhook_endpoints.id NOT IN (SELECT value FROM json_each(${JSON.stringify(except)}))
        ORDER BY due.next_attempt_at LIMIT ${limit})`,
    sql`SELECT endpoint_id, url, secret, attempts, ${eventColumns} FROM webhook_deliveries
      JOIN webhook_endpoints ON webhook_endpoints.id = endpoint_id JOIN events ON events.id = event_id
      WHERE lease = ${lease}`,
  ])
  return (rows ?? []).map((row) => ({
    endpointId: row.endpoint_id as string,
    url: row.url as string,
    secret: row.secret as string,
    event: eventFromRow(row),
    attempts: row.attempts as number,
  }))
}

/** Notes how an attempt ended; not of one whose lease has passed to another deliverer. `now` is unix ms. */
export async function settleDelivery(
  database: Database,
  lease: string,
  now: number,
  { delivery, outcome, nextAttemptAt, isDelivered }: Settlement,
): Promise<void> {
  const state = isDelivered ? 'delivered' : nextAttemptAt === null ? 'dead' : 'pending'
  await sendBatch(database, [
    sql`UPDATE webhook_deliveries SET state = ${state}, lease = NULL, last_outcome = ${outcome},
      next_attempt_at = ${nextAttemptAt ?? now}, settled_at = ${nextAttemptAt === null ? now : null}
      WHERE endpoint_id = ${delivery.endpointId} AND event_id = ${delivery.event.id} AND lease = ${lease}`,
  ])
}

/** Up to `limit` of those due at `now` (unix ms) that cannot be sent, because their endpoint or their event is gone. */
export function endGoneDeliveries(now: number, limit: number): Sql {
  return sql`UPDATE webhook_deliveries SET state = 'dead', lease = NULL, last_outcome = 'gone', settled_at = ${now}
    WHERE (endpoint_id, event_id) IN (SELECT endpoint_id, event_id FROM webhook_deliveries
      WHERE state = 'pending' AND next_attempt_at <= ${now} AND (
        NOT EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = endpoint_id AND deleted_at IS NULL)
        OR NOT EXISTS (SELECT 1 FROM events WHERE id = event_id))
      LIMIT ${limit}) RETURNING 1`
}
