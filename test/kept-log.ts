import { afterAll, vi } from 'vitest'
import { keepConsole } from './kept-lines.ts'

// The Worker logs each request. Vitest would format each line and send it to its own process, even if no reporter prints it.
keepConsole()

afterAll(() => void vi.restoreAllMocks())
