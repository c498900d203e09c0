import { parseArgs } from 'node:util'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { Grid } from './product.ts'
import { runGrid } from './run.ts'

/**
 * `npm run test:grid`: every fault of the database, at every statement of every route, in each region. `--only` runs the cases
 * with this text in their names, such as the name that a failure has printed.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    cases: { type: 'string' },
    only: { type: 'string', default: '' },
  },
})
const seed = Number(values.seed)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

progress('Bundling the Worker…')
const start = Date.now()
const grid = await Grid.start(await bundleWorker())
let shown = 0
const { routes, refused, all, cases, missed, statuses, failures } = await runGrid(grid, {
  seed,
  only: values.only,
  ...(values.cases !== undefined && { cases: Number(values.cases) }),
  onProgress: (done, chosen) => {
    if (done - shown < chosen / 100) return
    shown = done
    progress(`${done.toLocaleString('en-US')} of ${chosen.toLocaleString('en-US')} cases`)
  },
})
await grid.stop()
clearProgress()
const counts = [...statuses]
  .sort(([a], [b]) => a - b)
  .map(([status, count]) => `${status}: ${count.toLocaleString('en-US')}`)
console.log(`npm run test:grid -- --seed ${seed}${values.cases === undefined ? '' : ` --cases ${values.cases}`}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}, ${Math.round((Date.now() - start) / 1000)} s

${routes} routes and regions, ${cases.toLocaleString('en-US')} of ${all.toLocaleString('en-US')} cases, ${missed} not reached. ${counts.join(', ')}
${refused.length > 0 ? `Refused without a fault: ${refused.join(', ')}\n` : ''}${failures.length} failures
${failures.join('\n')}`)
process.exitCode = failures.length > 0 ? 1 : 0
