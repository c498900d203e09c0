import { afterAll, afterEach, vi } from 'vitest'
import { cleanUp } from './at-end.ts'
import { printers, takeLines } from './kept-lines.ts'
import { forget } from './memory.ts'

// Test files share a process or a runtime, which costs a fraction of starting one for each. None of them sees the clock, the
// globals or the memory of another.
vi.useRealTimers()
vi.unstubAllGlobals()
vi.unstubAllEnvs()
forget()

afterEach(({ task }) => {
  const lines = takeLines()
  if (task.result?.state === 'fail' && lines.length > 0) printers().error(lines.join('\n'))
})
afterAll(cleanUp)
