import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { bundle } from '../bundle-worker.ts'
import { type Data, seed } from './data.ts'
import { LOCATIONS, type Location, nearestLocation, ORIGINS, type Origin, roundTrip, SOURCES } from './distances.ts'
import { bindings } from './floors.ts'
import type { LoadRequest } from './load.ts'
import { describeMachine } from './machine.ts'
import { type Operation, operations } from './operations.ts'
import { clearProgress, progress } from './progress.ts'
import { Runtime } from './runtime.ts'
import { quantile } from './statistics.ts'
import { number, table } from './table.ts'

/**
 * Simulates callers on six continents: one Worker per origin, whose D1 bindings answer after the round trip to their
 * database. It shows what distance costs the product, and nothing of Cloudflare's own network or of D1's stalls.
 */
const USAGE = `npm run bench:world -- [--requests N] [--json FILE]

A simulation: the production bundle in workerd, with D1 bindings that are delayed by published round trips.

  --requests N  requests of each origin and operation (50)
  --json FILE   writes the results as JSON, too`

const [CREATE, TOKEN, INTROSPECTION] = ['create', 'token', 'introspection'].map((name) =>
  operations.find((operation) => operation.name === name),
) as [Operation, Operation, Operation]
const OPERATIONS = [CREATE, TOKEN, INTROSPECTION]
/** Callers of each origin. They pause between requests, so that no request waits for another on this machine. */
const CALLERS = 2
const PAUSE_MS = 250
const WARM_UP_REQUESTS = 8

interface Scenario {
  readonly name: string
  readonly locationFor: (origin: Origin) => Location
}

const SCENARIOS: readonly Scenario[] = [
  { name: 'One database in enam', locationFor: () => 'enam' },
  { name: 'One database in weur', locationFor: () => 'weur' },
  { name: 'Home regions: the nearest of enam, weur, apac and oc', locationFor: nearestLocation },
]

interface Row {
  readonly origin: Origin
  readonly location: Location
  /** One round trip, in milliseconds. */
  readonly limit: number
  /** By operation, in milliseconds. */
  readonly latencies: Readonly<Record<string, Latencies>>
}

/** Access tokens are issued once, before anything is measured. */
interface Prepared extends Data {
  readonly tokens: readonly string[]
}

interface Latencies {
  readonly p50: number
  readonly p99: number
}

/** A place from which requests come. */
interface Site {
  readonly origin: Origin
  readonly url: string
  /** Keeps apart the applications of requests that run at the same time. */
  readonly first: number
}

// The files of a run are removed when its process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '50' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) console.log(USAGE)
else await main(Number(values.requests), values.json)

async function main(requests: number, json: string | undefined): Promise<void> {
  if (!(requests >= 1)) throw new Error('--requests must be a positive number.')
  const about = {
    command: `npm run bench:world -- ${process.argv.slice(2).join(' ')}`.trim(),
    machine: describeMachine(),
    date: new Date().toISOString(),
  }
  const scenarios = await simulate(requests)
  clearProgress()
  console.log(`${about.command}\n${about.machine}\n${about.date.slice(0, 10)}\n\n${describe(scenarios)}`)
  if (json) await writeFile(json, JSON.stringify({ ...about, sources: SOURCES, scenarios }, null, 2))
}

async function simulate(requests: number) {
  progress('Bundling the Worker…')
  const { script } = await bundle('test/bench/workers/distant.ts')
  progress('Starting workerd…')
  const common = await bindings()
  const runtime = await Runtime.start(
    ORIGINS.map((origin, i) => ({
      name: workerAt(i),
      script,
      databases: Object.fromEntries(LOCATIONS.map((location) => [bindingOf(location), location])),
      bindings: {
        ...common,
        REGIONS: LOCATIONS.map((location, digit) => `${digit}=${bindingOf(location)}`).join(),
        ROUND_TRIPS: JSON.stringify(
          Object.fromEntries(LOCATIONS.map((location) => [bindingOf(location), roundTrip(origin, location)])),
        ),
      },
    })),
  )
  const sites = ORIGINS.map((origin, i): Site => {
    return { origin, url: runtime.url(workerAt(i)), first: i * (requests + WARM_UP_REQUESTS) }
  })
  try {
    const data = new Map<Location, Prepared>()
    for (const [digit, location] of LOCATIONS.entries()) {
      progress(`Filling ${location}…`)
      const options = { region: String(digit), applications: (requests + WARM_UP_REQUESTS) * ORIGINS.length }
      const url = sites.find(({ origin }) => nearestLocation(origin) === location)?.url as string
      const seeded = await seed(runtime.database(location), url, options)
      const tokens = await INTROSPECTION.prepare?.(seeded, { measured: url, product: url })
      data.set(location, { ...seeded, tokens: tokens ?? [] })
    }
    const scenarios: { name: string; rows: Row[] }[] = []
    for (const { name, locationFor } of SCENARIOS) {
      const at = (site: Site) => data.get(locationFor(site.origin)) as Prepared
      const latencies = new Map(sites.map((site) => [site, {} as Record<string, Latencies>]))
      for (const operation of OPERATIONS) {
        progress(`${name}: ${operation.name}…`)
        await Promise.all(
          sites.map(async (site) => {
            const result = await run(site, operation, at(site), requests)
            Object.assign(latencies.get(site) as object, { [operation.name]: result })
          }),
        )
      }
      const rows = sites.map((site) => {
        const location = locationFor(site.origin)
        const limit = roundTrip(site.origin, location)
        return { origin: site.origin, location, limit, latencies: latencies.get(site) ?? {} }
      })
      scenarios.push({ name, rows })
    }
    return scenarios
  } finally {
    await runtime.stop()
  }
}

function workerAt(i: number): string {
  return `origin-${i}`
}

function bindingOf(location: Location): string {
  return `DB_${location.toUpperCase()}`
}

async function run({ url, first }: Site, operation: Operation, data: Prepared, count: number): Promise<Latencies> {
  const requests = (from: number, to: number) =>
    Promise.all(Array.from({ length: to - from }, (_, i) => operation.request(data, from + i, data.tokens)))
  const warm = first + WARM_UP_REQUESTS
  // An isolate that has just started is slower, and so is its first request to a database.
  await callAll(url, operation, await requests(first, warm))
  const latencies = await callAll(url, operation, await requests(warm, warm + count))
  latencies.sort((a, b) => a - b)
  return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

/** Sends every request once, and gives the time of each. Throws for a response that is not the expected one. */
async function callAll(url: string, { status }: Operation, requests: readonly LoadRequest[]): Promise<number[]> {
  const waiting = requests.values()
  const latencies: number[] = []
  const callOneAfterAnother = async () => {
    for (const { method, path, headers, body } of waiting) {
      const begun = performance.now()
      const response = await fetch(url + path, { method, headers, ...(body !== undefined && { body }) })
      const text = await response.text()
      latencies.push(performance.now() - begun)
      if (response.status !== status) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, callOneAfterAnother))
  return latencies
}

function describe(scenarios: readonly { name: string; rows: readonly Row[] }[]): string {
  const head = ['', 'database', 'limit', ...OPERATIONS.flatMap(({ name }) => [`${name} p50`, 'p99'])]
  const tables = scenarios.map(({ name, rows }) => {
    const lines = rows.map(({ origin, location, limit, latencies }) => [
      origin,
      location,
      number(limit),
      ...OPERATIONS.flatMap(({ name }) => [number(latencies[name]?.p50 ?? NaN), number(latencies[name]?.p99 ?? NaN)]),
    ])
    return `${name}\n\n${table(head, lines)}`
  })
  const notes = [
    'A simulation, in milliseconds from the Cloudflare site that is nearest to the caller.',
    'The limit is one round trip to the database. Real networks add jitter, D1 adds time for a durable write, and both have rare stalls.',
    `Round trips: ${SOURCES.join('; ')}.`,
  ]
  return [...tables, notes.join('\n')].join('\n\n')
}
