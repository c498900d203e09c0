/** Times for people, all in UTC. */

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
export const DAY_MS = 24 * HOUR
const MONTH = 30.44 * DAY_MS
const YEAR = 365.25 * DAY_MS

/** For each unit: the smallest distance for which it is used, its length, and its name. */
const UNITS = [
  [2 * YEAR, YEAR, 'year'],
  [60 * DAY_MS, MONTH, 'month'],
  [2 * DAY_MS, DAY_MS, 'day'],
  [HOUR, HOUR, 'hour'],
  [MINUTE, MINUTE, 'minute'],
] as const

const relative = new Intl.RelativeTimeFormat('en')
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })

/** `at` and `now` are in Unix ms. */
function inWords(at: number, now: number): string {
  const distance = at - now
  for (const [least, length, unit] of UNITS) {
    if (Math.abs(distance) >= least) return relative.format(Math.round(distance / length), unit)
  }
  return distance > 0 ? 'in less than a minute' : 'just now'
}

/** Formats a time to the minute: 31 Jan 2027, 12:00 UTC. */
export function exactTime(at: number): string {
  return `${date.format(at)}, ${new Date(at).toISOString().slice(11, 16)} UTC`
}

/** Formats a time to the second, for a tooltip: 2027-01-31 12:00:00 UTC. */
const tooltip = (at: number) => `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`

/**
 * The exact time, and its distance from now. In a table, the distance is on a second line. In a sentence, it is in
 * brackets.
 */
export const Time = ({ at, now }: { at: number; now: number }) => (
  <>
    <ExactTime at={at} /> <span class="ago">{inWords(at, now)}</span>
  </>
)

/** The distance of a time from now, such as `3 days ago`, for a sentence that has another exact time. */
export const Ago = ({ at, now }: { at: number; now: number }) => (
  <time datetime={new Date(at).toISOString()} title={tooltip(at)}>
    {inWords(at, now)}
  </time>
)

/** The exact time, for decisions and for comparing with a log. */
export const ExactTime = ({ at }: { at: number }) => (
  <time datetime={new Date(at).toISOString()} title={tooltip(at)}>
    {exactTime(at)}
  </time>
)

/** A number of seconds in words: 1 hour, 90 minutes. */
export function duration(seconds: number): string {
  const [length, unit] = seconds % 3600 === 0 ? [3600, 'hour'] : seconds % 60 === 0 ? [60, 'minute'] : [1, 'second']
  const count = seconds / length
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
