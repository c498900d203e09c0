import type { Reporter, TestCase, TestModule } from 'vitest/node'

const PROGRESS_MS = 30_000

/** Prints notes before a run, the tests under way during a long one, and one line of totals after it, as CI reads them. */
export function runReporter(notes: readonly string[]): Reporter {
  const started = new Map<TestCase, number>()
  let finished = 0

  const progress = setInterval(() => {
    const running = [...started].map(([test, at]) => `${test.fullName} (${Math.round((Date.now() - at) / 1000)} s)`)
    if (running.length > 0) console.log(`${finished} tests finished. Running: ${running.slice(0, 3).join(' | ')}`)
  }, PROGRESS_MS)
  progress.unref()

  return {
    onInit() {
      for (const note of notes) console.log(note)
    },
    onTestCaseReady(test) {
      started.set(test, Date.now())
    },
    onTestCaseResult(test) {
      started.delete(test)
      finished++
    },
    onTestRunEnd(modules: readonly TestModule[], errors) {
      clearInterval(progress)
      const states = modules.flatMap((module) => [...module.children.allTests()].map((test) => test.result().state))
      const count = (state: string) => states.filter((other) => other === state).length
      // No test runs of a file that cannot be read, or of a suite whose set-up fails. Both count as failed.
      const groups = modules.flatMap((module) => [module, ...module.children.allSuites()])
      const broken = groups.filter((group) => group.errors().length > 0).length + errors.length
      console.log(`${count('passed')} passed, ${count('failed') + broken} failed, ${count('skipped')} skipped`)
    },
  }
}
