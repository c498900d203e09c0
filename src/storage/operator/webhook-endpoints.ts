import sql, { type Sql } from 'sql-template-tag'
import { newId, regionOfId } from '../../credential/id.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'
import type { EventType } from '../events.ts'
import { endpointSnapshot, type NewWebhookEndpoint as NewCallerEndpoint, pauseOf } from '../webhook-endpoints.ts'
import { endpointColumns, endpointFromRow, gone, revived, type WebhookEndpoint } from '../webhooks.ts'
import { recordOperatorEvent } from './events.ts'

export interface NewWebhookEndpoint extends NewCallerEndpoint {
  readonly environmentId: string
}

/** Creates an endpoint. It receives all later events, but not the event of its own creation. */
export async function createWebhookEndpoint(database: Database, endpoint: NewWebhookEndpoint): Promise<void> {
  const { id, environmentId, url, secret, createdAt } = endpoint
  const events = JSON.stringify(endpoint.events)
  const target = sql`(SELECT ${id} AS id, ${environmentId} AS environment_id, ${url} AS url, ${events} AS events) AS target WHERE true`
  await sendBatch(database, {
    event: recordEndpointEvent('webhook_endpoint.created', id, createdAt, target),
    created: query(sql`INSERT INTO webhook_endpoints (id, environment_id, url, events, secret, cursor, created_at)
      SELECT ${id}, ${environmentId}, ${url}, ${events}, ${secret}, max(seq), ${createdAt}
      FROM events WHERE true ON CONFLICT DO NOTHING`),
  })
}

/** Returns the endpoints of an environment, oldest first. */
export async function listWebhookEndpointsOf(database: Database, environmentId: string): Promise<WebhookEndpoint[]> {
  const { endpoints } = await sendBatch(database, {
    endpoints: query<object>(sql`SELECT ${endpointColumns} FROM webhook_endpoints
      WHERE environment_id = ${environmentId} AND deleted_at IS NULL ORDER BY created_at, id`),
  })
  return endpoints.map(endpointFromRow)
}

/** Returns an endpoint with its secret; null if it does not exist. */
export async function findWebhookEndpoint(
  database: Database,
  id: string,
): Promise<(WebhookEndpoint & { secret: string }) | null> {
  const { endpoints } = await sendBatch(database, {
    endpoints: query<{ secret: string }>(
      sql`SELECT ${endpointColumns}, secret FROM webhook_endpoints WHERE id = ${id} AND deleted_at IS NULL`,
    ),
  })
  const [row] = endpoints
  return row ? { ...endpointFromRow(row), secret: row.secret } : null
}

/** Deletes an endpoint and its secret, so that nothing more is delivered to it. Returns false if it does not exist. */
export async function deleteWebhookEndpoint(database: Database, id: string, now: UnixMs): Promise<boolean> {
  const active = sql`target.id = ${id} AND target.deleted_at IS NULL`
  const { found } = await sendBatch(database, {
    event: recordEndpointEvent('webhook_endpoint.deleted', id, now, sql`webhook_endpoints AS target WHERE ${active}`),
    deleted: query(
      sql`UPDATE webhook_endpoints SET deleted_at = ${now}, secret = '' WHERE id = ${id} AND deleted_at IS NULL`,
    ),
    deliveries: query(sql`UPDATE webhook_deliveries SET ${gone(now)} WHERE endpoint_id = ${id} AND state = 'pending'`),
    found: query(sql`SELECT 1 FROM webhook_endpoints WHERE id = ${id}`),
  })
  return found.length === 1
}

/** Pauses or resumes an endpoint. Returns false if it does not exist. */
export async function pauseWebhookEndpoint(
  database: Database,
  id: string,
  isPaused: boolean,
  now: UnixMs,
): Promise<boolean> {
  const eventId = newId('event', now, regionOfId(id))
  const { type, isDue, set, isLatest } = pauseOf(isPaused, now, eventId)
  const target = sql`webhook_endpoints AS target WHERE target.id = ${id} AND target.deleted_at IS NULL AND ${isDue}`
  const { found } = await sendBatch(database, {
    event: recordOperatorEvent(type, id, now, endpointSnapshot, target, eventId),
    changed: query(sql`UPDATE webhook_endpoints SET ${set} WHERE id = ${id} AND deleted_at IS NULL AND ${isLatest}`),
    found: query(sql`SELECT 1 FROM webhook_endpoints WHERE id = ${id} AND deleted_at IS NULL`),
  })
  return found.length === 1
}

/** Makes the failed deliveries of an endpoint pending again. Returns their number. */
export async function reviveDeliveries(database: Database, endpointId: string, now: UnixMs): Promise<number> {
  const { deliveries } = await sendBatch(database, {
    deliveries: query(
      sql`UPDATE webhook_deliveries SET ${revived(now)} WHERE endpoint_id = ${endpointId} AND state = 'dead' RETURNING 1`,
    ),
  })
  return deliveries.length
}

/** Records an event of an endpoint. `target` is SQL for a FROM clause that finds the endpoint as `target`. */
function recordEndpointEvent(type: EventType, id: string, now: UnixMs, target: Sql): Query {
  return recordOperatorEvent(type, id, now, endpointSnapshot, target)
}
