import { parseArgs } from 'node:util'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { number, table } from '../bench/table.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { findPlaintexts } from './run.ts'

/** `npm run test:plaintext`: issues client secrets in every way, and looks for their plaintexts in every medium. */
const { values } = parseArgs({
  options: { secrets: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' } },
})
const secrets = Number(values.secrets)
const seed = Number(values.seed)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

progress('Bundling the Worker…')
const script = await bundleWorker()
let shown = 0
const onProgress = (issued: number) => {
  if (issued - shown < secrets / 100) return
  shown = issued
  progress(`${number(issued)} of ${number(secrets)} secrets`)
}
const { issued, media, problems } = await findPlaintexts({ script, secrets, seed, onProgress })
clearProgress()
const rows = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts).map(([name, count]) => [name, number(count)])
console.log(`npm run test:plaintext -- --secrets ${secrets} --seed ${seed}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

${table(['issued by', 'secrets'], rows(issued))}

${table(['searched', 'bytes'], rows(media))}

${problems.length} problems
${problems.join('\n')}`)
process.exitCode = problems.length > 0 ? 1 : 0
