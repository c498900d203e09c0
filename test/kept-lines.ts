/**
 * Lines that explain a test if it fails: responses, and the log of the Worker. The list is global, because a setup file and
 * the files of tests do not share modules.
 */
const KEY = Symbol.for('oncekey.kept-lines')
const MAX_LINES = 20

function lines(): string[] {
  const holder = globalThis as { [KEY]?: string[] }
  holder[KEY] ??= []
  return holder[KEY]
}

/** Keeps a line, and the last ones before it. */
export function keepLine(line: string): void {
  const kept = lines()
  kept.push(line)
  if (kept.length > MAX_LINES) kept.shift()
}

/** Returns the lines, and forgets them. */
export function takeLines(): string[] {
  return lines().splice(0)
}

const CONSOLE = Symbol.for('oncekey.console')

/** The functions of the console that print. kept-log.ts replaces them in the runtime, once for all files. */
export function printers(): Pick<Console, 'log' | 'error'> {
  const holder = globalThis as { [CONSOLE]?: Pick<Console, 'log' | 'error'> }
  return holder[CONSOLE] ?? console
}

/** Keeps what the console would print. */
export function keepConsole(): void {
  const holder = globalThis as { [CONSOLE]?: Pick<Console, 'log' | 'error'> }
  const { log, error } = console
  holder[CONSOLE] ??= { log, error }
  const text = (value: unknown) => (value instanceof Error ? value.stack : JSON.stringify(value))
  const keep = (...values: unknown[]) => keepLine(values.map(text).join(' '))
  Object.assign(console, { log: keep, error: keep })
}
