import sql, { raw } from 'sql-template-tag'
import { type Database, type Row, sendBatch } from './database.ts'
import type { EventType } from './events.ts'
import { ask, type Caller, note, type Outcome, select } from './statements.ts'

export interface WebhookEndpoint {
  readonly id: string
  readonly url: string
  /** Empty for all. */
  readonly events: readonly EventType[]
  /** Unix ms. */
  readonly createdAt: number
}

export interface NewWebhookEndpoint extends WebhookEndpoint {
  readonly environmentId: string
  /** Signs what is sent, so it is readable at rest. */
  readonly secret: string
}

/** What a list tells of an endpoint: how many of its deliveries are in which state. */
export interface ListedWebhookEndpoint extends WebhookEndpoint {
  readonly deliveries: { readonly pending: number; readonly delivered: number; readonly dead: number }
}

export interface ListedDelivery {
  readonly endpointId: string
  readonly eventId: string
  /** Null once the event is past its retention. */
  readonly eventType: EventType | null
  readonly state: 'pending' | 'delivered' | 'dead'
  readonly attempts: number
  /** Unix ms; null when there is none to come. */
  readonly nextAttemptAt: number | null
  readonly lastOutcome: string | null
  /** Unix ms. */
  readonly createdAt: number
}

const countOf = (state: string) =>
  `(SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = webhook_endpoints.id AND state = '${state}') AS ${state}`
const endpointColumns = raw(`id, url, events, created_at, ${['pending', 'delivered', 'dead'].map(countOf).join(', ')}`)

/** For the operator. */
export async function createWebhookEndpoint(database: Database, endpoint: NewWebhookEndpoint): Promise<void> {
  const { id, environmentId, url, events, secret, createdAt } = endpoint
  await sendBatch(database, [
    sql`INSERT INTO webhook_endpoints (id, environment_id, url, events, secret, created_at)
      VALUES (${id}, ${environmentId}, ${url}, ${JSON.stringify(events)}, ${secret}, ${createdAt}) ON CONFLICT DO NOTHING`,
  ])
}

/** For the operator: the endpoints of an environment, oldest first. */
export async function listWebhookEndpointsOf(
  database: Database,
  environmentId: string,
): Promise<ListedWebhookEndpoint[]> {
  const [rows] = await sendBatch(database, [
    sql`SELECT ${endpointColumns} FROM webhook_endpoints
      WHERE environment_id = ${environmentId} AND deleted_at IS NULL ORDER BY created_at, id`,
  ])
  return (rows ?? []).map(endpointFromRow)
}

/** For the operator: an endpoint with its secret, to send it a test; null when there is none. */
export async function findWebhookEndpoint(
  database: Database,
  id: string,
): Promise<(WebhookEndpoint & { secret: string }) | null> {
  const [rows] = await sendBatch(database, [
    sql`SELECT ${endpointColumns}, secret FROM webhook_endpoints WHERE id = ${id} AND deleted_at IS NULL`,
  ])
  const row = rows?.[0]
  return row ? { ...endpointFromRow(row), secret: row.secret as string } : null
}

/** For the operator. Nothing more is sent there, and its secret is forgotten. False when there is none. `now` is unix ms. */
export async function deleteWebhookEndpoint(database: Database, id: string, now: number): Promise<boolean> {
  const [, rows] = await sendBatch(database, [
    sql`UPDATE webhook_endpoints SET deleted_at = ${now}, secret = '' WHERE id = ${id} AND deleted_at IS NULL`,
    sql`SELECT 1 FROM webhook_endpoints WHERE id = ${id}`,
  ])
  return rows?.length === 1
}

/** For the operator: puts the dead deliveries of an endpoint on their way again, and tells how many. `now` is unix ms. */
export async function reviveDeliveries(database: Database, endpointId: string, now: number): Promise<number> {
  const [rows] = await sendBatch(database, [
    sql`UPDATE webhook_deliveries SET ${revived(now)} WHERE endpoint_id = ${endpointId} AND state = 'dead' RETURNING 1`,
  ])
  return rows?.length ?? 0
}

/** The endpoints of the caller's environment, oldest first, and its latest deliveries, newest first. */
export function listWebhooks(
  database: Database,
  caller: Caller,
  limit: number,
): Promise<Outcome<{ endpoints: ListedWebhookEndpoint[]; deliveries: ListedDelivery[] }>> {
  const columns = sql`endpoint_id, event_id, state, attempts, next_attempt_at, last_outcome, created_at,
    (SELECT type FROM events WHERE id = event_id) AS event_type`
  const isThere = sql`deleted_at IS NULL`
  return ask(
    database,
    caller,
    'read',
    [
      select(caller, endpointColumns, 'webhook_endpoints', isThere, sql`ORDER BY created_at, id`),
      select(caller, columns, 'webhook_deliveries', sql`true`, sql`ORDER BY created_at DESC LIMIT ${limit}`),
    ],
    ([endpoints = [], deliveries = []]) => ({
      granted: { endpoints: endpoints.map(endpointFromRow), deliveries: deliveries.map(deliveryFromRow) },
    }),
  )
}

/** Puts a dead delivery of the caller's environment on its way again. Doing it again is a success. `now` is unix ms. */
export function reviveDelivery(
  database: Database,
  caller: Caller,
  delivery: Pick<ListedDelivery, 'endpointId' | 'eventId'>,
  now: number,
): Promise<Outcome<null, 'entity_not_found'>> {
  const isIt = sql`endpoint_id = ${delivery.endpointId} AND event_id = ${delivery.eventId}`
  return ask(
    database,
    caller,
    'write',
    [
      note(caller, 'write', 'webhook_deliveries', revived(now), sql`${isIt} AND state = 'dead'`),
      select(caller, sql`1`, 'webhook_deliveries', isIt),
    ],
    ([, found = []]) => (found.length > 0 ? { granted: null } : { refused: 'entity_not_found' }),
  )
}

/** As new: with all of its attempts before it. */
function revived(now: number) {
  return sql`state = 'pending', attempts = 0, next_attempt_at = ${now}, settled_at = NULL`
}

function endpointFromRow(row: Row): ListedWebhookEndpoint {
  return {
    id: row.id as string,
    url: row.url as string,
    events: JSON.parse(row.events as string),
    createdAt: row.created_at as number,
    deliveries: { pending: row.pending as number, delivered: row.delivered as number, dead: row.dead as number },
  }
}

function deliveryFromRow(row: Row): ListedDelivery {
  const state = row.state as ListedDelivery['state']
  return {
    endpointId: row.endpoint_id as string,
    eventId: row.event_id as string,
    eventType: row.event_type as EventType | null,
    state,
    attempts: row.attempts as number,
    nextAttemptAt: state === 'pending' ? (row.next_attempt_at as number) : null,
    lastOutcome: row.last_outcome as string | null,
    createdAt: row.created_at as number,
  }
}
