import { readFileSync, watch } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import type { Region } from '../storage/regions.ts'
import { type Context, Failure } from './command.ts'
import { checkDevSettings } from './configuration.ts'
import { patiently } from './local-database.ts'
import { isAdded, regionsSetting } from './local-regions.ts'
import type { SigningSecrets } from './signing-secrets.ts'
import { configPath, loadWrangler, oneLine } from './wrangler.ts'

const HOST = '127.0.0.1'

/** The interval of the cron trigger in wrangler.toml. */
const SCHEDULE_MS = 60_000

export const urlAt = (port: number) => `http://${HOST}:${port}`

/**
 * The settings that `dev` sets itself. REGIONS is one of them if `--regions` added regions that wrangler.toml lacks.
 */
export const ownVariables = (port: number, regions: readonly Region[] = []) => ({
  ISSUER: urlAt(port),
  WEBHOOKS_TO_LOCALHOST: true,
  ...(regions.some(isAdded) && { REGIONS: regionsSetting(regions) }),
})
type OwnVariables = ReturnType<typeof ownVariables>

/** Another `dev` that uses the same state folder, or the runtime of a `dev` that was killed. */
export interface RunningDev {
  readonly url: string
  /** A sentence about the other `dev`. */
  readonly words: string
}

export class PortInUse extends Failure {}

/** Returns the port, or a free port for port 0. Throws PortInUse early if the port cannot be used. */
export function freePort(port: number, other: RunningDev | null): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', ({ code }: NodeJS.ErrnoException) => reject(new PortInUse(portProblem(port, code, other))))
    server.listen(port, HOST, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port))
    })
  })
}

function portProblem(port: number, code?: string, other: RunningDev | null = null): string {
  if (code === 'EACCES') return `You are not allowed to listen on port ${port}. Choose another with --port.`
  if (other && Number(new URL(other.url).port) === port)
    return `Port ${port} is in use. ${other.words} Stop it, or choose another port with --port.`
  return `Port ${port} is in use. Stop the program that listens there, or choose another port with --port.`
}

interface Serving {
  readonly port: number
  readonly directory: string
  readonly secrets: SigningSecrets
  readonly regions: readonly Region[]
}

/** Serves until this process ends. Resolves when the Worker is ready. */
export async function serve(context: Context, serving: Serving): Promise<void> {
  const own = ownVariables(serving.port, serving.regions)
  const worker = await patiently(() => start(context, serving, own))
  watchConfiguration(async () => {
    const problems = await checkDevSettings(own, serving.regions.filter(isAdded)).catch((error: Error) => [
      error.message,
    ])
    if (problems.length === 0) return void (await worker.patchConfig({}))
    context.progress(`${problems.join('\n')}\n${STILL_SERVED}`)
  })
  // Cloudflare runs the cron trigger of a deployed Worker, but nothing runs it locally. A call may fail while the
  // Worker reloads.
  const schedule = `${urlAt(serving.port)}/cdn-cgi/local/scheduled`
  setInterval(() => fetch(schedule).catch(() => {}), SCHEDULE_MS).unref()
}

async function start({ progress }: Context, { port, directory, secrets, regions }: Serving, own: OwnVariables) {
  // `dev` reloads wrangler.toml itself, and only if it is valid. wrangler would exit, or serve an invalid
  // configuration.
  process.env.WRANGLER_CI_DISABLE_CONFIG_WATCHING = 'true'
  const { unstable_DevEnv } = await loadWrangler(directory)
  const environment = new unstable_DevEnv()
  let isReady = false
  // An error may be emitted before the Worker has been started.
  const failed = new Promise<never>((_, reject) => {
    environment.on('error', (event: unknown) => {
      const reason = reasonOfEvent(event)
      if (isReady) progress(`${reason} ${consequenceOf(event)}`)
      else if (/already in use/i.test(reason)) reject(new PortInUse(portProblem(port)))
      else reject(new Failure(`The Worker did not start: ${reason}`))
    })
    environment.on('buildFailed', () => {
      if (!isReady) reject(new Failure('The Worker does not build, for the reason above.'))
    })
    environment.on('reloadComplete', () => {
      if (isReady) progress('Reloaded.')
    })
  })
  const starting = environment.startWorker({
    config: configPath,
    bindings: {
      ISSUER: { type: 'plain_text', value: own.ISSUER },
      WEBHOOKS_TO_LOCALHOST: { type: 'json', value: own.WEBHOOKS_TO_LOCALHOST },
      SIGNING_KEY: { type: 'secret_text', value: secrets.SIGNING_KEY },
      PUBLISHED_KEYS: { type: 'secret_text', value: secrets.PUBLISHED_KEYS },
      ...(own.REGIONS && { REGIONS: { type: 'plain_text', value: own.REGIONS } }),
      ...Object.fromEntries(
        regions.filter(isAdded).map(({ binding }) => [binding, { type: 'd1', database_id: binding } as const]),
      ),
    },
    dev: {
      server: { hostname: HOST, port },
      persist: directory,
      inspector: false,
      watch: true,
      structuredLogsHandler: ({ level, message }: { level: string; message: string }) => {
        // Error messages keep their line breaks, because they have stack traces. Other messages are joined to one line,
        // because the runtime prints objects over several lines.
        if (isReady || level === 'error') progress(level === 'error' ? message : oneLine(message))
      },
    },
  })
  try {
    const worker = await Promise.race([failed, starting])
    await Promise.race([failed, becomeReady(worker)])
    isReady = true
    return worker
  } catch (error) {
    await environment.teardown()
    throw error
  }
}

async function becomeReady(worker: {
  ready: Promise<void>
  fetch: (url: string) => Promise<{ status: number; text: () => Promise<string> }>
}) {
  await worker.ready
  const response = await worker.fetch('http://oncekey.internal/readyz')
  if (response.status === 200) return
  throw new Failure(
    `The Worker runs but is not ready: GET /readyz answered ${response.status} ${await response.text()}`,
  )
}

/** Returns the reason of a failure as a sentence. wrangler reports an Error, or an event with a reason and a cause. */
export function reasonOfEvent(event: unknown): string {
  const { message, reason, cause } = event as { message?: string; reason?: string; cause?: { message?: string } }
  const words = [message ?? reason, message === undefined ? cause?.message : undefined].filter((part) => part)
  return words.length > 0 ? oneLine(words.join(': ')).replace(/\.*$/, '.') : 'wrangler gave no reason.'
}

/**
 * After an invalid configuration, the earlier Worker still serves. A Worker that fails to start has already replaced
 * it.
 */
function consequenceOf(event: unknown): string {
  const { source } = event as { source?: string }
  return source === 'ConfigController' ? STILL_SERVED : 'The Worker serves no requests until this is fixed.'
}

const STILL_SERVED = 'The Worker still runs with the last valid configuration.'

/** How long to wait after a change, because an editor may write a file in several steps. */
const SETTLE_MS = 200

/** Calls `changed` when the content of a configuration file changes. */
function watchConfiguration(changed: () => Promise<void>): void {
  const folder = dirname(configPath)
  const names = ['wrangler.toml', '.dev.vars', '.env']
  const read = () => names.map((name) => readIfAny(join(folder, name))).join('\0')
  let last = read()
  let timer: NodeJS.Timeout | undefined
  watch(folder, (_, name) => {
    if (!name || !names.includes(name)) return
    clearTimeout(timer)
    timer = setTimeout(() => {
      const now = read()
      if (now === last) return
      last = now
      changed()
    }, SETTLE_MS)
  }).unref()
}

function readIfAny(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
