import { vi } from 'vitest'

/**
 * The Worker's clock in the hands of a test. It goes forwards alone, and ahead of the database's, which has the real
 * time: a change asks the database whether it is in time, by a deadline that the Worker has set, so that a Worker whose
 * clock is ahead is believed, and one that is behind by more than its budget is told 503 for every change.
 */
const AHEAD_MS = 60 * 60 * 1000

/** Stops the clock, an hour ahead. Gives its time, unix ms. */
export function stopClock(): number {
  vi.useRealTimers()
  const now = Date.now() + AHEAD_MS
  vi.useFakeTimers({ toFake: ['Date'], now })
  return now
}

/** Moves the clock that was stopped. Gives its time. */
export function advance(ms: number): number {
  if (ms < 0) throw new RangeError('the clock goes forwards alone')
  vi.setSystemTime(Date.now() + ms)
  return Date.now()
}
