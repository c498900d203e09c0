import { parseArgs } from 'node:util'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { fuzz } from './run.ts'

/** `npm run test:fuzz`: random requests of every route, each response judged. A failure is printed in its smallest form. */
const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    path: { type: 'string' },
  },
})
const requests = Number(values.requests)
const seed = Number(values.seed)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

progress('Bundling the Worker…')
const script = await bundleWorker()
let shown = 0
const onProgress = (sent: number) => {
  if (sent - shown < requests / 100) return
  shown = sent
  progress(`${sent.toLocaleString('en-US')} of about ${requests.toLocaleString('en-US')} requests`)
}
const report = await fuzz({
  script,
  requests,
  seed,
  onProgress,
  ...(values.path !== undefined && { path: values.path }),
})
clearProgress()
const statuses = [...report.statuses]
  .sort(([a], [b]) => a - b)
  .map(([status, count]) => `${status}: ${count.toLocaleString('en-US')}`)
console.log(`npm run test:fuzz -- --requests ${requests} --seed ${seed}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

${report.requests.toLocaleString('en-US')} requests. ${statuses.join(', ')}
${report.failure ?? 'Every response keeps every rule.'}`)
process.exitCode = report.failure ? 1 : 0
