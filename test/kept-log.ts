import { afterAll, vi } from 'vitest'
import { keepLine } from './kept-lines.ts'

// The Worker logs each request. Vitest would format each line and send it to its own process, even if no reporter prints it.
const { log, error } = console
const keep = (...values: unknown[]) => keepLine(values.map((value) => JSON.stringify(value)).join(' '))
Object.assign(console, { log: keep, error: keep })

afterAll(() => {
  vi.restoreAllMocks()
  Object.assign(console, { log, error })
})
