/** How people read times: how long ago, or in how long; the exact one in the title. All in UTC. */

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
export const DAY_MS = 24 * HOUR

/** From how long on a unit is the one to use, its length, and its name. */
const UNITS = [
  [2 * DAY_MS, DAY_MS, 'day'],
  [HOUR, HOUR, 'hour'],
  [MINUTE, MINUTE, 'minute'],
] as const

const relative = new Intl.RelativeTimeFormat('en')
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })

/** Past this, the date says more. */
const LONGEST_RELATIVE = 60 * DAY_MS

/** In words. `at` and `now` are unix ms. */
function inWords(at: number, now: number): string {
  const distance = at - now
  if (Math.abs(distance) > LONGEST_RELATIVE) return date.format(at)
  for (const [least, length, unit] of UNITS) {
    if (Math.abs(distance) >= least) return relative.format(Math.round(distance / length), unit)
  }
  return distance > 0 ? 'in less than a minute' : 'just now'
}

/** To the second: 2027-01-31 12:00:00 UTC. */
function exactly(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

export const Time = ({ at, now }: { at: number; now: number }) => (
  <time datetime={new Date(at).toISOString()} title={exactly(at)}>
    {inWords(at, now)}
  </time>
)

/** When something will happen, for whoever decides on it: to the minute, and in how long. */
export const Moment = ({ at, now }: { at: number; now: number }) => (
  <time datetime={new Date(at).toISOString()} title={exactly(at)}>
    {exactly(at).slice(0, 16)} UTC ({inWords(at, now)})
  </time>
)
