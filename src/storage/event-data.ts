import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { Change } from './statements.ts'

/** SQL for the JSON of a row: what an event keeps of it, and what its mapper reads back. Columns are ours, not input. */
export function snapshotOf(table: string, columns: readonly string[]): Sql {
  return sql`json_object(${join(
    columns.map((column) => raw(`'${column}', ${table}.${column}`)),
    ', ',
  )})`
}

/** The secrets that a change touched in an application, but for one: as JSON, for its event. */
export function touchedSecrets(change: Change, applicationId: Sql, except = ''): Sql {
  return sql`json((SELECT json_group_array(json_object('id', touched.id, 'secret_hint', touched.secret_hint))
    FROM client_secrets AS touched
    WHERE touched.application_id = ${applicationId} AND touched.event_id = ${change.eventId} AND touched.id <> ${except}))`
}

/**
 * Puts events on their way to every webhook of their environment that wants them. It goes with the events, and may be
 * repeated with them. `now` is unix ms.
 */
export function sendToWebhooks(isEvent: Sql, now: number): Sql {
  return sql`INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at)
    SELECT webhook_endpoints.id, events.id, events.environment_id, 'pending', 0, ${now}, ${now}
    FROM events JOIN webhook_endpoints ON webhook_endpoints.environment_id = events.environment_id
      AND webhook_endpoints.deleted_at IS NULL
      AND (webhook_endpoints.events = '[]' OR events.type IN (SELECT value FROM json_each(webhook_endpoints.events)))
    WHERE ${isEvent} ON CONFLICT DO NOTHING`
}
