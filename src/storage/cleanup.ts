import sql, { join, raw, type Sql } from 'sql-template-tag'
import { type Database, type Query, query, sendBatch, type UnixMs } from './database.ts'
import { REPLAY_WINDOW_MS } from './idempotency.ts'
import { disableUnused, MAX_STEP_ROWS, recordExpiries, recordReminders, type Step, upToMax } from './secret-cleanup.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * How long deleted applications are kept, so that deleting one again succeeds. Ended secrets are kept for the same
 * time; see `due_at`.
 */
const TOMBSTONE_RETENTION_MS = 90 * DAY_MS

/**
 * How long delivered and failed webhook deliveries are kept. Until then they are listed, and failed ones can be
 * retried.
 */
const DELIVERY_RETENTION_MS = 30 * DAY_MS

/** How long sessions are stored. Every session ends earlier; see `SESSION_LIFETIME_MS`. */
const SESSION_RETENTION_MS = DAY_MS

/**
 * The number of changed rows by step. The next run repeats a failed step. `clock_skew_ms` is how far D1's clock is
 * ahead of the Worker's (see `skewOf`). The difference matters because the Worker sets the deadline of a change, and D1
 * checks the deadline.
 */
export type CleanupReport = Record<string, number | 'failed'>

/** The number of statements in one pass. `cleanUp` sends these even if `maxQueries` is lower. */
export const CLEANUP_QUERIES_PER_PASS = 1 + Object.values(stepsAt(0, 0)).flatMap(Object.keys).length

/**
 * Runs the scheduled job. It repeats its steps until no step has more work, the deadline has passed, or `maxQueries`
 * statements were sent. The next run does the rest. The steps are idempotent and independent of each other. Except for
 * `disableUnused`, they find the rows to change by an index. All steps are sent as one batch. If the batch fails, each
 * step is sent as a batch of its own.
 */
export async function cleanUp(
  database: Database,
  now: UnixMs,
  eventRetentionDays: number,
  maxQueries = Number.POSITIVE_INFINITY,
): Promise<CleanupReport> {
  const steps = stepsAt(now, eventRetentionDays)
  const report: CleanupReport = Object.fromEntries(Object.keys(steps).map((step) => [step, 0]))
  let changed = MAX_STEP_ROWS
  for (let queries = CLEANUP_QUERIES_PER_PASS; changed >= MAX_STEP_ROWS; queries += CLEANUP_QUERIES_PER_PASS) {
    if (queries > Math.max(maxQueries, CLEANUP_QUERIES_PER_PASS) || Date.now() >= database.deadline) break
    const { clockSkewMs, counts, hasMore } = await runSteps(database, steps)
    if (clockSkewMs !== null) report.clock_skew_ms = clockSkewMs
    for (const [step, count] of Object.entries(counts)) {
      report[step] = count === 'failed' || report[step] === 'failed' ? 'failed' : (report[step] ?? 0) + count
    }
    changed = Math.max(...Object.values(counts).map((count) => (count === 'failed' ? 0 : count)))
    if (hasMore) changed = MAX_STEP_ROWS
  }
  return report
}

interface Run {
  /** The difference between the clocks; null if it was not measured. */
  readonly clockSkewMs: number | null
  readonly counts: CleanupReport
  /** True if the run may still have to check more secrets for inactivity, in any environment. */
  readonly hasMore: boolean
}

async function runSteps(database: Database, steps: Record<string, Step>): Promise<Run> {
  try {
    const sentAt = Date.now()
    const statements: Step = Object.assign({ clock: readClock }, ...Object.values(steps))
    const rows = await sendBatch(database, statements)
    const counts = Object.fromEntries(Object.keys(steps).map((step) => [step, rows[step]?.length ?? 0]))
    const [clock] = rows.clock as { now: UnixMs }[]
    return { clockSkewMs: clock ? skewOf(clock.now, sentAt, Date.now()) : null, counts, hasMore: hasChecked(rows) }
  } catch {
    const counts: CleanupReport = {}
    let hasMore = false
    for (const [step, statements] of Object.entries(steps)) {
      try {
        const rows = await sendBatch(database, statements)
        counts[step] = rows[step]?.length ?? 0
        hasMore ||= hasChecked(rows)
      } catch (error) {
        console.error({ message: 'cleanup failed', step, error: String(error) })
        counts[step] = 'failed'
      }
    }
    return { clockSkewMs: null, counts, hasMore }
  }
}

const hasChecked = (rows: Readonly<Record<string, readonly unknown[]>>) => (rows.environment_checked?.length ?? 0) > 0

const readClock = query<{ now: UnixMs }>(sql`SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now`)

/**
 * Returns how far D1's clock is ahead of the Worker's: the part of the difference that latency cannot explain.
 * `reading` is D1's time. `before` and `after` are the Worker's times around the request.
 */
function skewOf(reading: UnixMs, before: UnixMs, after: UnixMs): number {
  return Math.max(reading - after, 0) + Math.min(reading - before, 0)
}

function stepsAt(now: UnixMs, eventRetentionDays: number): Record<string, Step> {
  return {
    expiries_recorded: recordExpiries(now),
    reminders_recorded: recordReminders(now),
    unused_disabled: disableUnused(now),
    idempotency_records_removed: {
      idempotency_records_removed: remove(
        'idempotency_records',
        ['digest'],
        sql`created_at <= ${now - REPLAY_WINDOW_MS}`,
      ),
    },
    secrets_removed: {
      secrets_removed: remove('client_secrets', ['environment_id', 'id'], sql`due_at <= ${now} AND ended_at > 0`),
    },
    applications_removed: {
      applications_removed: remove(
        'applications',
        ['environment_id', 'id'],
        sql`deleted_at <= ${now - TOMBSTONE_RETENTION_MS} AND NOT EXISTS (SELECT 1 FROM client_secrets
          WHERE environment_id = applications.environment_id AND application_id = applications.id)`,
      ),
    },
    deliveries_removed: {
      deliveries_removed: remove(
        'webhook_deliveries',
        ['endpoint_id', 'event_id'],
        sql`settled_at <= ${now - DELIVERY_RETENTION_MS}`,
      ),
    },
    sessions_removed: {
      sessions_removed: remove('sessions', ['id'], sql`created_at <= ${now - SESSION_RETENTION_MS}`),
    },
    events_removed: {
      // `seq` is at least the event's time in microseconds.
      events_removed: remove('events', ['seq'], sql`seq <= ${(now - eventRetentionDays * DAY_MS) * 1000}`),
    },
  }
}

function remove(table: string, key: string[], where: Sql): Query {
  const columns = join(key.map((column) => raw(column)))
  return query(sql`DELETE FROM ${raw(table)} WHERE (${columns}) IN (
    SELECT ${columns} FROM ${raw(table)} WHERE ${where} ${upToMax}) RETURNING 1`)
}
