import sql from 'sql-template-tag'
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

/**
 * Takes up to `limit` deliveries that are due at `now` (unix ms), so that no other deliverer has them until the lease
 * ends. `lease` is new for each call. With `isFirst` only those that were never attempted.
 */
export async function claimDeliveries(
  database: Database,
  lease: string,
  now: number,
  { limit, isFirst }: { limit: number; isFirst: boolean },
): Promise<Delivery[]> {
  const isDue = sql`state = 'pending' AND next_attempt_at <= ${now} AND ${isFirst ? sql`attempts = 0` : sql`true`}`
  const [, , rows] = await sendBatch(database, [
    // What is gone cannot be sent.
    sql`UPDATE webhook_deliveries SET state = 'dead', last_outcome = 'gone', settled_at = ${now}
      WHERE ${isDue} AND (
        NOT EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = endpoint_id AND deleted_at IS NULL)
        OR NOT EXISTS (SELECT 1 FROM events WHERE id = event_id))`,
    // New ones first, so that what fails all the time keeps nothing else waiting.
    sql`UPDATE webhook_deliveries SET lease = ${lease}, attempts = attempts + 1, next_attempt_at = ${now + LEASE_MS}
      WHERE (endpoint_id, event_id) IN (SELECT endpoint_id, event_id FROM webhook_deliveries
        WHERE ${isDue}
        ORDER BY attempts, next_attempt_at LIMIT ${limit})`,
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

/** Notes how attempts ended; not of one whose lease has passed to another deliverer. */
export async function settleDeliveries(
  database: Database,
  lease: string,
  now: number,
  settlements: Settlement[],
): Promise<void> {
  await sendBatch(
    database,
    settlements.map(({ delivery, outcome, nextAttemptAt, isDelivered }) => {
      const state = isDelivered ? 'delivered' : nextAttemptAt === null ? 'dead' : 'pending'
      return sql`UPDATE webhook_deliveries SET state = ${state}, lease = NULL, last_outcome = ${outcome},
        next_attempt_at = ${nextAttemptAt ?? now}, settled_at = ${nextAttemptAt === null ? now : null}
        WHERE endpoint_id = ${delivery.endpointId} AND event_id = ${delivery.event.id} AND lease = ${lease}`
    }),
  )
}
