import { DAY_MS } from '../pages/time.tsx'

/** How long a secret may be chosen to live, in days; 0 for no end. */
export const LIFETIMES = { '0': 'Never', '30': 'In 30 days', '90': 'In 90 days', '365': 'In a year' } as const
export type Lifetime = keyof typeof LIFETIMES

export function lifetimeOf(text: string): Lifetime {
  return text in LIFETIMES ? (text as Lifetime) : '0'
}

/** Unix ms; null for never. */
export function expiryOf(lifetime: Lifetime, now: number): number | null {
  return lifetime === '0' ? null : now + Number(lifetime) * DAY_MS
}
