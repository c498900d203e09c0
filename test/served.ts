import type { ChildProcess } from 'node:child_process'
import diagnostics from 'node:diagnostics_channel'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { inject } from 'vitest'
import { databaseWorker } from '../src/cli/fetched-database.ts'
import { newSigningKey, type SigningAlgorithm } from '../src/credential/signing-key.ts'
import { atEnd } from './at-end.ts'
import { checkedFetch } from './contract.ts'
import { home } from './operator.ts'
import { remoteDatabase } from './remote-database.ts'

/** The Worker as it is deployed, served on loopback by the real runtime, over a real D1 on disk. */
export interface Served {
  /** Where each Worker listens, without a slash at the end. They share the database. */
  readonly origins: readonly [string, ...string[]]
  readonly database: D1Database
  /** Where storage keeps its files. */
  readonly directory: string
  /** The runtime's output to stdout and stderr. */
  readonly output: () => Buffer
  /** Fetches from any of the Workers, and checks each response against the contract. */
  readonly fetch: typeof globalThis.fetch
  /** Runs the scheduled job of one Worker, as the platform does once a minute. */
  readonly runSchedule: (worker?: number) => Promise<void>
  /** Stops the runtime. The files stay until the tests of the file have run. */
  readonly stop: () => Promise<void>
}

type Variables = Partial<Record<keyof Env, string | number>>

export interface ServeOptions {
  readonly workers?: number
  /** Variables in place of those in wrangler.toml, for all Workers or for each. */
  readonly vars?: Variables | ((worker: number) => Variables)
  /** A folder that has a database already, which stays. */
  readonly folder?: string
  /** Gives all Workers a signing key for this algorithm, and the origin of the first Worker as issuer. */
  readonly tokens?: SigningAlgorithm
  /** Serves until the process ends. */
  readonly isShared?: boolean
  /** False removes the platform's rate limits, for tests that send more requests than these allow. */
  readonly rateLimits?: boolean
}

/** Serves until the tests of the file have run. */
export async function serve({
  workers = 1,
  vars = {},
  folder,
  tokens,
  isShared = false,
  rateLimits = true,
}: ServeOptions = {}): Promise<Served> {
  const { script, options } = inject('bundle')
  // Three regions, if the tests run in another one than the first.
  const regions = home.region === '0' ? ['DB'] : ['DB_0', 'DB', 'DB_2']
  const directory = folder ?? (await mkdtemp(join(tmpdir(), 'oncekey-')))
  const names = Array.from({ length: workers }, (_, i) => `worker-${i}`)
  // The issuer must be known before the Worker listens.
  const port = tokens ? await freePort() : 0
  const issuing = tokens && {
    ISSUER: `http://127.0.0.1:${port}`,
    SIGNING_KEY: JSON.stringify(await newSigningKey(tokens)),
  }
  const worker = (name: string, contents: string) => ({
    ...options,
    ...(!rateLimits && { ratelimits: {} }),
    name,
    modules: [{ type: 'ESModule' as const, path: 'index.js', contents }],
    bindings: {
      ...(options.bindings as object),
      REGIONS: regions.map((binding, digit) => `${digit}=${binding}`).join(','),
      ...issuing,
      ...(typeof vars === 'function' ? vars(names.indexOf(name)) : vars),
    },
    d1Databases: regions,
    unsafeDirectSockets: [{ host: '127.0.0.1', port: name === names[0] ? port : 0 }],
  })
  const output: Buffer[] = []
  const stopListening = onRuntimeOutput((chunk) => output.push(chunk))
  const runtime = new Miniflare(
    convertV4MiniflareOptions({
      workers: [...names.map((name) => worker(name, script)), worker('database', databaseWorker)],
      resourcePersistencePath: directory,
      cf: false,
      // A test reads `output` if it needs to.
      handleStructuredLogs: () => {},
    }),
  )
  let stopped: Promise<void> | undefined
  const stop = () => {
    stopped ??= runtime.dispose()
    return stopped
  }
  // Miniflare ends its runtime with the process.
  if (isShared) process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  else
    atEnd(async () => {
      await stop()
      if (folder === undefined) await rm(directory, { recursive: true })
    })
  await runtime.ready
  stopListening()
  const url = await runtime.unsafeGetDirectURL('database')
  if (folder === undefined) for (const binding of regions) await createTables(remoteDatabase(new URL(binding, url)))
  const database = remoteDatabase(url)
  const urls = await Promise.all(names.map((name) => runtime.unsafeGetDirectURL(name)))
  const origins = urls.map(({ origin }) => origin) as [string, ...string[]]
  return {
    origins,
    database,
    directory,
    output: () => Buffer.concat(output),
    fetch: origins.reduce(checkedFetch, globalThis.fetch),
    runSchedule: async (worker = 0) => {
      const { outcome } = await (await runtime.getWorker(names[worker])).scheduled()
      if (outcome !== 'ok') throw new Error(`the schedule ended with ${outcome}`)
    },
    stop,
  }
}

async function createTables(database: D1Database): Promise<void> {
  await database.batch(inject('bundle').tables.map((statement) => database.prepare(statement)))
}

/**
 * Below the ports that systems give to a program that asks for any (from 32768 on Linux, from 49152 elsewhere). Each
 * process that runs tests at the same time has a thousand of its own. So no other program takes a port before it is used.
 */
const FIRST_PORT = 20_000
const PORTS_PER_PROCESS = 1_000
const PORTS_KEY = Symbol.for('oncekey.ports')

/** A free port on loopback. */
export async function freePort(): Promise<number> {
  const holder = globalThis as { [PORTS_KEY]?: number }
  for (;;) {
    const nth = holder[PORTS_KEY] ?? 0
    holder[PORTS_KEY] = (nth + 1) % PORTS_PER_PROCESS
    const port = FIRST_PORT + PORTS_PER_PROCESS * Number(process.env.VITEST_POOL_ID) + nth
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const isListening = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
  })
  if (isListening) await new Promise((resolve) => server.close(resolve))
  return isListening
}

/**
 * Listens to the process of the runtime. `handleStructuredLogs` receives only lines that parse, and a line that does not
 * may contain a secret as well.
 */
function onRuntimeOutput(listener: (chunk: Buffer) => void): () => void {
  const onProcess = (message: unknown) => {
    const { process } = message as { process: ChildProcess }
    process.once('spawn', () => {
      if (!process.spawnfile.includes('workerd')) return
      process.stdout?.on('data', listener)
      process.stderr?.on('data', listener)
    })
  }
  diagnostics.subscribe('child_process', onProcess)
  return () => diagnostics.unsubscribe('child_process', onProcess)
}
