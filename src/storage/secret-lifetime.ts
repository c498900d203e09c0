import sql, { type Sql } from 'sql-template-tag'
import type { UnixMs } from './database.ts'

/** The longest lifetime that an environment allows its client secrets, and the reminders before their expiry. */

const DAY_MS = 24 * 60 * 60 * 1000

/** An expiry may be later than the policy allows by this much, because the clocks of clients differ. */
const CLOCK_TOLERANCE_MS = 60_000

/**
 * SQL for the longest lifetime of a new secret of an environment, in ms; NULL for no limit. `read` turns the lifetime into
 * another value within the same subquery, so that a statement reads the row of the environment only once.
 */
export function maxLifetime(environmentId: Sql, read = (lifetime: Sql) => lifetime): Sql {
  return sql`(SELECT ${read(sql`max_lifetime_days * ${DAY_MS}`)} FROM environments WHERE id = ${environmentId})`
}

/** Condition: an expiry is not after the latest one that the policy allows, or there is no policy. */
export function isAllowedExpiry(expiry: Sql | UnixMs, latest: Sql): Sql {
  return sql`coalesce(${expiry} <= ${latest} + ${CLOCK_TOLERANCE_MS}, true)`
}

/** SQL for `reminded_days` of a secret whose expiry is set at `now`: no reminder is due whose time has passed. */
export function passedReminder(expiry: Sql, now: UnixMs): Sql {
  return sql`CASE WHEN ${expiry} <= ${now + DAY_MS} THEN 1 WHEN ${expiry} <= ${now + 7 * DAY_MS} THEN 7
    WHEN ${expiry} <= ${now + 30 * DAY_MS} THEN 30 END`
}
