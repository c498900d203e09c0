import { bundle } from '../bundle-worker.ts'
import { sent, sentBy } from './counts.ts'
import { type Data, seed } from './data.ts'
import { bindings } from './floors.ts'
import { Inspector } from './inspector.ts'
import { Load, type LoadRequest } from './load.ts'
import { cpuSeconds } from './machine.ts'
import { contestant, type Operation, requestsOf } from './operations.ts'
import type { Options } from './options.ts'
import { byRoom, type Place, readProfile } from './profile.ts'
import { progress } from './progress.ts'
import { Runtime } from './runtime.ts'
import { copyDatabase, replay, type SqliteTime } from './sqlite.ts'
import type { SentStatement } from './workers/counted.ts'

/** Where the time of the Worker and of D1 goes, by operation. */

interface StatementTime {
  readonly sql: string
  readonly perRequest: number
  /** Microseconds, as D1 says. Its clock steps by a millisecond: a mean of many. */
  readonly microseconds: number
  readonly rowsRead: number
  readonly rowsWritten: number
  /** Null for a statement that only some requests send. */
  readonly sqlite: SqliteTime | null
}

export interface OperationProfile {
  readonly operation: string
  /** CPU of the whole runtime, in microseconds per request, while nothing is profiled. */
  readonly cpu: number
  /** By Worker: the product, and the two that are D1's local simulation. */
  readonly workers: readonly { readonly worker: string; readonly places: readonly Place[] }[]
  readonly statements: readonly StatementTime[]
}

const DATABASE = 'bench'
const APPLICATIONS = 1_000
const REQUESTS = 800
const CONNECTIONS = 16
const STATEMENT_REQUESTS = 400
/** The inspector's names. */
const WORKERS = { product: 'core:user:product', 'D1, entry': 'd1:db:entry', 'D1, database': 'd1:db' }

export async function runProfiles(options: Options): Promise<OperationProfile[]> {
  progress('Bundling the Workers…')
  const product = await bundle('src/index.ts')
  const counting = await bundle('test/bench/workers/counting.ts')
  const common = { database: DATABASE, bindings: await bindings() }
  progress('Starting workerd…')
  const runtime = await Runtime.start(
    [
      { ...common, name: 'product', script: product.script },
      { ...common, name: 'counting', script: counting.script },
    ],
    { hasInspector: true },
  )
  const load = new Load()
  try {
    const data = await seed(runtime.database(DATABASE), runtime.url('product'), { applications: APPLICATIONS })
    const profiles: OperationProfile[] = []
    for (const operation of options.operations.filter(({ algorithm }) => algorithm === 'RS256')) {
      progress(`${operation.name}`)
      profiles.push(await profile(runtime, load, operation, data, product.sourceMap))
    }
    return profiles
  } finally {
    load.stop()
    await runtime.stop()
  }
}

async function profile(runtime: Runtime, load: Load, operation: Operation, data: Data, sourceMap: string) {
  const url = runtime.url('product')
  const run = async () => {
    const requests = await requestsOf(operation, data, { measured: url, product: url }, REQUESTS)
    const before = cpuSeconds(runtime.pid) ?? Number.NaN
    await load.run({ ...operation, url, connections: CONNECTIONS, requests })
    return (((cpuSeconds(runtime.pid) ?? Number.NaN) - before) / REQUESTS) * 1e6
  }
  await run()
  const cpu = await run()
  const inspector = await runtime.inspectorUrl()
  const inspectors = await Promise.all(Object.values(WORKERS).map((service) => Inspector.connect(inspector, service)))
  for (const one of inspectors) await one.start()
  await run()
  const taken = await Promise.all(inspectors.map((one) => one.stop()))
  const workers = Object.keys(WORKERS).map((worker, i) => ({
    worker,
    places: readProfile(taken[i] as (typeof taken)[number], REQUESTS, worker === 'product' ? sourceMap : undefined),
  }))
  const requests = await sentBy(runtime, 'counting', operation, data, { count: STATEMENT_REQUESTS, pause: 0 })
  const statements = requests.flatMap((one) => one.statements)
  return {
    operation: operation.name,
    cpu,
    workers,
    statements: statementTimes(statements, await replayed(runtime, operation, data)),
  }
}

/** The statements of one request, replayed by SQLite on a copy of the database as it was before. */
async function replayed(runtime: Runtime, operation: Operation, data: Data): Promise<Map<string, SqliteTime>> {
  const how = { runtime, worker: 'counting', product: 'counting', data }
  const { url, requests } = contestant(operation.name, operation, how)
  const [request] = (await requests(1)) as [LoadRequest]
  const copy = await copyDatabase(await runtime.databaseFile())
  try {
    await sent(url)
    await fetch(url + request.path, { ...request, body: request.body ?? null })
    const [first] = await sent(url)
    const statements = first?.statements ?? []
    const times = replay(copy.file, statements)
    return new Map(statements.map(({ sql }, i) => [sql, times[i] as SqliteTime]))
  } finally {
    await copy.remove()
  }
}

function statementTimes(
  statements: readonly SentStatement[],
  sqlite: ReadonlyMap<string, SqliteTime>,
): StatementTime[] {
  const bySql = Map.groupBy(statements, ({ sql }) => sql)
  return [...bySql].map(([sql, all]) => {
    const mean = (value: (one: SentStatement) => number) => all.reduce((sum, one) => sum + value(one), 0) / all.length
    return {
      sql: sql.replace(/\s+/g, ' ').trim(),
      perRequest: all.length / STATEMENT_REQUESTS,
      microseconds: mean(({ duration }) => duration) * 1000,
      rowsRead: mean(({ rowsRead }) => rowsRead),
      rowsWritten: mean(({ rowsWritten }) => rowsWritten),
      sqlite: sqlite.get(sql) ?? null,
    }
  })
}

const PLACES = 20

export function describeProfiles(profiles: readonly OperationProfile[]): string {
  return profiles.map(describe).join('\n\n')
}

function describe({ operation, cpu, workers, statements }: OperationProfile): string {
  const sum = (places: readonly Place[]) => places.reduce((total, { self }) => total + self, 0)
  const inWorkers = workers.reduce((total, { places }) => total + sum(places), 0)
  const lines = [
    `${operation}: ${cpu.toFixed(0)} µs of CPU per request, of which ${inWorkers.toFixed(0)} in the Workers that are profiled`,
  ]
  for (const { worker, places } of workers) {
    lines.push('', `  ${worker}: ${sum(places).toFixed(0)} µs`)
    const rooms = byRoom(places).slice(0, 8)
    if (worker === 'product') lines.push(`    ${rooms.map(([room, self]) => `${room} ${self.toFixed(0)}`).join(', ')}`)
    const shown = places.slice(0, worker === 'product' ? PLACES : 8)
    lines.push(
      ...shown.map(
        ({ name, self, total }) => `    ${self.toFixed(1).padStart(7)} ${total.toFixed(1).padStart(7)}  ${name}`,
      ),
    )
  }
  const head = ['a request', 'D1 µs', 'compile', 'run', 'read', 'written']
  lines.push('', "  statements: times a request, µs by D1's clock, µs in SQLite alone to compile and to run, rows")
  lines.push(`    ${head.map((text) => text.padStart(9)).join(' ')}`)
  for (const { sql, perRequest, microseconds, rowsRead, rowsWritten, sqlite } of statements) {
    const numbers = [
      perRequest.toFixed(2),
      microseconds.toFixed(0),
      sqlite?.compile.toFixed(0) ?? '–',
      sqlite?.run.toFixed(0) ?? '–',
      rowsRead.toFixed(1),
      rowsWritten.toFixed(1),
    ]
    lines.push(`    ${numbers.map((text) => text.padStart(9)).join(' ')}  ${sql.slice(0, 100)}`)
  }
  return lines.join('\n')
}
