/**
 * Clean-ups for when the tests of a file have run. Helpers register them here, because vitest ignores an `afterAll` that is
 * called within a test or a hook. The list is global: test files may have modules of their own.
 */
type CleanUp = () => unknown

const KEY = Symbol.for('oncekey.at-end')

function registered(): CleanUp[] {
  const holder = globalThis as { [KEY]?: CleanUp[] }
  holder[KEY] ??= []
  return holder[KEY]
}

export function atEnd(cleanUp: CleanUp): void {
  registered().push(cleanUp)
}

/** Runs the clean-ups, the latest first. */
export async function cleanUp(): Promise<void> {
  for (const cleanUp of registered().splice(0).reverse()) await cleanUp()
}
