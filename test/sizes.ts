import { inject } from 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether this is `npm run test:long`. */
    isLong: boolean
    /** The seed of random tests. */
    seed: number
  }
}

const isLong = inject('isLong')

/** The seed of every random draw: fixed for `npm test`, so that it cannot fail by chance; another one for each long run. */
export const seed = inject('seed')

/** How large a sample is: `short` in `npm test`, `long` in `npm run test:long`. */
export const size = (short: number, long: number): number => (isLong ? long : short)

/** Cases of a test: those that every run has, then those of the long run only. */
export const cases = <T>(short: readonly T[], long: readonly T[]): T[] => (isLong ? [...short, ...long] : [...short])

/** For a wait that an event ends: longer than a machine needs that is busy with other work. */
export const PATIENCE = { timeout: 30_000 }
