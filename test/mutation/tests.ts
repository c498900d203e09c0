import { afterAll, afterEach, beforeEach, onTestFailed, type TestContext } from 'vitest'

/** The object that Stryker's instrumented code reads. */
interface Stryker {
  currentTestId?: string | undefined
  mutantCoverage: Coverage
}

/** How often each mutant was reached: by each test, and outside of tests. */
export interface Coverage {
  readonly static: Record<string, number>
  readonly perTest: Record<string, Record<string, number>>
}

declare module 'vitest' {
  interface TaskMeta {
    coverage?: Coverage | undefined
  }
}

const { __stryker__: stryker } = globalThis as unknown as { __stryker__: Stryker }
const nameOf = (task: { name: string; suite?: { name: string; suite?: unknown } | undefined }): string => {
  const { name, suite } = task
  return suite ? `${nameOf(suite as typeof task)} > ${name}` : name
}

/** Records which tests of the file reach which mutants. */
export function recordCoverage(): void {
  // Concurrent tests cannot be distinguished.
  beforeEach(({ task }) => {
    stryker.currentTestId = task.concurrent ? undefined : nameOf(task)
  })
  afterEach(() => {
    stryker.currentTestId = undefined
  })
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the fixtures from the pattern.
  afterAll(({}, suite) => {
    suite.meta.coverage = stryker.mutantCoverage
  })
}

/** Runs these tests of the file, or all, until the first of them fails. */
export function runOnly(tests: readonly string[] | null): void {
  const covering = tests && new Set(tests)
  let hasFailed = false
  beforeEach((context: TestContext) => {
    if (hasFailed || (covering && !covering.has(nameOf(context.task)))) context.skip()
    onTestFailed(() => {
      hasFailed = true
    })
  })
}
