import { afterAll, afterEach, beforeEach, onTestFailed, type TestContext } from 'vitest'
import { type Coverage, ON_IMPORT } from './coverage.ts'

/** The object that Stryker's instrumented code reads. */
interface Stryker {
  activeMutant?: string | undefined
  hitCount?: number | undefined
  hitLimit?: number
  currentTestId?: string | undefined
  mutantCoverage: Coverage
}

declare module 'vitest' {
  interface TaskMeta {
    coverage?: Coverage | undefined
    /** How often the active mutant was reached. */
    hits?: number | undefined
  }
}

const { __stryker__: stryker } = globalThis as unknown as { __stryker__: Stryker }
const nameOf = (task: { name: string; suite?: { name: string; suite?: unknown } | undefined }): string => {
  const { name, suite } = task
  return suite ? `${nameOf(suite as typeof task)} > ${name}` : name
}

/** Records which tests of the file reach which mutants of the sources. */
export async function recordCoverage([testFile, sources]: readonly [string, readonly string[]]): Promise<void> {
  for (const source of sources) await import(/* @vite-ignore */ `/${source}`)
  stryker.currentTestId = ON_IMPORT
  // Concurrent tests cannot be distinguished.
  beforeEach(({ task }) => {
    stryker.currentTestId = task.concurrent ? ON_IMPORT : nameOf(task)
  })
  afterEach(() => {
    stryker.currentTestId = ON_IMPORT
  })
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the fixtures from the pattern.
  afterAll(({}, suite) => {
    suite.meta.coverage = stryker.mutantCoverage
  })
  await import(/* @vite-ignore */ `/${testFile}`)
}

/** Runs these tests of the file, or all, until the first of them fails. */
export async function judge(trial: readonly [testFile: string, tests: readonly string[] | null, hitLimit: number]) {
  const [testFile, tests, hitLimit] = trial
  stryker.hitLimit = hitLimit
  const covering = tests && new Set(tests)
  let hasFailed = false
  beforeEach((context: TestContext) => {
    if (hasFailed || (covering && !covering.has(nameOf(context.task)))) context.skip()
    onTestFailed(() => {
      hasFailed = true
    })
  })
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the fixtures from the pattern.
  afterAll(({}, suite) => {
    suite.meta.hits = stryker.hitCount
  })
  // The name makes it another module, so that the file defines its tests again, without loading the sources again.
  await import(/* @vite-ignore */ `/${testFile}?mutant=${stryker.activeMutant}`)
}
