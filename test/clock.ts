import { vi } from 'vitest'

/**
 * The Worker's clock, set by a test. It only goes forwards, and is ahead of the database's clock, which shows real time:
 * each change carries a deadline that the Worker sets and the database checks. A Worker whose clock is ahead is always in
 * time; one that is behind by more than its budget gets a 503 for every change.
 */
const AHEAD_MS = 60 * 60 * 1000

/** Stops the clock, an hour ahead. Returns its time in Unix milliseconds. */
export function stopClock(): number {
  vi.useRealTimers()
  const now = Date.now() + AHEAD_MS
  vi.useFakeTimers({ toFake: ['Date'], now })
  return now
}

/** Advances the stopped clock. Returns its time. */
export function advance(ms: number): number {
  if (ms < 0) throw new RangeError('the clock only goes forwards')
  vi.setSystemTime(Date.now() + ms)
  return Date.now()
}
