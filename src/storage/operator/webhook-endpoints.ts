import sql from 'sql-template-tag'
import { type Database, query, sendBatch, type UnixMs } from '../database.ts'
import { endpointColumns, endpointFromRow, gone, revived, type WebhookEndpoint } from '../webhooks.ts'

export interface NewWebhookEndpoint extends Omit<WebhookEndpoint, 'deliveries'> {
  readonly environmentId: string
  /** Signs deliveries, so it is stored as plaintext. */
  readonly secret: string
}

/** It receives the events that are recorded from now on. */
export async function createWebhookEndpoint(database: Database, endpoint: NewWebhookEndpoint): Promise<void> {
  const { id, environmentId, url, events, secret, createdAt } = endpoint
  await sendBatch(database, {
    created: query(sql`INSERT INTO webhook_endpoints (id, environment_id, url, events, secret, cursor, created_at)
      SELECT ${id}, ${environmentId}, ${url}, ${JSON.stringify(events)}, ${secret}, coalesce(max(seq), 0), ${createdAt}
      FROM events WHERE true ON CONFLICT DO NOTHING`),
  })
}

/** The endpoints of an environment, oldest first. */
export async function listWebhookEndpointsOf(database: Database, environmentId: string): Promise<WebhookEndpoint[]> {
  const { endpoints } = await sendBatch(database, {
    endpoints: query<object>(sql`SELECT ${endpointColumns} FROM webhook_endpoints
      WHERE environment_id = ${environmentId} AND deleted_at IS NULL ORDER BY created_at, id`),
  })
  return endpoints.map(endpointFromRow)
}

/** An endpoint with its secret; null if there is none. */
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

/** Deletes an endpoint and its secret: nothing more is delivered to it. False if there is none. */
export async function deleteWebhookEndpoint(database: Database, id: string, now: UnixMs): Promise<boolean> {
  const { found } = await sendBatch(database, {
    deleted: query(
      sql`UPDATE webhook_endpoints SET deleted_at = ${now}, secret = '' WHERE id = ${id} AND deleted_at IS NULL`,
    ),
    deliveries: query(sql`UPDATE webhook_deliveries SET ${gone(now)} WHERE endpoint_id = ${id} AND state = 'pending'`),
    found: query(sql`SELECT 1 FROM webhook_endpoints WHERE id = ${id}`),
  })
  return found.length === 1
}

/** Makes the dead deliveries of an endpoint pending again, and returns their number. */
export async function reviveDeliveries(database: Database, endpointId: string, now: UnixMs): Promise<number> {
  const { deliveries } = await sendBatch(database, {
    deliveries: query(
      sql`UPDATE webhook_deliveries SET ${revived(now)} WHERE endpoint_id = ${endpointId} AND state = 'dead' RETURNING 1`,
    ),
  })
  return deliveries.length
}
