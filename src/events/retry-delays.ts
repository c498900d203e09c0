/** The delays between the attempts at a delivery. */

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/**
 * The minimum delays after the failed attempts, without jitter. They add up to more than 72 hours. If the attempt after
 * the last delay fails, the delivery has failed.
 */
export const BACKOFF_MS = [
  10 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  6 * HOUR_MS,
  16 * HOUR_MS,
  24 * HOUR_MS,
  24 * HOUR_MS,
]
const MAX_JITTER = 0.1

/** The longest delay that a receiver can request with Retry-After. */
const MAX_RETRY_AFTER_MS = 24 * HOUR_MS

/** Returns the delay after failed attempt number `attempts`, in milliseconds; null after the last attempt. */
export function waitAfter(attempts: number, retryAfterMs: number): number | null {
  const backoff = BACKOFF_MS[attempts - 1]
  // Jitter prevents deliveries that failed together from being retried together.
  return backoff === undefined ? null : Math.max(backoff * (1 + Math.random() * MAX_JITTER), retryAfterMs)
}

/**
 * Parses Retry-After, which is a number of seconds or a date (RFC 9110 §10.2.3). Returns milliseconds; 0 if it is
 * missing or malformed.
 */
export function retryAfter(headers: Headers, now: number): number {
  const value = headers.get('Retry-After') ?? ''
  const wait = /^\d+$/.test(value) ? Number(value) * SECOND_MS : Date.parse(value) - now
  return Number.isNaN(wait) ? 0 : Math.min(Math.max(wait, 0), MAX_RETRY_AFTER_MS)
}
