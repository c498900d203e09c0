import sql, { join, raw, type Sql } from 'sql-template-tag'
import { clientSecretSnapshot } from './client-secrets.ts'
import { type Database, query, sendBatch, type UnixMs } from './database.ts'
import { endOrphanedDeliveries } from './deliveries.ts'
import { REPLAY_WINDOW_MS } from './idempotency.ts'
import { queueDeliveries } from './statements.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** Revoked, deleted and expired rows are kept for this long, so that deleting them again is a success. */
const TOMBSTONE_RETENTION_MS = 90 * DAY_MS

/** Delivered and dead webhook deliveries can be looked up, and revived, for this long. */
const DELIVERY_RETENTION_MS = 30 * DAY_MS

/** Maximum rows per step and run. */
const MAX_STEP_ROWS = 500

/** The number of rows by step, or that the step failed and is left to the next run. */
export type CleanupReport = Record<string, number | 'failed'>

/** The scheduled job: runs each cleanup step. The steps are idempotent and independent of each other. */
export async function cleanUp(database: Database, now: UnixMs, eventRetentionDays: number): Promise<CleanupReport> {
  const tombstones = now - TOMBSTONE_RETENTION_MS
  const steps: Record<string, Sql[]> = {
    expiries_recorded: recordExpiries(now),
    idempotency_records_removed: [
      remove('idempotency_records', ['digest'], sql`created_at <= ${now - REPLAY_WINDOW_MS}`),
    ],
    revoked_secrets_removed: [remove('client_secrets', ['id'], sql`revoked_at <= ${tombstones}`)],
    expired_secrets_removed: [
      remove('client_secrets', ['id'], sql`expiry_noted_at <= ${tombstones} AND expires_at <= ${tombstones}`),
    ],
    deleted_applications_removed: [
      remove(
        'applications',
        ['id'],
        sql`deleted_at <= ${tombstones}
          AND NOT EXISTS (SELECT 1 FROM client_secrets WHERE application_id = applications.id)`,
      ),
    ],
    deliveries_removed: [
      remove('webhook_deliveries', ['endpoint_id', 'event_id'], sql`settled_at <= ${now - DELIVERY_RETENTION_MS}`),
    ],
    sessions_removed: [remove('sessions', ['id'], sql`last_used_at <= ${now - DAY_MS}`)],
    events_removed: [removeOldestEvents(now - eventRetentionDays * DAY_MS)],
    deliveries_ended: [endOrphanedDeliveries(now, MAX_STEP_ROWS)],
  }
  const report: CleanupReport = {}
  for (const [step, statements] of Object.entries(steps)) {
    const queries = Object.fromEntries(statements.map((statement, i) => [i, query(statement)]))
    report[step] = await sendBatch(database, queries).then(
      (rows) => Object.values(rows).at(-1)?.length ?? 0,
      (error) => {
        console.error({ message: 'cleanup failed', step, error: String(error) })
        return 'failed' as const
      },
    )
  }
  return report
}

/** Records the event of each expiry once: its id is the secret's own ULID, so a second one has the same id. */
function recordExpiries(now: UnixMs): Sql[] {
  const eventId = sql`'event' || substr(client_secrets.id, length('secret') + 1)`
  const whereExpired = sql`expires_at <= ${now} AND expiry_noted_at IS NULL AND revoked_at IS NULL
    ORDER BY expires_at LIMIT ${MAX_STEP_ROWS}`
  return [
    sql`INSERT INTO events (id, environment_id, organization_id, type, data, created_at)
      SELECT ${eventId}, environment_id, (SELECT organization_id FROM applications WHERE id = application_id),
        'connect_application_secret.expired', ${clientSecretSnapshot}, ${now}
      FROM client_secrets WHERE ${whereExpired} ON CONFLICT DO NOTHING`,
    queueDeliveries(sql`events.id IN (SELECT ${eventId} FROM client_secrets WHERE ${whereExpired})`, now),
    sql`UPDATE client_secrets SET expiry_noted_at = ${now}
      WHERE id IN (SELECT id FROM client_secrets WHERE ${whereExpired}) RETURNING 1`,
  ]
}

function remove(table: string, key: string[], where: Sql): Sql {
  const columns = join(key.map((column) => raw(column)))
  return sql`DELETE FROM ${raw(table)} WHERE (${columns}) IN (
    SELECT ${columns} FROM ${raw(table)} WHERE ${where} LIMIT ${MAX_STEP_ROWS}) RETURNING 1`
}

/** Events are in order, so the oldest come first. */
function removeOldestEvents(until: UnixMs): Sql {
  return sql`DELETE FROM events WHERE created_at <= ${until}
    AND seq IN (SELECT seq FROM events ORDER BY seq LIMIT ${MAX_STEP_ROWS}) RETURNING 1`
}
