import type { ChildProcess } from 'node:child_process'
import diagnostics from 'node:diagnostics_channel'
import { rmSync } from 'node:fs'
import { mkdtemp, readdir, readFile, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readD1Migrations } from '@cloudflare/vitest-plugin'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { unstable_getMiniflareWorkerOptions } from 'wrangler'
import { databaseWorker } from '../../src/cli/fetched-database.ts'
import { remoteDatabase } from '../remote-database.ts'
import { statementsOfTables } from '../tables.ts'

const root = resolve(import.meta.dirname, '../..')

/** A Worker of a run. Each listens on a socket of its own, so that nothing stands between it and the load. */
export interface WorkerSpec {
  readonly name: string
  readonly script: string
  /** Modules by path, of which the first one is run in place of `script`, and imports it as `../../src/index.ts`. */
  readonly wrapper?: Readonly<Record<string, string>>
  /** The database that is bound as DB. */
  readonly database?: string
  /** Further databases, by binding. */
  readonly databases?: Readonly<Record<string, string>>
  readonly bindings?: Readonly<Record<string, string | number>>
  /** True binds the platform's rate limits, at a limit that no run reaches. */
  readonly hasRateLimits?: boolean
  /** True where the database is not the product's: its tables are not made. */
  readonly hasOwnSchema?: boolean
  /** In place of the product's. */
  readonly compatibilityFlags?: readonly string[]
}

/** workerd with the Workers of a run, over D1 databases on disk. */
export class Runtime {
  readonly pid: number
  readonly #miniflare: Miniflare
  readonly #directory: string
  readonly #urls: ReadonlyMap<string, URL>
  private constructor(miniflare: Miniflare, pid: number, directory: string, urls: Map<string, URL>) {
    this.#miniflare = miniflare
    this.pid = pid
    this.#directory = directory
    this.#urls = urls
  }

  /** `directory` has the databases of an earlier runtime; by default they are new ones, which end with this process. */
  static async start(
    workers: readonly WorkerSpec[],
    {
      hasInspector = false,
      directory: given,
      onOutput,
    }: { hasInspector?: boolean; directory?: string; onOutput?: (chunk: Buffer) => void } = {},
  ): Promise<Runtime> {
    const { workerOptions } = unstable_getMiniflareWorkerOptions(`${root}/wrangler.toml`)
    // The platform's assets put a proxy in front of a Worker: the files are served by a Worker of their own.
    const { assets: _, ...options } = workerOptions
    const directory = given ?? (await newStateFolder())
    const databases = namesOf(workers)
    const databaseWorkers = databases.map((database) => ({
      name: databaseName(database),
      script: databaseWorker,
      database,
    }))
    const assets = {
      name: ASSETS,
      script: ASSETS_WORKER,
      bindings: await readAssets(),
    }
    const all: readonly WorkerSpec[] = [...workers, ...databaseWorkers, assets]
    const runtimeProcess = nextRuntimeProcess()
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        workers: all.map(({ name, script, wrapper, bindings, hasRateLimits, compatibilityFlags, ...spec }) => ({
          ...options,
          ...(compatibilityFlags && { compatibilityFlags: [...compatibilityFlags] }),
          name,
          modules: [
            ...Object.entries(wrapper ?? {}).map(([path, contents]) => module(path, contents)),
            module('src/index.ts', script),
          ],
          bindings: { ...(options.bindings as object), ...bindings },
          d1Databases: databasesOf(spec),
          serviceBindings: name === ASSETS ? {} : { ASSETS },
          ratelimits: hasRateLimits ? unreachable(options.ratelimits) : {},
          unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
        })),
        resourcePersistencePath: directory,
        cf: false,
        handleStructuredLogs: () => {},
        ...(hasInspector && { inspectorPort: 0 }),
      }),
    )
    await miniflare.ready
    const { pid, stdout, stderr } = await runtimeProcess
    // Where the log of a run is not read, a full pipe would stop the runtime.
    for (const output of [stdout, stderr]) {
      if (onOutput) output?.on('data', onOutput)
      output?.unpipe().resume()
    }
    const urls = new Map<string, URL>()
    for (const { name } of all) urls.set(name, await miniflare.unsafeGetDirectURL(name))
    const runtime = new Runtime(miniflare, pid as number, directory, urls)
    if (given === undefined) await runtime.#createTables(workers)
    return runtime
  }

  async #createTables(workers: readonly WorkerSpec[]): Promise<void> {
    const tables = statementsOfTables(await readD1Migrations(`${root}/src/storage/migrations`))
    const own = namesOf(workers.filter(({ hasOwnSchema }) => !hasOwnSchema))
    for (const database of own.map((name) => this.database(name))) {
      await database.batch(tables.map((statement) => database.prepare(statement)))
    }
  }

  url(worker: string): string {
    const url = this.#urls.get(worker)
    if (!url) throw new Error(`no Worker is called ${worker}`)
    return url.origin
  }

  /** Where profiles are taken, of a runtime that was started with an inspector. */
  inspectorUrl(): Promise<URL> {
    return this.#miniflare.getInspectorURL()
  }

  database(name: string): D1Database {
    return remoteDatabase(new URL(this.url(databaseName(name))))
  }

  /** Runs the Worker's schedule once. */
  async runSchedule(worker: string): Promise<void> {
    await (await this.#miniflare.getWorker(worker)).scheduled()
  }

  /** The file of a database, where the runtime has only this one. */
  async databaseFile(): Promise<string> {
    const files = await readdir(this.#directory, { recursive: true })
    const [file] = files.filter((name) => /D1DatabaseObject\/[0-9a-f]+\.sqlite$/.test(name))
    if (!file) throw new Error(`no database is on disk in ${this.#directory}`)
    return join(this.#directory, file)
  }

  /** The content of every file that the runtime keeps, by its name. */
  async files(): Promise<ReadonlyMap<string, Buffer>> {
    const names = await readdir(this.#directory, { recursive: true, withFileTypes: true })
    const paths = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    return new Map(await Promise.all(paths.map(async (path) => [path, await readFile(path)] as const)))
  }

  /** The size of the databases on disk, in bytes. Throws where there is none: then they would be in memory. */
  async databaseBytes(): Promise<number> {
    const files = await readdir(this.#directory, { recursive: true })
    const databases = files.filter((file) => /D1DatabaseObject.*\.sqlite(-wal)?$/.test(file))
    const sizes = await Promise.all(databases.map(async (file) => (await stat(join(this.#directory, file))).size))
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    if (bytes === 0) throw new Error(`no database is on disk in ${this.#directory}`)
    return bytes
  }

  async stop(): Promise<void> {
    await this.#miniflare.dispose()
    rmSync(this.#directory, { recursive: true })
  }

  /** Ends the runtime at once, as a power cut would, and keeps its databases for another one. */
  async kill(): Promise<{ directory: string }> {
    process.kill(this.pid, 'SIGKILL')
    await this.#miniflare.dispose()
    return { directory: this.#directory }
  }
}

async function newStateFolder(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'oncekey-bench-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  return directory
}

const module = (path: string, contents: string) => ({ type: 'ESModule' as const, path, contents })

const ASSETS = 'ASSETS'
const ASSETS_WORKER = `export default {
  fetch: (request, env) => new Response(env[new URL(request.url).pathname.slice(1)]),
}`

async function readAssets(): Promise<Record<string, string>> {
  const directory = `${root}/src/pages/assets`
  const names = (await readdir(directory)).filter((name) => name.includes('.'))
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name), 'utf8')] as const)),
  )
}

function databasesOf({ database, databases }: Pick<WorkerSpec, 'database' | 'databases'>): Record<string, string> {
  return { ...(database !== undefined && { DB: database }), ...databases }
}

function namesOf(workers: readonly WorkerSpec[]): string[] {
  return [...new Set(workers.flatMap((worker) => Object.values(databasesOf(worker))))]
}

const databaseName = (database: string) => `database-${database}`

function unreachable(limits: unknown) {
  const names = Object.keys(limits as object)
  return Object.fromEntries(
    names.map((name) => [name, { namespace_id: name, simple: { limit: 1e9, period: 60 as const } }]),
  )
}

/** The process of the next runtime that starts. */
function nextRuntimeProcess(): Promise<ChildProcess> {
  return new Promise((resolve) => {
    const onProcess = (message: unknown) => {
      const { process } = message as { process: ChildProcess }
      process.once('spawn', () => {
        if (!process.spawnfile.includes('workerd')) return
        diagnostics.unsubscribe('child_process', onProcess)
        resolve(process)
      })
    }
    diagnostics.subscribe('child_process', onProcess)
  })
}
