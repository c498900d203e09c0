import sql, { raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import type { EventType } from './events.ts'
import { json, mapping } from './mapping.ts'
import { limitTo, select, updateUnstamped } from './statements.ts'

export interface WebhookEndpoint {
  readonly id: string
  readonly url: string
  /** The event types that the endpoint receives; all types if empty. */
  readonly events: readonly EventType[]
  readonly createdAt: UnixMs
  /** The time of the pause. Events wait since then. Null unless the endpoint is paused. */
  readonly pausedAt: UnixMs | null
  /** The time of the first report that the signing secret has leaked. */
  readonly leakReportedAt: UnixMs | null
  /**
   * The number of deliveries by state. `delivered` counts all deliveries since the creation of the endpoint. The others
   * count the stored rows, up to `MAX_COUNTED_DELIVERIES`.
   */
  readonly deliveries: { readonly pending: number; readonly delivered: number; readonly dead: number }
}

export interface ListedDelivery {
  readonly endpointId: string
  readonly eventId: string
  /** The type of the event; null if the event has been removed after its retention. */
  readonly eventType: EventType | null
  readonly state: 'pending' | 'delivered' | 'dead'
  readonly attempts: number
  /** Null if no attempt will follow. */
  readonly nextAttemptAt: UnixMs | null
  readonly lastOutcome: string | null
  readonly createdAt: UnixMs
}

export const MAX_COUNTED_DELIVERIES = 100
export const MAX_LISTED_ENDPOINTS = 100

/** Formats a number of pending or failed deliveries. */
export function deliveryCount(count: number): string {
  return count < MAX_COUNTED_DELIVERIES ? String(count) : `${MAX_COUNTED_DELIVERIES}+`
}

const countOf = (state: 'pending' | 'dead') => `(SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries
  WHERE endpoint_id = webhook_endpoints.id AND state = '${state}' LIMIT ${MAX_COUNTED_DELIVERIES}))`
export const endpointColumns =
  raw(`id, url, events, created_at, paused_at, leak_reported_at, json_object('delivered', delivered_count,
  'pending', ${countOf('pending')}, 'dead', ${countOf('dead')}) AS deliveries`)

export const { fromRow: endpointFromRow } = mapping<WebhookEndpoint>('webhook_endpoints', {
  id: 'id',
  url: 'url',
  events: ['events', json],
  createdAt: 'created_at',
  pausedAt: 'paused_at',
  leakReportedAt: 'leak_reported_at',
  deliveries: ['deliveries', json],
})

const deliveryColumns = sql`endpoint_id, event_id, (SELECT type FROM events WHERE id = event_id) AS event_type, state,
  attempts, iif(state = 'pending', next_attempt_at, NULL) AS next_attempt_at, last_outcome, created_at`

const { fromRow: deliveryFromRow } = mapping<ListedDelivery>('webhook_deliveries', {
  endpointId: 'endpoint_id',
  eventId: 'event_id',
  eventType: 'event_type',
  state: 'state',
  attempts: 'attempts',
  nextAttemptAt: 'next_attempt_at',
  lastOutcome: 'last_outcome',
  createdAt: 'created_at',
})

/** Returns the endpoints of the caller's environment, oldest first, and its latest deliveries, newest first. */
export function listWebhooks(
  database: Database,
  caller: Caller,
  limit: number,
): Promise<Outcome<{ endpoints: WebhookEndpoint[]; deliveries: ListedDelivery[] }>> {
  const undeleted = sql`deleted_at IS NULL`
  const oldestFirst = sql`ORDER BY created_at, id ${limitTo(MAX_LISTED_ENDPOINTS)}`
  const latest = sql`ORDER BY created_at DESC ${limitTo(limit)}`
  const statements = {
    endpoints: select<object>(caller, endpointColumns, 'webhook_endpoints', undeleted, oldestFirst),
    deliveries: select<object>(caller, deliveryColumns, 'webhook_deliveries', sql`true`, latest),
  }
  return runBatch(database, caller, 'read', statements, ({ endpoints, deliveries }) => ({
    granted: { endpoints: endpoints.map(endpointFromRow), deliveries: deliveries.map(deliveryFromRow) },
  }))
}

/** Makes a failed (`dead`) delivery of the caller's environment pending again. Idempotent. */
export function reviveDelivery(
  database: Database,
  { caller, now }: Change,
  { endpointId, eventId }: Pick<ListedDelivery, 'endpointId' | 'eventId'>,
): Promise<Outcome<null, 'entity_not_found'>> {
  const matches = sql`endpoint_id = ${endpointId} AND event_id = ${eventId}`
  const dead = sql`${matches} AND state = 'dead'`
  const statements = {
    revived: updateUnstamped(caller, 'write', 'webhook_deliveries', revived(now), dead, database),
    found: select(caller, sql`1`, 'webhook_deliveries', matches),
  }
  return runBatch(database, caller, 'write', statements, ({ found }) =>
    found.length > 0 ? { granted: null } : { refused: 'entity_not_found' },
  )
}

/** Maximum number of deliveries that one request makes pending again. */
const MAX_REVIVED = 1000

/** Makes failed (`dead`) deliveries of an endpoint pending again, up to `MAX_REVIVED`. Idempotent. */
export function reviveEndpoint(
  database: Database,
  { caller, now }: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found'>> {
  const dead = sql`(endpoint_id, event_id) IN (SELECT endpoint_id, event_id FROM webhook_deliveries
    WHERE endpoint_id = ${id} AND state = 'dead' LIMIT ${raw(`${MAX_REVIVED}`)})`
  const statements = {
    revived: updateUnstamped(caller, 'write', 'webhook_deliveries', revived(now), dead, database),
    found: select(caller, sql`1`, 'webhook_endpoints', sql`id = ${id} AND deleted_at IS NULL`),
  }
  return runBatch(database, caller, 'write', statements, ({ found }) =>
    found.length > 0 ? { granted: null } : { refused: 'entity_not_found' },
  )
}

/** SQL for SET that makes a delivery pending again, with no attempts. */
export function revived(now: UnixMs): Sql {
  return sql`state = 'pending', attempts = 0, next_attempt_at = ${now}, settled_at = NULL`
}

/** SQL for SET that ends a delivery. The UPDATE must choose only deliveries whose endpoint or event no longer exists. */
export function gone(now: UnixMs): Sql {
  return sql`state = 'dead', lease = NULL, last_outcome = 'gone', settled_at = ${now}`
}
