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
