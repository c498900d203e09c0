import { writeFile } from 'node:fs/promises'
import { describePlans } from '../query-plans.ts'
import { type Counts, describeCounts } from './counts.ts'
import { type FloorReport, runFloors } from './floors.ts'
import { describeGrowth, problemsOf, runGrowth } from './growth.ts'
import { describeMachine } from './machine.ts'
import { type Options, readOptions, USAGE } from './options.ts'
import { costPerMillion, PRICES } from './prices.ts'
import { describeProfiles, runProfiles } from './profiles.ts'
import { clearProgress } from './progress.ts'
import { number, spread, table } from './table.ts'

// The files of a run are removed when its process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const options = readOptions(process.argv.slice(2))
if (options === 'help') console.log(USAGE)
else await main(options)

async function main(options: Options): Promise<void> {
  const about = {
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim(),
    machine: describeMachine(),
    date: new Date().toISOString(),
  }
  console.log(`${about.command}\n${about.machine}\n${about.date.slice(0, 10)}\n`)
  const report = await runMode(options)
  if (options.json) await writeFile(options.json, JSON.stringify({ ...about, ...report }, jsonMaps, 2))
}

async function runMode(options: Options): Promise<object> {
  if (options.mode === 'profile') {
    const profiles = await runProfiles(options)
    clearProgress()
    console.log(describeProfiles(profiles))
    return { profiles }
  }
  if (options.mode === 'growth') {
    const report = await runGrowth(options)
    const problems = problemsOf(report)
    clearProgress()
    console.log([describePlans(report.plans), describeGrowth(report), ...problems].join('\n\n'))
    if (problems.length > 0) process.exitCode = 1
    return { ...report, problems }
  }
  const report = await runFloors(options)
  clearProgress()
  console.log(describeFloors(report, options))
  return report
}

function describeFloors({ results, counts, databaseBytes }: FloorReport, { connections }: Options): string {
  const parts = connections.map((number) => describeConnections(number, results))
  return [...parts, describeCost(counts, results), `D1 is on disk: ${(databaseBytes / 2 ** 20).toFixed(1)} MiB.`].join(
    '\n\n',
  )
}

function describeConnections(connections: number, results: FloorReport['results']): string {
  const head = [
    '',
    'req/s',
    'p50 ms',
    'p99 ms',
    'CPU µs',
    'floor req/s',
    'floor CPU µs',
    'of floor',
    'by CPU',
    'with rate limits',
    'load',
    'noisy',
  ]
  const rows = results
    .filter((one) => one.connections === connections)
    .map(({ operation, result: { measured, noisyRounds, loadShare } }) => {
      const [product, limited, floor] = ['product', 'limited', 'floor'].map((name) => measured.get(name))
      if (!product || !floor) throw new Error(`${operation} was not measured`)
      return [
        operation,
        number(product.requestsPerSecond.median),
        number(product.p50.median, 2),
        number(product.p99.median, 2),
        number(product.cpu.median),
        number(floor.requestsPerSecond.median),
        number(floor.cpu.median),
        spread(product.ratio),
        spread(product.cpuRatio),
        limited ? spread(limited.ratio) : '–',
        number(loadShare, 2),
        String(noisyRounds),
      ]
    })
  return `${connections} connection${connections === 1 ? '' : 's'}, without the rate limits' local simulation\n\n${table(head, rows)}`
}

function describeCost(counts: FloorReport['counts'], results: FloorReport['results']): string {
  const cpuOf = (operation: string) =>
    results.findLast((one) => one.operation === operation)?.result.measured.get('product')?.cpu.median ?? Number.NaN
  const cost = (operation: string, one: Counts) => number(costPerMillion(one, cpuOf(operation)), 2)
  return `${describeCounts(counts, { '$ per million': cost })}\n\nPrices: ${PRICES.source}. CPU counts the whole runtime, D1 too.`
}

function jsonMaps(_: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value
}
