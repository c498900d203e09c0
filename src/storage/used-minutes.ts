import sql, { raw, type Sql } from 'sql-template-tag'
import type { UnixMs } from './database.ts'

/**
 * The number of minutes per day in which a secret was used. The numbers are in a column of the secret, which is written
 * only together with `last_used_at`, and so at most once a minute. Further uses in the same minute are not counted.
 */

/** The number of days in the column. The newest is the UTC day of the last use. */
const USED_DAYS = 30
const DAY_MS = 24 * 60 * 60 * 1000
/** The number of digits per day. A day has 1,440 minutes. */
const DIGITS = 4

const days = raw(`${USED_DAYS}`)
const length = raw(`${DIGITS * USED_DAYS}`)
const none = raw(`'${'0'.repeat(DIGITS * USED_DAYS)}'`)
/** SQL for the value of the column. It is empty before the first use, and for secrets older than the column. */
const minutes = sql`coalesce(used_minutes, '')`
const lastDay = raw(`(coalesce(last_used_at, 0) / ${DAY_MS})`)

/** SQL for the column after one more minute on the day of `now`. */
export function oneMoreMinute(now: UnixMs): Sql {
  const day = Math.floor(now / DAY_MS)
  // The text holds one number of four digits per day, newest first. Each day since the last use moves them one day back.
  return sql`CASE WHEN ${lastDay} >= ${day} THEN printf('%04d', substr(${minutes}, 1, 4) + 1) || substr(${minutes}, 5)
    ELSE substr('0001' || substr(${none}, 1, 4 * min(${days}, ${day} - ${lastDay} - 1)) || ${minutes}, 1, ${length}) END`
}

/** Returns the number of used minutes for each of the last 30 days, oldest first. The last day is that of `now`. */
export function readUsedMinutes(usedMinutes: string | null, lastUsedAt: UnixMs | null, now: UnixMs): number[] {
  const numbers = (usedMinutes ?? '').match(/\d{4}/g) ?? []
  const daysSince = Math.floor(now / DAY_MS) - Math.floor((lastUsedAt ?? now) / DAY_MS)
  return Array.from({ length: USED_DAYS }, (_, i) => Number(numbers[USED_DAYS - 1 - i - daysSince] ?? 0))
}
