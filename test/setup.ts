import { applyD1Migrations, env, reset } from 'cloudflare:test'
import { vi } from 'vitest'

// Test files share a runtime, which costs a tenth of starting one for each. Nothing of one reaches the next: not its rows,
// its clock, its globals, or what modules remember.
vi.useRealTimers()
vi.unstubAllGlobals()
vi.resetModules()
await reset()
await applyD1Migrations(env.DB, env.MIGRATIONS)
