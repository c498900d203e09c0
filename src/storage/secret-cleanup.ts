import sql, { raw, type Sql } from 'sql-template-tag'
import { startOfIds } from '../credential/id.ts'
import { clientSecretMapping, liveAt } from './client-secrets.ts'
import { type Query, query, type UnixMs } from './database.ts'
import { nextSeq, organizationOfSecret } from './event-statements.ts'
import type { EventType } from './events.ts'
import { withEvent } from './history.ts'
import { passedReminder } from './secret-lifetime.ts'

/** The steps of the scheduled job that change client secrets. */

const DAY_MS = 24 * 60 * 60 * 1000

/** Maximum number of rows per step in one batch. */
export const MAX_STEP_ROWS = 500
export const upToMax = raw(`LIMIT ${MAX_STEP_ROWS}`)

/** The statements of a step. The statement with the step's name returns a row for each row that it changes. */
export type Step = Readonly<Record<string, Query>>

/**
 * Records one event for each expiry. The ID of the event has the ULID of the secret, so a second event would have the
 * same ID.
 */
export function recordExpiries(now: UnixMs): Step {
  const expired = sql`client_secrets WHERE due_at <= ${now} AND ended_at = 0 ORDER BY due_at ${upToMax}`
  return {
    expiries_recorded:
      query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, created_at)
      SELECT ${nextSeq(now)} - 1 + row_number() OVER (ORDER BY due_at),
        'event' || substr(id, length('secret') + 1), environment_id,
        ${organizationOfSecret},
        'connect_application_secret.expired', ${clientSecretMapping.snapshot}, 'system', ${now}
      FROM ${expired} ON CONFLICT DO NOTHING RETURNING 1`),
    expiries_marked: query(sql`UPDATE client_secrets SET expiry_noted_at = ${now}
      WHERE (environment_id, id) IN (SELECT environment_id, id FROM ${expired})`),
  }
}

/**
 * Event IDs that are derived from the same secret differ only in their times. So each kind of event has its own offset
 * from a full second, in ms. client-authentication.ts uses the offsets 0 and 1.
 */
const OFFSETS_MS = { expiring: 2, unused: 3 }

/** SQL for the ID of an event that cleanup records about a secret. */
function eventOf(now: UnixMs, kind: keyof typeof OFFSETS_MS): Sql {
  return sql`(${startOfIds('event', now - (now % 1000) + OFFSETS_MS[kind])} || substr(client_secrets.id, -16))`
}

/** Records an event about each of the secrets that `where` selects. */
function recordSecretEvents(now: UnixMs, eventId: Sql, type: EventType, data: Sql, where: Sql): Query {
  return query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, created_at)
    SELECT ${nextSeq(now)} - 1 + row_number() OVER (ORDER BY id), ${eventId}, environment_id, ${organizationOfSecret},
      ${type}, ${data}, 'system', ${now}
    FROM client_secrets WHERE ${where} ON CONFLICT DO NOTHING RETURNING 1`)
}

/**
 * Records reminders 30, 7 and 1 days before an expiry, each once. A disabled secret gets none, because no program can
 * use it.
 */
export function recordReminders(now: UnixMs): Step {
  const due = sql`(environment_id, id) IN (SELECT environment_id, id FROM client_secrets
    WHERE reminder_due_at <= ${now} ORDER BY reminder_due_at ${upToMax})`
  const eventId = eventOf(now, 'expiring')
  const reminder = passedReminder(sql`client_secrets.expires_at - ${now}`)
  const isReminded = sql`client_secrets.expires_at > ${now} AND client_secrets.disabled_at IS NULL`
  const data = sql`json_set(${clientSecretMapping.snapshot}, '$.expires_in_days', ${reminder})`
  return {
    reminders_recorded: recordSecretEvents(
      now,
      eventId,
      'connect_application_secret.expiring',
      data,
      sql`${due} AND ${isReminded}`,
    ),
    reminders_marked: query(sql`UPDATE client_secrets SET reminded_days = ${reminder},
      history = iif(${isReminded}, ${withEvent(eventId)}, history) WHERE ${due}`),
  }
}

/** How often cleanup checks the secrets of an environment with `max_unused_days`. */
const CHECK_INTERVAL_MS = DAY_MS

/**
 * Disables secrets that were neither used nor changed for as long as their environment allows. Each call checks one
 * page of secrets, of the environment that has waited longest. If there are more pages, the environment waits behind
 * all others that are due, so that an environment with many secrets does not delay the others. `last_used_at` has no
 * index, because every use would have to write it.
 */
export function disableUnused(now: UnixMs): Step {
  const environment = sql`(SELECT id AS environment_id, max_unused_days, coalesce(unused_checked_to, '') AS checked_to
    FROM environments INDEXED BY environments_by_unused_check
    WHERE max_unused_days IS NOT NULL AND unused_checked_at <= ${now - CHECK_INTERVAL_MS} ORDER BY unused_checked_at LIMIT 1)`
  const rest = (columns: Sql, limit: Sql) => sql`(SELECT ${columns} FROM ${environment} AS checked
    CROSS JOIN client_secrets AS read ON read.environment_id = checked.environment_id AND read.id > checked_to
    ORDER BY read.id ${limit})`
  const where = sql`(environment_id, id) IN (SELECT environment_id, id FROM ${rest(sql`*`, upToMax)} AS page
    WHERE disabled_at IS NULL AND ${liveAt(now, raw('page'))}
    AND max(coalesce(last_used_at, 0), updated_at) <= ${now} - max_unused_days * ${DAY_MS})`
  const lastOfFullPage = rest(sql`read.id`, raw(`LIMIT 1 OFFSET ${MAX_STEP_ROWS - 1}`))
  const eventId = eventOf(now, 'unused')
  return {
    unused_disabled: recordSecretEvents(
      now,
      eventId,
      'connect_application_secret.unused',
      sql`json_set(${clientSecretMapping.snapshot}, '$.disabled_at', ${now}, '$.updated_at', ${now})`,
      where,
    ),
    unused_marked: query(sql`UPDATE client_secrets SET disabled_at = ${now}, updated_at = ${now}, event_id = ${eventId},
      history = ${withEvent(eventId)} WHERE ${where}`),
    environment_checked: query(sql`UPDATE environments SET unused_checked_to = ${lastOfFullPage},
        unused_checked_at = iif(${lastOfFullPage} IS NULL, ${now}, ${now - CHECK_INTERVAL_MS})
      WHERE id = (SELECT environment_id FROM ${environment}) RETURNING 1`),
  }
}
