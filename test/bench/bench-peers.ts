import { writeFile } from 'node:fs/promises'
import { bundle } from '../bundle-worker.ts'
import { type Counts, countSent, countsOf, describeCounts, sentBy } from './counts.ts'
import { seed } from './data.ts'
import { bindings } from './floors.ts'
import { Load } from './load.ts'
import { describeMachine } from './machine.ts'
import { contestant, type Operation, operations } from './operations.ts'
import { type Options, readOptions } from './options.ts'
import { installPeers, type Peers } from './peers/installation.ts'
import { betterAuthBindings, startBetterAuth, startOidcProvider } from './peers/peers.ts'
import { clearProgress, progress } from './progress.ts'
import { type Contestant, measure, type Result } from './rounds.ts'
import { Runtime } from './runtime.ts'
import { number, spread, table } from './table.ts'

/** Creates and tokens of the product beside those of peers: one machine, one run, one load. */

const NOTES = `What is compared
  create   Oncekey: a client secret of an application that there is. Both peers have one secret per client, so that
           creating one means creating a client.
  token    client credentials by Basic authentication, answered by a JWT that is signed with RS256.

What they do not do
  better-auth         several secrets per client, so no rotation without an outage; Idempotency-Key; events and webhooks
                      of changes; a limit of secrets; an access token that dies with its secret.
  node-oidc-provider  any storage of its own: it runs here on the in-memory adapter that comes with it, and forgets its
                      clients at each restart; several secrets per client; rotation; Idempotency-Key; management API
                      but RFC 7591/7592, here without authentication; it runs on Node, not on Workers.`

const DATABASES = { product: 'bench', peer: 'better-auth' }
const APPLICATIONS = 2_000

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
// better-auth answers some of 64 requests at once with 500.
const options = readOptions(['--connections', '16', ...process.argv.slice(2)])
if (options === 'help')
  console.log('npm run bench:peers -- [--quick] [--connections 16] [--rounds 7] [--seconds 1] [--json FILE]')
else await main(options)

async function main(options: Options): Promise<void> {
  const about = { machine: describeMachine(), date: new Date().toISOString() }
  progress('Installing the peers from npm…')
  const peers = await installPeers()
  try {
    const report = await run(options, peers)
    clearProgress()
    const title = `npm run bench:peers\n${about.machine}\n${about.date.slice(0, 10)}\n${peers.versions.join(', ')}`
    console.log([title, ...report.results.map(describe), describeCounts(report.counts), NOTES].join('\n\n'))
    if (options.json)
      await writeFile(options.json, JSON.stringify({ ...about, versions: peers.versions, ...report }, maps, 2))
  } finally {
    await peers.remove()
  }
}

interface PeerResult {
  readonly operation: string
  readonly connections: number
  readonly result: Result
}

async function run({ connections, ...options }: Options, peers: Peers) {
  progress('Bundling the Workers…')
  const product = (await bundle('src/index.ts')).script
  const counting = (await bundle('test/bench/workers/counting.ts')).script
  const own = { database: DATABASES.product, bindings: await bindings() }
  const peer = {
    script: peers.betterAuth,
    database: DATABASES.peer,
    hasOwnSchema: true,
    compatibilityFlags: ['nodejs_compat'],
  }
  const runtime = await Runtime.start([
    { ...own, name: 'product', script: product },
    { ...own, name: 'counting', script: counting },
    { ...peer, name: 'better-auth', bindings: betterAuthBindings },
    { ...peer, name: 'better-auth-counting', bindings: { ...betterAuthBindings, IS_COUNTED: 'yes' } },
  ])
  const load = new Load()
  const oidcProvider = await startOidcProvider(peers.oidcProvider)
  try {
    const data = await seed(runtime.database(DATABASES.product), runtime.url('product'), { applications: APPLICATIONS })
    const betterAuth = await startBetterAuth(runtime, 'better-auth', DATABASES.peer)
    const results: PeerResult[] = []
    const counts = new Map<string, Counts>()
    for (const name of ['create', 'token'] as const) {
      const operation = operations.find((one) => one.name === name) as Operation
      const contestants: Contestant[] = [
        contestant('oncekey', operation, { runtime, worker: 'product', product: 'product', data }),
        oidcProvider[name],
        // The last: ratios are to it.
        betterAuth[name],
      ]
      counts.set(`${name}, oncekey`, countsOf(await sentBy(runtime, 'counting', operation, data)))
      const counted = { ...betterAuth[name], url: runtime.url('better-auth-counting') }
      counts.set(`${name}, better-auth`, countsOf(await countSent(counted)))
      for (const number of connections) {
        progress(`${name}, ${number} connections`)
        const result = await measure(load, contestants, { ...options, connections: number })
        results.push({ operation: name, connections: number, result })
      }
    }
    return { results, counts, databaseBytes: await runtime.databaseBytes() }
  } finally {
    oidcProvider.stop()
    load.stop()
    await runtime.stop()
  }
}

function describe({ operation, connections, result: { measured, noisyRounds } }: PeerResult): string {
  const head = [
    `${operation}, ${connections} connections`,
    'req/s',
    'p50 ms',
    'p99 ms',
    'CPU µs',
    'of better-auth',
    'by CPU',
  ]
  const rows = [...measured].map(([name, one]) => [
    name,
    number(one.requestsPerSecond.median),
    number(one.p50.median, 2),
    number(one.p99.median, 2),
    number(one.cpu.median),
    spread(one.ratio),
    spread(one.cpuRatio),
  ])
  return `${table(head, rows)}\n${noisyRounds} of the rounds were noisy.`
}

function maps(_: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value
}
