import { parseArgs } from 'node:util'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { number, table } from '../bench/table.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { type LoadReport, runLoad } from './run.ts'

/**
 * `npm run test:load`: finds the highest rate that holds, holds it, sends twice as much, and compares what was
 * acknowledged with what is in the database. `--rate` holds that many requests a second, without a search.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    'batch-ms': { type: 'string', default: '5' },
    rate: { type: 'string' },
  },
})
const [minutes, seed, batchMs] = [values.minutes, values.seed, values['batch-ms']].map(Number) as [
  number,
  number,
  number,
]
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

progress('Bundling the Worker…')
const report = await runLoad({
  script: await bundleWorker(),
  seconds: minutes * 60,
  seed,
  batchMs,
  ...(values.rate && { rate: Number(values.rate) }),
  onProgress: progress,
})
clearProgress()
console.log(`npm run test:load -- ${process.argv.slice(2).join(' ')}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

${describe(report)}`)
process.exitCode = report.problems.length > 0 ? 1 : 0

function describe({ heldRate, hold, overload, recovery, memory, totals, problems }: LoadReport): string {
  const rows = Object.entries({ hold, overload, recovery }).map(([name, phase]) => [
    name,
    number(phase.rate),
    number(phase.succeeded),
    number(phase.p50),
    number(phase.p99),
    number(phase.refusedP99),
    number(phase.mostPending),
    Object.entries(phase.statuses)
      .map(([status, count]) => `${status}: ${number(count)}`)
      .join(', '),
  ])
  const head = ['', 'sent/s', 'succeeded/s', 'p50 ms', 'p99 ms', 'refused p99 ms', 'most at once', 'responses']
  const counts = Object.entries(totals).map(([name, count]) => `${number(count)} ${name}`)
  return `${table(head, rows)}

${values.rate ? 'The rate was given:' : 'The highest rate that holds is'} ${heldRate} requests a second.
Memory of workerd: ${number(memory.before)} MiB after the hold, ${number(memory.peak)} at most, ${number(memory.after)} afterwards.
Acknowledged: ${counts.join(', ')}.
${problems.length} problems
${problems.join('\n')}`
}
