import sql, { raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import type { EventType } from './events.ts'
import { limitTo, select, updateQuietly } from './statements.ts'

export interface WebhookEndpoint {
  readonly id: string
  readonly url: string
  /** The types that it receives; all of them if empty. */
  readonly events: readonly EventType[]
  readonly createdAt: UnixMs
  /** Deliveries by state: all that were ever delivered; of the others that are kept, counted up to 1,000. */
  readonly deliveries: { readonly pending: number; readonly delivered: number; readonly dead: number }
}

export interface ListedDelivery {
  readonly endpointId: string
  readonly eventId: string
  /** Null once the event is past its retention. */
  readonly eventType: EventType | null
  readonly state: 'pending' | 'delivered' | 'dead'
  readonly attempts: number
  /** Null if there is none to come. */
  readonly nextAttemptAt: UnixMs | null
  readonly lastOutcome: string | null
  readonly createdAt: UnixMs
}

export interface EndpointRow {
  readonly id: string
  readonly url: string
  /** JSON. */
  readonly events: string
  readonly created_at: UnixMs
  readonly pending: number
  readonly delivered: number
  readonly dead: number
}

interface DeliveryRow {
  readonly endpoint_id: string
  readonly event_id: string
  readonly event_type: EventType | null
  readonly state: ListedDelivery['state']
  readonly attempts: number
  readonly next_attempt_at: UnixMs
  readonly last_outcome: string | null
  readonly created_at: UnixMs
}

const countOf = (state: 'pending' | 'dead') => `(SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries
  WHERE endpoint_id = webhook_endpoints.id AND state = '${state}' LIMIT 1000)) AS ${state}`
export const endpointColumns = `id, url, events, created_at, delivered_count AS delivered,
  ${countOf('pending')}, ${countOf('dead')}`

/** The endpoints of the caller's environment, oldest first, and its latest deliveries, newest first. */
export function listWebhooks(
  database: Database,
  caller: Caller,
  limit: number,
): Promise<Outcome<{ endpoints: WebhookEndpoint[]; deliveries: ListedDelivery[] }>> {
  const deliveryColumns = sql`endpoint_id, event_id, state, attempts, next_attempt_at, last_outcome, created_at,
    (SELECT type FROM events WHERE id = event_id) AS event_type`
  const undeleted = sql`deleted_at IS NULL`
  const oldestFirst = sql`ORDER BY created_at, id`
  const latest = sql`ORDER BY created_at DESC ${limitTo(limit)}`
  return runBatch(
    database,
    caller,
    'read',
    {
      endpoints: select<EndpointRow>(caller, raw(endpointColumns), 'webhook_endpoints', undeleted, oldestFirst),
      deliveries: select<DeliveryRow>(caller, deliveryColumns, 'webhook_deliveries', sql`true`, latest),
    },
    ({ endpoints, deliveries }) => ({
      granted: { endpoints: endpoints.map(endpointFromRow), deliveries: deliveries.map(deliveryFromRow) },
    }),
  )
}

/** Makes a dead delivery of the caller's environment pending again. Idempotent. */
export function reviveDelivery(
  database: Database,
  caller: Caller,
  { endpointId, eventId }: Pick<ListedDelivery, 'endpointId' | 'eventId'>,
  now: UnixMs,
): Promise<Outcome<null, 'entity_not_found'>> {
  const matches = sql`endpoint_id = ${endpointId} AND event_id = ${eventId}`
  return runBatch(
    database,
    caller,
    'write',
    {
      revived: updateQuietly(caller, 'write', 'webhook_deliveries', revived(now), sql`${matches} AND state = 'dead'`),
      found: select(caller, sql`1`, 'webhook_deliveries', matches),
    },
    ({ found }) => (found.length > 0 ? { granted: null } : { refused: 'entity_not_found' }),
  )
}

/** Sets a delivery to pending, with all of its attempts to come. */
export function revived(now: UnixMs): Sql {
  return sql`state = 'pending', attempts = 0, next_attempt_at = ${now}, settled_at = NULL`
}

/** Ends a delivery that cannot be made, because its endpoint or event is gone. */
export function gone(now: UnixMs): Sql {
  return sql`state = 'dead', lease = NULL, last_outcome = 'gone', settled_at = ${now}`
}

export function endpointFromRow(row: EndpointRow): WebhookEndpoint {
  return {
    id: row.id,
    url: row.url,
    events: JSON.parse(row.events),
    createdAt: row.created_at,
    deliveries: { pending: row.pending, delivered: row.delivered, dead: row.dead },
  }
}

function deliveryFromRow(row: DeliveryRow): ListedDelivery {
  return {
    endpointId: row.endpoint_id,
    eventId: row.event_id,
    eventType: row.event_type,
    state: row.state,
    attempts: row.attempts,
    nextAttemptAt: row.state === 'pending' ? row.next_attempt_at : null,
    lastOutcome: row.last_outcome,
    createdAt: row.created_at,
  }
}
