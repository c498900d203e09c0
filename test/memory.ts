import type { Plugin } from 'vitest/config'

/**
 * The memory of an isolate: the maps and variables at the top of the Worker's modules. Test files share the modules, because
 * loading them takes half a second for each file. So the memory is emptied before each file.
 */

const KEY = 'oncekey.memory'
const NOTED = `(globalThis[Symbol.for('${KEY}')] ??= [])`

const MAP = /^((?:export )?const \w+(?:: .*?)? = )(new \w*(?:Map|Set)(?:<.*>)?\(\))(?=;?$)/gm
const VARIABLE = /^((?:export )?let (\w+)(?:: .*?)?(?: = (.*))?)$/gm

/** Notes the memory of each module of the Worker that is loaded. */
export const noteMemory: Plugin = {
  name: 'note-memory',
  enforce: 'pre',
  transform(code, id) {
    const isSource = id.startsWith(new URL('../src/', import.meta.url).pathname) && /\.tsx?$/.test(id)
    if (!isSource) return
    return code
      .replace(MAP, (_, start, map) => `${start}${NOTED}[${NOTED}.push(${map.replace('new Weak', 'new ')}) - 1]`)
      .replace(VARIABLE, (line, _, name, value) => `${line};${NOTED}.push({ clear: () => { ${name} = ${value} } })`)
  },
}

/** Empties the memory, as if the isolate were new. */
export function forget(): void {
  const noted = (globalThis as { [key: symbol]: { clear: () => void }[] | undefined })[Symbol.for(KEY)] ?? []
  for (const memory of noted) memory.clear()
}
