import { Choice } from '../pages/forms.tsx'
import { DAY_MS, ExactTime } from '../pages/time.tsx'

/** The lifetimes that a form offers for a secret, in days; 0 for no expiry. */
const LIFETIMES = new Map([
  [30, '30 days'],
  [90, '90 days'],
  [365, '1 year'],
  [0, 'Never'],
])
export const DEFAULT_LIFETIME = 90
const MAX_LIFETIME = 3650

/** A whole number of days; null for anything else. */
export function readLifetime(text: string): number | null {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  return days <= MAX_LIFETIME ? days : null
}

/** Unix ms; null for never. */
export function expiryOf(lifetime: number, now: number): number | null {
  return lifetime === 0 ? null : now + lifetime * DAY_MS
}

/** The lifetime that a secret was created with, to the day. */
export function lifetimeOf({ createdAt, expiresAt }: { createdAt: number; expiresAt: number | null }): number {
  if (expiresAt === null) return 0
  return Math.min(MAX_LIFETIME, Math.max(1, Math.round((expiresAt - createdAt) / DAY_MS)))
}

interface LifetimesProps {
  readonly now: number
  /** Null for an expiry that stays as it is. */
  readonly chosen: number | null
}

/** The choices, and the chosen lifetime among them. */
export const Lifetimes = ({ now, chosen }: LifetimesProps) => {
  const lifetimes = [...LIFETIMES.keys()]
  if (chosen !== null && !LIFETIMES.has(chosen)) lifetimes.unshift(chosen)
  return lifetimes.map((days) => (
    <Choice
      name="lifetime"
      value={String(days)}
      isChosen={days === chosen}
      help={days === 0 ? 'Until you revoke it.' : <ExactTime at={now + days * DAY_MS} />}
    >
      {days === 0 ? 'Never' : `In ${LIFETIMES.get(days) ?? `${days} days`}`}
    </Choice>
  ))
}

/** How long the secrets that a rotation replaces keep working, in seconds. */
export const GRACE_PERIODS = new Map([
  ['3600', 'In 1 hour'],
  ['86400', 'In 24 hours'],
  ['604800', 'In 7 days'],
  ['0', 'Immediately'],
])
export const DEFAULT_GRACE_PERIOD = '86400'
