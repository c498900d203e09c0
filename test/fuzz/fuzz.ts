import { parseArgs } from 'node:util'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { fuzz } from './run.ts'
import { fuzzRaw } from './run-raw.ts'

/**
 * `npm run test:fuzz`: random requests of every route, then malformed HTTP and changed requests of real clients over
 * sockets. Each response is judged. A failure is printed in its smallest form.
 */
const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    sockets: { type: 'string', default: '2000' },
    recorded: { type: 'string', default: '10000' },
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
  if (sent >= shown && sent - shown < requests / 100) return
  shown = sent
  progress(`${sent.toLocaleString('en-US')} requests`)
}
const report = await fuzz({
  script,
  requests,
  seed,
  onProgress,
  ...(values.path !== undefined && { path: values.path }),
})
const sockets = Number(values.sockets)
const recorded = Number(values.recorded)
const raw = await fuzzRaw({ script, sockets, recorded, seed, onProgress })
clearProgress()
const failures = [...(report.failure === null ? [] : [report.failure]), ...raw.failures]
console.log(`npm run test:fuzz -- --requests ${requests} --sockets ${sockets} --recorded ${recorded} --seed ${seed}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

Requests of every route: ${describe(report)}
Over sockets: ${describe(raw)}
${failures.length === 0 ? 'Every response keeps every rule.' : failures.join('\n')}`)
process.exitCode = failures.length > 0 ? 1 : 0

function describe({
  requests,
  statuses,
}: {
  requests: number
  statuses: ReadonlyMap<number | string, number>
}): string {
  const counts = [...statuses]
    .sort(([a], [b]) => String(a).localeCompare(String(b)))
    .map(([status, count]) => `${status}: ${count.toLocaleString('en-US')}`)
  return `${requests.toLocaleString('en-US')}. ${counts.join(', ')}`
}
