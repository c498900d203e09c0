import { existsSync, readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { defineConfig } from 'vitest/config'
import config, { inRuntime } from '../vitest.config.ts'
import { FOLDER } from './mutants.ts'

const root = resolve(import.meta.dirname, '../..')
/** The tests that import the sources. Those of the other projects run a bundle, which has no mutants. */
const project = config.test?.projects?.[0]
if (typeof project !== 'object' || !('test' in project)) throw new Error('the first project is not the one in workerd')

/** Runs test files with mutated sources, for mutation.ts. A long deadline of requests: load must not kill mutants. */
export default defineConfig({
  root,
  plugins: [
    inRuntime({ REQUEST_BUDGET_MS: '30000' }),
    {
      name: 'mutants',
      enforce: 'pre',
      load(id) {
        const file = resolve(root, FOLDER, relative(root, id))
        return id.startsWith(`${root}/src/`) && existsSync(file) ? readFileSync(file, 'utf8') : undefined
      },
    },
  ],
  test: {
    ...project.test,
    include: [`${FOLDER}/*.test.ts`],
    setupFiles: ['test/mutation/activate.ts', ...[project.test?.setupFiles ?? []].flat()],
    maxWorkers: 1,
    reporters: [{}],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
