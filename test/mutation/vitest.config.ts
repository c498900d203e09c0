import { existsSync, readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { defineConfig, type Plugin } from 'vitest/config'
import { noteMemory } from '../memory.ts'
import config, { inRuntime } from '../vitest.config.ts'
import { FOLDER } from './mutants.ts'

const root = resolve(import.meta.dirname, '../..')
/** The settings of a project of `npm test`. Workers that its tests start from the bundle have no mutants. */
function settingsOf(name: string) {
  for (const project of config.test?.projects ?? [])
    if (typeof project === 'object' && 'test' in project && project.test?.name === name) return project.test
  throw new Error(`there is no project ${name}`)
}

/** The file with the mutants of a source. */
function mutatedFile(id: string): string | undefined {
  const file = resolve(root, FOLDER, relative(root, id))
  return id.startsWith(`${root}/src/`) && existsSync(file) ? file : undefined
}

class InOrder {
  sort<T>(files: T[]): T[] {
    return files
  }
  shard<T>(files: T[]): T[] {
    return files
  }
}

const mutants: Plugin = {
  name: 'mutants',
  enforce: 'pre',
  load(id) {
    const file = mutatedFile(id)
    return file && readFileSync(file, 'utf8')
  },
  // Transforming the other modules took half of a run. Vitest keeps them for the next one.
  configureVitest({ defineCacheKeyGenerator }) {
    defineCacheKeyGenerator(({ id }) => (mutatedFile(id) || /mutation-|\?mutant=/.test(id) ? false : undefined))
  },
}

const common = { testTimeout: 30_000, hookTimeout: 30_000, maxWorkers: 1 }

/** Runs test files with mutated sources, for mutation.ts. A long deadline of requests: load must not kill mutants. */
export default defineConfig({
  root,
  test: {
    projects: [
      {
        root,
        plugins: [inRuntime({ REQUEST_BUDGET_MS: '30000' }), noteMemory, mutants],
        test: {
          ...settingsOf('workerd'),
          ...common,
          include: [`${FOLDER}/run-*/*.test.ts`],
          setupFiles: ['test/mutation/activate.ts', 'test/kept-log.ts', 'test/fresh-database.ts'],
        },
      },
      {
        root,
        plugins: [noteMemory, mutants],
        test: {
          ...settingsOf('node'),
          ...common,
          include: [`${FOLDER}/run-*/*.test.ts`],
          setupFiles: ['test/mutation/activate.ts'],
        },
      },
    ],
    // The order in which mutation.ts names them.
    sequence: { sequencer: InOrder },
    fsModuleCache: true,
    fsModuleCachePath: resolve(root, '.wrangler/mutation-modules'),
    reporters: [{}],
  },
})
