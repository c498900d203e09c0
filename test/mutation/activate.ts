import { expect } from 'vitest'

/** The first setup file, before anything imports the sources: the name of a generated test file says which mutant is active. */
const [, activeMutant] = /mutant-(\d+)\.test\.ts$/.exec(`${expect.getState().testPath}`) ?? []

/** A loop that a mutant made endless ends here. */
const HIT_LIMIT = 100_000

// Stryker's instrumented code reads this object, and keeps it.
const globals = globalThis as { __stryker__?: object }
globals.__stryker__ ??= {}
Object.assign(globals.__stryker__, {
  activeMutant,
  hitCount: activeMutant === undefined ? undefined : 0,
  hitLimit: HIT_LIMIT,
  mutantCoverage: { static: {}, perTest: {} },
  currentTestId: undefined,
})
