/** Times as people read them. All are UTC. */

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
export const DAY_MS = 24 * HOUR

/** From which distance on a unit is used, its length, and its name. */
const UNITS = [
  [2 * DAY_MS, DAY_MS, 'day'],
  [HOUR, HOUR, 'hour'],
  [MINUTE, MINUTE, 'minute'],
] as const

const relative = new Intl.RelativeTimeFormat('en')
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })

/** Beyond this distance the date is clearer. */
const MAX_RELATIVE = 60 * DAY_MS

/** `at` and `now` are unix ms. */
function inWords(at: number, now: number): string {
  const distance = at - now
  if (Math.abs(distance) > MAX_RELATIVE) return date.format(at)
  for (const [least, length, unit] of UNITS) {
    if (Math.abs(distance) >= least) return relative.format(Math.round(distance / length), unit)
  }
  return distance > 0 ? 'in less than a minute' : 'just now'
}

/** To the minute: 31 Jan 2027, 12:00 UTC. */
function exactTime(at: number): string {
  return `${date.format(at)}, ${new Date(at).toISOString().slice(11, 16)} UTC`
}

/** To the second, for a tooltip: 2027-01-31 12:00:00 UTC. */
const tooltip = (at: number) => `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`

/** How long ago, or in how long. */
export const Time = ({ at, now }: { at: number; now: number }) => (
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
