import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { UnixMs } from './database.ts'

/** The longest lifetime that an environment allows for client secrets, and the reminders before their expiry. */

const DAY_MS = 24 * 60 * 60 * 1000

/** An expiry may be this much later than the policy allows, because the clocks of clients differ. */
const CLOCK_TOLERANCE_MS = 60_000

/**
 * SQL for the longest lifetime of a new secret in ms, from a joined row of an environment; NULL if there is no limit.
 */
export function lifetimeOf(environment: 'environment' | 'environments'): Sql {
  return raw(`${environment}.max_lifetime_days * ${DAY_MS}`)
}

/** SQL for the longest lifetime of a new secret in ms, by the ID of an environment; NULL if there is no limit. */
export function maxLifetime(environmentId: Sql): Sql {
  return sql`(SELECT ${lifetimeOf('environments')} FROM environments WHERE id = ${environmentId})`
}

/** Condition: the expiry is not after `latest`, or the environment has no limit. */
export function isAllowedExpiry(expiry: Sql | UnixMs, latest: Sql): Sql {
  return sql`coalesce(${expiry} <= ${latest} + ${raw(`${CLOCK_TOLERANCE_MS}`)}, true)`
}

/**
 * SQL for `reminded_days`: the latest reminder (30, 7 or 1 days before the expiry) whose time has come, or NULL if
 * there is none. Cleanup sends only the reminders after it. `rest` is the time until the expiry in ms.
 */
export function passedReminder(rest: Sql | number): Sql {
  const cases = [1, 7, 30].map((days) => sql`WHEN ${rest} <= ${raw(`${days * DAY_MS}`)} THEN ${raw(`${days}`)}`)
  return sql`CASE ${join(cases, ' ')} END`
}
