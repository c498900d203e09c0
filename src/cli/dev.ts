import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import * as v from 'valibot'
import { announce, type Beginning, begin } from './beginning.ts'
import { command, Failure, json, main, misuse, progress } from './command.ts'
import { shown } from './local-database.ts'
import { writePrivately } from './private-file.ts'
import { makeLocalSigningSecrets, readLocalSigningSecrets, type SigningSecrets } from './signing-keys.ts'
import { persistTo, stateFolder, withDatabase } from './target.ts'
import { configPath, loadWrangler } from './wrangler.ts'

const HOST = '127.0.0.1'

const PARENT_CHECK_MS = 250

/** As in wrangler.toml's triggers. */
const SCHEDULE_MS = 60_000

/** Ends on signals, and all that was started with it: the runtime and wrangler's command line die with this process. */
function endOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(0))
  // npm hands a signal on to the shell that it has started, and many a shell dies of it without telling its child.
  const shell = process.ppid
  if (process.env.npm_lifecycle_event === 'dev') {
    setInterval(() => process.ppid === shell || process.exit(0), PARENT_CHECK_MS).unref()
  }
}

/** Finds out early whether the port can be had. */
function freePort(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', ({ code }: NodeJS.ErrnoException) => reject(new Failure(busy(port, code))))
    server.listen(port, HOST, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port))
    })
  })
}

function busy(port: number, code?: string): string {
  if (code === 'EACCES') return `Port ${port} may not be used by you. Choose another with --port.`
  return `Port ${port} is in use. End what listens there, or choose another with --port.`
}

/** Serves until this process ends. Resolves when the Worker is ready; `stopped` rejects should it stop by itself. */
async function serve(port: number, directory: string, secrets: SigningSecrets): Promise<{ stopped: Promise<never> }> {
  const { unstable_startWorker } = await loadWrangler()
  let isReady = false
  const worker = await unstable_startWorker({
    config: configPath,
    bindings: {
      ISSUER: { type: 'plain_text', value: `http://${HOST}:${port}` },
      WEBHOOKS_TO_LOCALHOST: { type: 'json', value: true },
      SIGNING_KEY: { type: 'secret_text', value: secrets.SIGNING_KEY },
      PUBLISHED_KEYS: { type: 'secret_text', value: secrets.PUBLISHED_KEYS },
    },
    dev: {
      server: { hostname: HOST, port },
      persist: directory,
      inspector: false,
      watch: true,
      structuredLogsHandler: (log: { level: string; message: string }) => {
        if (isReady || log.level === 'error') progress(oneLine(log))
      },
    },
  })
  const stopped = new Promise<never>((_, reject) => {
    worker.raw.on('error', (error: Error) => {
      reject(new Failure(/already in use/.test(error.message) ? busy(port) : `The Worker stopped: ${error.message}`))
    })
    worker.raw.on('buildFailed', () => {
      if (!isReady) reject(new Failure('The Worker does not build, for the reason above.'))
    })
    worker.raw.on('reloadComplete', () => {
      if (isReady) progress('Reloaded.')
    })
  })
  await Promise.race([stopped, becomeReady(worker)])
  isReady = true
  // The platform runs the schedule; here nobody does. While the Worker reloads, it may fail.
  const schedule = `http://${HOST}:${port}/cdn-cgi/local/scheduled`
  setInterval(() => fetch(schedule).catch(() => {}), SCHEDULE_MS).unref()
  return { stopped }
}

async function becomeReady(worker: { ready: Promise<void>; fetch: (url: string) => Promise<{ status: number }> }) {
  await worker.ready
  const { status } = await worker.fetch('http://oncekey.internal/readyz')
  if (status !== 200) throw new Failure(`The Worker runs, and is not ready: GET /readyz gave ${status}.`)
}

/** What the Worker logs are objects, which the runtime spreads over lines. Errors keep theirs, for their stacks. */
function oneLine({ level, message }: { level: string; message: string }): string {
  return level === 'error' ? message : message.replace(/\s*\n\s*/g, ' ')
}

const Kept = v.object({ api_key: v.string(), application: v.object({ id: v.string(), client_id: v.string() }) })

/** What an earlier start made; null where there was none, or the file is not what it was. */
async function readKept(file: string): Promise<Beginning | null> {
  try {
    const { api_key, application } = v.parse(Kept, JSON.parse(await readFile(file, 'utf8')))
    return { apiKey: api_key, application: { id: application.id, clientId: application.client_id } }
  } catch {
    return null
  }
}

/** Later starts show the same key, which the database cannot give back. For its owner's eyes, and out of git. */
async function keep(file: string, { apiKey, application }: Beginning): Promise<void> {
  const text = JSON.stringify({ api_key: apiKey, application: { id: application.id, client_id: application.clientId } })
  await writePrivately(file, text)
}

await main(
  command({
    name: 'dev',
    says: 'Serves Oncekey on this machine, over a database of its own, and reloads when its sources change.',
    options: {
      port: { type: 'string', value: 'N', says: 'Where to listen; 0 for any free port.', default: '8787' },
      'persist-to': persistTo,
      json: { ...json, says: 'When ready, say so in one line of JSON on stdout.' },
    },
    run: async (values) => {
      if (!/^\d{1,5}$/.test(values.port) || Number(values.port) > 65_535) misuse('--port is a number from 0 to 65535.')
      endOnSignals()
      const port = await freePort(Number(values.port))
      const directory = stateFolder(values['persist-to'])
      const file = join(directory, '.dev.json')
      const beginning = await withDatabase(values, async (database) =>
        begin(database, 'development', await readKept(file), (made) => keep(file, made)),
      )
      progress('Starting the Worker…')
      const secrets = (await readLocalSigningSecrets(directory)) ?? (await makeLocalSigningSecrets(directory, 'RS256'))
      const { stopped } = await serve(port, directory, secrets)
      announce(`http://${HOST}:${port}`, beginning, values.json)
      if (!values.json) progress(`Its state is in ${shown(directory)}. Ctrl-C ends it.`)
      await stopped
    },
  }),
)
