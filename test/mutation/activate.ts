import { afterAll, expect, vi } from 'vitest'
import { cleanUp } from '../at-end.ts'
import { forget } from '../memory.ts'

/** The first setup file, before anything imports the sources: the name of a generated test file says which mutant is active. */
const path = `${expect.getState().testPath}`
const [, activeMutant] = /mutant-(\d+)\.test\.ts$/.exec(path) ?? []

// Stryker's instrumented code reads this object, and keeps it.
const globals = globalThis as { __stryker__?: object }
globals.__stryker__ ??= {}
Object.assign(globals.__stryker__, {
  activeMutant,
  hitCount: activeMutant === undefined ? undefined : 0,
  // While the sources are loaded. tests.ts sets that of the tests.
  hitLimit: 100_000,
  mutantCoverage: { static: {}, perTest: {} },
  currentTestId: undefined,
})

// As test/fresh.ts. Loading the modules costs more than most files' tests, so that mutants share them.
vi.useRealTimers()
vi.unstubAllGlobals()
vi.unstubAllEnvs()
vi.restoreAllMocks()
forget()
afterAll(cleanUp)
if (path.includes('/fresh-')) vi.resetModules()
