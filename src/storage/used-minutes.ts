import sql, { raw, type Sql } from 'sql-template-tag'
import type { UnixMs } from './database.ts'

/**
 * In how many minutes of each day a secret was used. The numbers are kept in the row of the secret, and written with
 * its `last_used_at` alone: once a minute at most, so that one more use in the same minute is not counted.
 */

/** The number of days that the column has. The last one is the day of the last use, in UTC. */
const USED_DAYS = 30
const DAY_MS = 24 * 60 * 60 * 1000
/** A day has 1,440 minutes. */
const DIGITS = 4

const days = raw(`${USED_DAYS}`)
const length = raw(`${DIGITS * USED_DAYS}`)
const none = raw(`'${'0'.repeat(DIGITS * USED_DAYS)}'`)
/** The value of the column; empty before the first use and before its migration. */
const minutes = sql`coalesce(used_minutes, '')`
const lastDay = raw(`(coalesce(last_used_at, 0) / ${DAY_MS})`)

/** SQL for the column, with one more minute on the day of `now`. */
export function oneMoreMinute(now: UnixMs): Sql {
  const day = Math.floor(now / DAY_MS)
  // One number moves to the next place for each day since the last use.
  return sql`CASE WHEN ${lastDay} >= ${day} THEN printf('%04d', substr(${minutes}, 1, 4) + 1) || substr(${minutes}, 5)
    ELSE substr('0001' || substr(${none}, 1, 4 * min(${days}, ${day} - ${lastDay} - 1)) || ${minutes}, 1, ${length}) END`
}

/** Minutes with a use for each of the last 30 days, oldest first. The last one is the day of `now`. */
export function readUsedMinutes(usedMinutes: string | null, lastUsedAt: UnixMs | null, now: UnixMs): number[] {
  const numbers = (usedMinutes ?? '').match(/\d{4}/g) ?? []
  const daysSince = Math.floor(now / DAY_MS) - Math.floor((lastUsedAt ?? now) / DAY_MS)
  return Array.from({ length: USED_DAYS }, (_, i) => Number(numbers[USED_DAYS - 1 - i - daysSince] ?? 0))
}
