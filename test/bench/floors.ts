import { newSigningKey } from '../../src/credential/signing-key.ts'
import { bundle } from '../bundle-worker.ts'
import { type Counts, countsOf, sentBy } from './counts.ts'
import { type Data, seed } from './data.ts'
import type { KeptResponse } from './floors/response.ts'
import { Load, type LoadRequest } from './load.ts'
import { contestant, type Operation } from './operations.ts'
import type { Options } from './options.ts'
import { progress } from './progress.ts'
import { type Contestant, measure, type Result } from './rounds.ts'
import { Runtime } from './runtime.ts'

/** The product beside its floors, in one runtime and over one database. */

interface FloorResult {
  readonly operation: string
  readonly connections: number
  readonly result: Result
}

export interface FloorReport {
  readonly results: readonly FloorResult[]
  readonly counts: ReadonlyMap<string, Counts>
  readonly databaseBytes: number
}

const ISSUER = 'http://127.0.0.1:8787'
const APPLICATIONS = 2_000
const DATABASE = 'bench'

/** The bindings of every Worker of a run. */
export async function bindings(algorithm: 'RS256' | 'ES256' = 'RS256') {
  return {
    ISSUER,
    SIGNING_KEY: JSON.stringify(await newSigningKey(algorithm)),
    MAX_SECRETS_PER_APPLICATION: 100,
  }
}

export async function runFloors(options: Options): Promise<FloorReport> {
  progress('Bundling the Workers…')
  const [product, floor, counting] = await Promise.all(
    ['src/index.ts', 'test/bench/floors/index.ts', 'test/bench/workers/counting.ts'].map(
      async (main) => (await bundle(main)).script,
    ) as [Promise<string>, Promise<string>, Promise<string>],
  )
  const rs256 = await bindings()
  const es256 = await bindings('ES256')
  progress('Starting workerd…')
  const runtime = await Runtime.start([
    { name: 'product-RS256', script: product, database: DATABASE, bindings: rs256 },
    { name: 'product-ES256', script: product, database: DATABASE, bindings: es256 },
    { name: 'limited', script: product, database: DATABASE, bindings: rs256, hasRateLimits: true },
    { name: 'floor-RS256', script: floor, database: DATABASE, bindings: rs256 },
    { name: 'floor-ES256', script: floor, database: DATABASE, bindings: es256 },
    { name: 'counting', script: counting, database: DATABASE, bindings: rs256 },
  ])
  const load = new Load()
  try {
    progress(`Making ${APPLICATIONS} applications…`)
    const data = await seed(runtime.database(DATABASE), runtime.url('product-RS256'), { applications: APPLICATIONS })
    const results: FloorResult[] = []
    const counts = new Map<string, Counts>()
    for (const operation of options.operations) {
      await giveResponse(runtime, operation, data)
      counts.set(operation.name, countsOf(await sentBy(runtime, 'counting', operation, data)))
      for (const connections of options.connections) {
        progress(
          `${operation.name}, ${connections} connections (${results.length + 1} of ${options.operations.length * options.connections.length})`,
        )
        const all = contestants(runtime, operation, data, options.hasLimited)
        const result = await measure(load, all, { ...options, connections })
        results.push({ operation: operation.name, connections, result })
      }
    }
    return { results, counts, databaseBytes: await runtime.databaseBytes() }
  } finally {
    load.stop()
    await runtime.stop()
  }
}

/** The floor comes last: ratios are to it. */
function contestants(runtime: Runtime, operation: Operation, data: Data, hasLimited: boolean): Contestant[] {
  const of = (name: string, worker: string) =>
    contestant(name, operation, { runtime, worker, product: 'product-RS256', data })
  return [
    of('product', `product-${operation.algorithm}`),
    ...(operation.isLimited && hasLimited ? [of('limited', 'limited')] : []),
    of('floor', `floor-${operation.algorithm}`),
  ]
}

/** The floors answer with the headers of the product, and with its body where that is always the same. */
async function giveResponse(runtime: Runtime, operation: Operation, data: Data): Promise<void> {
  const { algorithm } = operation
  const { url, requests } = contestants(runtime, operation, data, false)[0] as Contestant
  const [request] = await requests(1)
  const { method, path, headers, body } = request as LoadRequest
  const response = await fetch(url + path, { method, headers, ...(body !== undefined && { body }) })
  const kept: KeptResponse = {
    path,
    status: response.status,
    headers: [...response.headers].filter(([name]) => !HOP_HEADERS.has(name)),
    body: await response.text(),
  }
  await fetch(`${runtime.url(`floor-${algorithm}`)}/bench/response`, { method: 'POST', body: JSON.stringify(kept) })
}

/** The server sets these itself. */
const HOP_HEADERS = new Set(['content-length', 'transfer-encoding', 'connection', 'date', 'content-encoding'])
