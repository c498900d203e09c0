import { afterAll, vi } from 'vitest'
import { keepLine } from './kept-lines.ts'

// The Worker logs each request. Vitest would send each line to its own process, even if no reporter prints it.
const print = console.log
console.log = (...values) => keepLine(values.map((value) => JSON.stringify(value)).join(' '))

afterAll(() => {
  vi.restoreAllMocks()
  console.log = print
})
