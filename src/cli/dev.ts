import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '@commander-js/extra-typings'
import * as v from 'valibot'
import { DEFAULT_REGION } from '../credential/credential.ts'
import type { Region } from '../storage/regions.ts'
import { type Bootstrap, bootstrap, bootstrapToJson, bootstrapToText } from './bootstrap.ts'
import { type Context, Failure, jsonOption, type OperatorRegion, print, UsageError } from './command.ts'
import { checkDevSettings } from './configuration.ts'
import { freePort, ownVariables, PortInUse, type RunningDev, serve, urlAt } from './dev-server.ts'
import { useFolder, whileLocked } from './folder-lock.ts'
import { shownPath, stateFolder } from './local-database.ts'
import { MAX_LOCAL_REGIONS } from './local-regions.ts'
import { persistToOption, withRegions } from './operator-database.ts'
import { readPrivately, writePrivately } from './private-file.ts'
import { shownRegion } from './regions.ts'
import { createLocalSecrets, requireLocalSecrets } from './signing-secrets.ts'

export function addDevCommand(program: Command, context: Context): void {
  program
    .command('dev')
    .description('Serve Oncekey on this machine with a local database, and reload when the sources change.')
    .option('--port <N>', 'Port to listen on, 0 for any free one.', '8787')
    .option('--regions <N>', `Number of regions, 1 to ${MAX_LOCAL_REGIONS}. Each has its own database and environment.`)
    .addOption(persistToOption())
    .addOption(jsonOption())
    .action(async (options) => {
      const wantedPort = Number(options.port)
      if (!/^\d{1,5}$/.test(options.port) || wantedPort > 65_535)
        throw new UsageError('--port must be a number from 0 to 65535.')
      const wanted = Number(options.regions ?? 1)
      if (!/^\d+$/.test(options.regions ?? '1') || wanted < 1 || wanted > MAX_LOCAL_REGIONS)
        throw new UsageError(`--regions must be a number from 1 to ${MAX_LOCAL_REGIONS}.`)
      const directory = stateFolder(options.persistTo, context.env)
      const other = await findRunningDev(directory)
      const port = await freePort(wantedPort, other)
      const problems = await checkDevSettings(ownVariables(port))
      if (problems.length > 0) throw new Failure(`${problems.join('\n')}\nThe Worker was not started.`)
      if (other)
        context.progress(`${other.words} Both work, but requests to one fail with 503 while the other one writes.`)
      const made = await withRegions(
        context,
        options,
        ({ regions }) => Promise.all(regions.map((region) => provide(directory, region))),
        wanted,
      )
      const secrets = (await requireLocalSecrets(directory)) ?? (await createLocalSecrets(directory, 'RS256'))
      // The runtime closes an idle database. Without this lock, `recover` would then replace the file of a database
      // that is in use.
      process.once('exit', await useFolder(directory))
      context.progress('Starting the Worker…')
      const regions = made.map(({ region }) => region)
      const url = urlAt(
        await serveAt(port, (port) => serve(context, { port, directory, secrets, regions }), wantedPort === 0),
      )
      if (!other) await markRunning(directory, url)
      await print(context, options.json ? toJson(url, made) : toText(url, made))
      if (!options.json) context.progress(`Oncekey's local state is in ${shownPath(directory)}. Press Ctrl-C to stop.`)
      await new Promise(() => {})
    })
}

/** Creates the environment of a region, with an API key and an application, or finds those of an earlier start. */
async function provide(directory: string, region: OperatorRegion): Promise<Made> {
  const { digit, open } = region
  const suffix = digit === DEFAULT_REGION ? '' : `-${digit}`
  const file = join(directory, `.dev${suffix}.json`)
  const database = await open()
  return whileLocked(file, async () => {
    const kept = parseKept(await readPrivately(file))
    return { region, bootstrap: await bootstrap(database, `development${suffix}`, kept, (made) => keep(file, made)) }
  })
}

/** A region, with the API key and the application of its environment. */
interface Made {
  readonly region: Region
  readonly bootstrap: Bootstrap
}

/** The result as JSON: that of the default region. With several regions, `regions` has the results of all of them. */
function toJson(url: string, made: readonly Made[]) {
  const [first, ...others] = made.map(({ region, bootstrap }) => ({
    ...bootstrapToJson(url, bootstrap),
    region: region.digit,
  }))
  const { region: _, ...only } = first ?? {}
  return others.length > 0 ? { ...only, regions: [first, ...others] } : only
}

function toText(url: string, made: readonly Made[]): string {
  const texts = made.map(({ region, bootstrap }) => {
    const place = made.length > 1 ? `\n  Region          ${shownRegion(region)}` : ''
    return place + bootstrapToText(url, bootstrap, 'Create a client secret:\n', bootstrap.apiKey)
  })
  return texts.join('')
}

const MAX_PORTS = 3

/**
 * Serves, and returns the port. If another program has taken the port meanwhile and any port will do, tries another
 * port.
 */
export async function serveAt(port: number, serve: (port: number) => Promise<void>, isAny: boolean): Promise<number> {
  for (let tried = 1; ; tried++) {
    try {
      await serve(port)
      return port
    } catch (error) {
      if (!isAny || !(error instanceof PortInUse) || tried === MAX_PORTS) throw error
      port = await freePort(0, null)
    }
  }
}

const RUNNING_FILE = '.dev.pid'
const Running = v.object({ pid: v.number(), url: v.string() })

/** Finds another `dev` that uses the same state folder, or the runtime of a `dev` that was killed. */
export async function findRunningDev(directory: string): Promise<RunningDev | null> {
  const running = parsed(Running, await readPrivately(join(directory, RUNNING_FILE)))
  if (!running || !(await isServing(running.url))) return null
  const { pid, url } = running
  return isAlive(pid)
    ? { url, words: `\`npm run dev\` (process ${pid}) uses the same state at ${url}.` }
    : {
        url,
        words: `\`npm run dev\` (process ${pid}) was killed, and its runtime still serves the same state at ${url}.`,
      }
}

async function markRunning(directory: string, url: string): Promise<void> {
  const file = join(directory, RUNNING_FILE)
  await writePrivately(file, JSON.stringify({ pid: process.pid, url }))
  process.once('exit', () => rmSync(file, { force: true }))
}

async function isServing(url: string): Promise<boolean> {
  const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(10_000) }).catch(() => null)
  return response?.status === 200
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const Kept = v.object({ api_key: v.string(), application: v.object({ id: v.string(), client_id: v.string() }) })

/** Null if there was no earlier start, or if its file is damaged. */
function parseKept(text: string | null): Bootstrap | null {
  const kept = parsed(Kept, text)
  if (!kept) return null
  return { apiKey: kept.api_key, application: { id: kept.application.id, clientId: kept.application.client_id } }
}

/** Saves the API key for later starts, because the database has only its digest. */
async function keep(file: string, made: Bootstrap): Promise<void> {
  const { api_key, application } = bootstrapToJson('', made)
  await writePrivately(file, JSON.stringify({ api_key, application }))
}

function parsed<T>(schema: v.GenericSchema<unknown, T>, text: string | null): T | null {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text)
  return result.success ? result.output : null
}
