import { afterAll, vi } from 'vitest'
import { cleanUp } from './at-end.ts'

// Test files share a process or a runtime, which costs a fraction of starting one for each. None of them sees the clock,
// the globals or the modules of another.
vi.useRealTimers()
vi.unstubAllGlobals()
vi.unstubAllEnvs()
vi.resetModules()
afterAll(cleanUp)
