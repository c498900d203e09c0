import { parseArgs } from 'node:util'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { describeMachine } from '../bench/machine.ts'
import { clearProgress, progress } from '../bench/progress.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { newRun, type Totals } from './run.ts'

/**
 * `npm run test:crash`: kills the runtime again and again while clients create, use, rotate and revoke client secrets, and
 * compares what was acknowledged with what is in the database afterwards.
 */
const { values } = parseArgs({
  options: { cycles: { type: 'string', default: '500' }, seed: { type: 'string', default: '1' } },
})
const cycles = Number(values.cycles)
const seed = Number(values.seed)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

progress('Bundling the Worker…')
const run = newRun(await bundleWorker(), JSON.stringify(await newSigningKey('ES256')), seed)
const problems: string[] = []
for (let cycle = 1; cycle <= cycles; cycle++) {
  problems.push(...(await run.cycle()).map((problem) => `cycle ${cycle}: ${problem}`))
  progress(`cycle ${cycle} of ${cycles}: ${describe(run.totals)}, ${problems.length} problems`)
}
await run.stop()
clearProgress()
console.log(`npm run test:crash -- --cycles ${cycles} --seed ${seed}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

${describe(run.totals)}
${problems.length} problems
${problems.join('\n')}`)
process.exitCode = problems.length > 0 ? 1 : 0

function describe({ kills, creates, rotations, revocations, uses, unknown }: Totals): string {
  const parts = { kills, creates, rotations, revocations, uses, 'unknown outcomes': unknown }
  return Object.entries(parts)
    .map(([name, count]) => `${count.toLocaleString('en-US')} ${name}`)
    .join(', ')
}
