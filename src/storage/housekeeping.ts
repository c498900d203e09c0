import sql, { raw, type Sql } from 'sql-template-tag'
import { clientSecretSnapshot } from './client-secrets.ts'
import { type Database, sendBatch } from './database.ts'
import { endGoneDeliveries } from './deliveries.ts'
import { sendToWebhooks } from './event-data.ts'
import { REPLAY_WINDOW_MS } from './idempotency.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** How long what was revoked, deleted or has expired is kept, so that deleting it again is a success. */
const TOMBSTONE_RETENTION_MS = 90 * DAY_MS

/** How long a delivery that has come to its end can be looked up, and revived. */
const DELIVERY_RETENTION_MS = 30 * DAY_MS

/** How many rows one step takes: what is left waits for the next run. */
const STEP_ROWS = 500

/** What a run did: rows by step, or that the step failed and is left to the next run. */
export type Housework = Record<string, number | 'failed'>

/** Does what time asks for, step by step. Each may be repeated, and a failure of one keeps no other. `now` is unix ms. */
export async function keepHouse(database: Database, now: number, eventRetentionDays: number): Promise<Housework> {
  const tombstones = now - TOMBSTONE_RETENTION_MS
  const steps: Record<string, Sql[]> = {
    expiries_noted: noteExpiries(now),
    idempotency_records_removed: [
      remove('idempotency_records', 'digest', sql`created_at <= ${now - REPLAY_WINDOW_MS}`),
    ],
    revoked_secrets_removed: [remove('client_secrets', 'id', sql`revoked_at <= ${tombstones}`)],
    expired_secrets_removed: [
      remove('client_secrets', 'id', sql`expiry_noted_at <= ${tombstones} AND expires_at <= ${tombstones}`),
    ],
    deleted_applications_removed: [
      remove(
        'applications',
        'id',
        sql`deleted_at <= ${tombstones}
          AND NOT EXISTS (SELECT 1 FROM client_secrets WHERE application_id = applications.id)`,
      ),
    ],
    deliveries_removed: [
      remove('webhook_deliveries', '(endpoint_id, event_id)', sql`settled_at <= ${now - DELIVERY_RETENTION_MS}`),
    ],
    sessions_removed: [remove('sessions', 'id', sql`last_used_at <= ${now - DAY_MS}`)],
    events_removed: [removeOldest(now - eventRetentionDays * DAY_MS)],
    deliveries_ended: [endGoneDeliveries(now, STEP_ROWS)],
  }
  const done: Housework = {}
  for (const [step, statements] of Object.entries(steps)) {
    done[step] = await sendBatch(database, statements).then(
      (rows) => rows.at(-1)?.length ?? 0,
      (error) => {
        console.error({ message: 'housekeeping failed', step, error: String(error) })
        return 'failed' as const
      },
    )
  }
  return done
}

/** Makes the event of each expiry, once: its id is the secret's own ULID, so that a second one is no other. */
function noteExpiries(now: number): Sql[] {
  const eventId = sql`'event' || substr(client_secrets.id, length('secret') + 1)`
  const isExpired = sql`expires_at <= ${now} AND expiry_noted_at IS NULL AND revoked_at IS NULL ORDER BY expires_at LIMIT ${STEP_ROWS}`
  return [
    sql`INSERT INTO events (id, environment_id, organization_id, type, data, created_at)
      SELECT ${eventId}, environment_id, (SELECT organization_id FROM applications WHERE id = application_id),
        'connect_application_secret.expired', ${clientSecretSnapshot}, ${now}
      FROM client_secrets WHERE ${isExpired} ON CONFLICT DO NOTHING`,
    sendToWebhooks(sql`events.id IN (SELECT ${eventId} FROM client_secrets WHERE ${isExpired})`, now),
    sql`UPDATE client_secrets SET expiry_noted_at = ${now}
      WHERE id IN (SELECT id FROM client_secrets WHERE ${isExpired}) RETURNING 1`,
  ]
}

function remove(table: string, key: string, isOver: Sql): Sql {
  return sql`DELETE FROM ${raw(table)} WHERE ${raw(key)} IN (SELECT ${raw(key.replace(/[()]/g, ''))} FROM ${raw(table)} WHERE ${isOver} LIMIT ${STEP_ROWS}) RETURNING 1`
}

/** From the beginning on, for as long as they are old: events are in order. */
function removeOldest(until: number): Sql {
  return sql`DELETE FROM events WHERE created_at <= ${until}
    AND seq IN (SELECT seq FROM events ORDER BY seq LIMIT ${STEP_ROWS}) RETURNING 1`
}
