import { bundle } from '../bundle-worker.ts'
import { type Plan, plansOf } from '../query-plans.ts'
import { type Counts, countsOf, sent, sentBy } from './counts.ts'
import { type Data, seed } from './data.ts'
import { bindings } from './floors.ts'
import { Load } from './load.ts'
import { contestant } from './operations.ts'
import type { Options } from './options.ts'
import { progress } from './progress.ts'
import { type Contestant, measure, type Result } from './rounds.ts'
import { Runtime } from './runtime.ts'
import { number, spread, table } from './table.ts'

/** The product over databases of different sizes, in one runtime, taking turns. */

const SIZES = [10, 10_000, 1_000_000] as const
const APPLICATIONS = 1_000
/** More rows than this, read by the same request at the largest size, are read because of the size. */
const MAX_MORE_ROWS = 5

interface GrowthResult {
  readonly operation: string
  /** Null where a request failed, or took longer than the load waits. */
  readonly result: Result | null
  readonly failure: string | null
  /** By size. */
  readonly counts: readonly Counts[]
}

export interface GrowthReport {
  readonly sizes: readonly number[]
  readonly connections: number
  readonly results: readonly GrowthResult[]
  readonly plans: readonly Plan[]
  readonly databaseBytes: number
}

export async function runGrowth(options: Options): Promise<GrowthReport> {
  progress('Bundling the Workers…')
  const product = await bundle('src/index.ts')
  const counting = await bundle('test/bench/workers/counting.ts')
  const common = await bindings()
  progress('Starting workerd…')
  const runtime = await Runtime.start(
    SIZES.flatMap((size) => [
      { name: productOf(size), script: product.script, database: databaseOf(size), bindings: common },
      { name: countingOf(size), script: counting.script, database: databaseOf(size), bindings: common },
    ]),
  )
  const load = new Load()
  const connections = options.connections[0] ?? 1
  try {
    const data = new Map<number, Data>()
    for (const size of SIZES) data.set(size, await fill(runtime, size))
    const results: GrowthResult[] = []
    const statements = new Set<string>()
    for (const operation of options.operations.filter(({ algorithm }) => algorithm === 'RS256')) {
      progress(`${operation.name} (${results.length + 1} of ${options.operations.length})`)
      const counts: Counts[] = []
      const contestants: Contestant[] = []
      for (const [size, one] of data) {
        const requests = await sentBy(runtime, countingOf(size), operation, one)
        for (const { sql } of requests.flatMap((request) => request.statements)) statements.add(sql)
        counts.push(countsOf(requests))
        const worker = productOf(size)
        // The smallest comes last: ratios are to it.
        contestants.unshift(contestant(String(size), operation, { runtime, worker, product: worker, data: one }))
      }
      results.push({
        operation: operation.name,
        counts,
        ...(await measure(load, contestants, { ...options, connections }).then(
          (result) => ({ result, failure: null }),
          (error: Error) => ({ result: null, failure: error.message }),
        )),
      })
    }
    for (const sql of await scheduledStatements(runtime)) statements.add(sql)
    const largest = SIZES.at(-1) as number
    const plans = await plansOf(runtime.database(databaseOf(largest)), statements)
    return { sizes: SIZES, connections, results, plans, databaseBytes: await runtime.databaseBytes() }
  } finally {
    load.stop()
    await runtime.stop()
  }
}

const databaseOf = (size: number) => `secrets-${size}`
const productOf = (size: number) => `product-${size}`
const countingOf = (size: number) => `counting-${size}`

function fill(runtime: Runtime, size: number): Promise<Data> {
  const name = size.toLocaleString('en-US')
  progress(`Making ${name} secrets…`)
  return seed(runtime.database(databaseOf(size)), runtime.url(productOf(size)), {
    applications: APPLICATIONS,
    others: size,
    progress: (done) => progress(`Making ${name} secrets: ${Math.round((done / size) * 100)} %`),
  })
}

/** The statements that the Worker sends once a minute. */
async function scheduledStatements(runtime: Runtime): Promise<string[]> {
  const worker = countingOf(SIZES.at(-1) as number)
  await runtime.runSchedule(worker)
  return (await sent(runtime.url(worker))).flatMap(({ statements }) => statements.map(({ sql }) => sql))
}

/** Findings that fail the run: plans that scan a table, requests that read more rows of a larger database, and failures. */
export function problemsOf({ plans, results }: GrowthReport): string[] {
  const scans = plans.flatMap(({ sql, scans }) => scans.map((scan) => `${scan}: ${sql}`))
  const growing = results.flatMap(({ operation, counts }) => {
    const rows = counts.map(({ rowsRead }) => rowsRead)
    const more = (rows.at(-1) ?? 0) - (rows[0] ?? 0)
    return more > MAX_MORE_ROWS ? [`${operation} reads ${rows.map((one) => number(one)).join(', then ')} rows`] : []
  })
  const failed = results.flatMap(({ failure }) => failure ?? [])
  return [...scans, ...growing, ...failed]
}

export function describeGrowth({ sizes, connections, results, databaseBytes }: GrowthReport): string {
  const names = sizes.map((size) => number(size))
  const largest = String(sizes.at(-1))
  const head = [
    '',
    ...names.map((name) => `req/s at ${name}`),
    ...names.map((name) => `CPU µs at ${name}`),
    ...names.map((name) => `rows at ${name}`),
    `${names.at(-1)} to ${names[0]}`,
    'by CPU',
    'noisy',
  ]
  const rows = results.map(({ operation, result, counts }) => {
    const bySize = sizes.map((size) => result?.measured.get(String(size)))
    const last = result?.measured.get(largest)
    return [
      operation,
      ...bySize.map((one) => number(one?.requestsPerSecond.median ?? Number.NaN)),
      ...bySize.map((one) => number(one?.cpu.median ?? Number.NaN)),
      ...counts.map(({ rowsRead }) => number(rowsRead, 1)),
      last ? spread(last.ratio) : '–',
      last ? spread(last.cpuRatio) : '–',
      String(result?.noisyRounds ?? '–'),
    ]
  })
  const about = `${connections} connections, ${names.join(', ')} secrets beside the ${number(APPLICATIONS)} that requests are about`
  return `${about}; D1 is on disk: ${number(databaseBytes / 2 ** 20)} MiB\n\n${table(head, rows)}`
}
