import { afterAll, afterEach, vi } from 'vitest'
import { cleanUp } from './at-end.ts'
import { takeLines } from './kept-lines.ts'

// Test files share a process or a runtime, which costs a fraction of starting one for each. None of them sees the clock or
// the globals of another.
vi.useRealTimers()
vi.unstubAllGlobals()
vi.unstubAllEnvs()
// The Worker remembers callers in its modules, and the commands remember nothing.
if (navigator.userAgent === 'Cloudflare-Workers') vi.resetModules()

afterEach(({ task }) => {
  const lines = takeLines()
  if (task.result?.state === 'fail' && lines.length > 0) console.error(lines.join('\n'))
})
afterAll(cleanUp)
