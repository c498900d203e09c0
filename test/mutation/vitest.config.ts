import { existsSync, readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { defineConfig } from 'vitest/config'
import { noteMemory } from '../memory.ts'
import config, { inRuntime } from '../vitest.config.ts'
import { FOLDER } from './mutants.ts'

const root = resolve(import.meta.dirname, '../..')
/** The tests that import the sources. Those of the other projects run a bundle, which has no mutants. */
const project = config.test?.projects?.[0]
if (typeof project !== 'object' || !('test' in project)) throw new Error('the first project is not the one in workerd')

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

/** Runs test files with mutated sources, for mutation.ts. A long deadline of requests: load must not kill mutants. */
export default defineConfig({
  root,
  plugins: [
    inRuntime({ REQUEST_BUDGET_MS: '30000' }),
    noteMemory,
    {
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
    },
  ],
  test: {
    ...project.test,
    include: [`${FOLDER}/run-*/*.test.ts`],
    setupFiles: ['test/mutation/activate.ts', 'test/kept-log.ts', 'test/fresh-database.ts'],
    // The order in which mutation.ts names them.
    sequence: { sequencer: InOrder },
    maxWorkers: 1,
    fsModuleCache: true,
    fsModuleCachePath: resolve(root, '.wrangler/mutation-modules'),
    reporters: [{}],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
