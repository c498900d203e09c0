import { type ChildProcess, spawn } from 'node:child_process'
import diagnostics from 'node:diagnostics_channel'
import { lstatSync, mkdirSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import type { Socket } from 'node:net'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'

export const root = resolve(import.meta.dirname, '../..')
export const configPath = join(root, 'wrangler.toml')

/**
 * The folder for wrangler's state and caches, and for keys that our commands save. Only the current user can read its
 * files.
 */
export const WRANGLER_FOLDER = join(root, '.wrangler')

/**
 * Environment variables that disable wrangler's banner, telemetry, log files and network look-ups, in this process and
 * in child processes. The last two disable local servers that need no credential: an SQL console for the database, and
 * a log of request URLs. Any user of the machine could read these.
 */
function quietVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  return {
    WRANGLER_HIDE_BANNER: 'true',
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_SEND_ERROR_REPORTS: 'false',
    WRANGLER_WRITE_LOGS: 'false',
    WRANGLER_NO_SKILLS_UPDATE_PROMPTS: 'true',
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    X_LOCAL_EXPLORER: env.X_LOCAL_EXPLORER ?? 'false',
    X_LOCAL_OBSERVABILITY: env.X_LOCAL_OBSERVABILITY ?? 'false',
  }
}

/** Makes this process keep compiled code, so that the next one starts faster. */
export function enableCompiledCode(): void {
  const folder = compileCacheFolder()
  if (folder && !process.env.NODE_COMPILE_CACHE) enableCompileCache(folder)
}

/**
 * The folder of V8's compile cache, with which wrangler starts in two thirds of the time. V8 runs cached code without a
 * check, so no other user may be able to write to the folder. Undefined if that is not certain.
 */
export function compileCacheFolder(parent = WRANGLER_FOLDER): string | undefined {
  const folder = join(parent, 'compile-cache')
  try {
    // If root created the folder in another user's checkout, that user could not write to it.
    const owner = lstatSync(root).uid
    if (owner !== (process.getuid?.() ?? owner)) return undefined
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { uid, mode } = lstatSync(folder)
    const isOurs = uid === (process.getuid?.() ?? uid)
    return isOurs && (mode & 0o022) === 0 && lstatSync(folder).isDirectory() ? folder : undefined
  } catch {
    return undefined
  }
}

let isGuarding = false

/**
 * Loads wrangler into this process. The import is dynamic, so that commands without wrangler start fast. If there is a
 * state folder, wrangler keeps its registry of running Workers there, so that no home directory is needed.
 */
export async function loadWrangler(stateFolder?: string) {
  prepareProcess()
  if (stateFolder) process.env.WRANGLER_REGISTRY_PATH ??= join(stateFolder, 'registry')
  return import('wrangler')
}

/** Loads the library with which wrangler runs the runtime. */
export async function loadMiniflare() {
  prepareProcess()
  return import('miniflare')
}

function prepareProcess(): void {
  enableCompiledCode()
  Object.assign(process.env, quietVariables(process.env), { WRANGLER_LOG: process.env.WRANGLER_LOG ?? 'error' })
  if (!isGuarding) diagnostics.subscribe('child_process', (message) => endWithThisProcess((message as Spawned).process))
  isGuarding = true
}

interface Spawned {
  readonly process: ChildProcess
}

/** The programs that wrangler starts: the runtime (workerd), and the bundler (esbuild), which may hang. */
const STARTED_BY_WRANGLER = ['workerd', 'esbuild']

/**
 * Ends a program of wrangler when this process ends, even by SIGKILL or for lack of memory. Otherwise the runtime would
 * continue to serve. A shell reads from a pipe until the kernel closes it, when this process ends. Then the shell kills
 * the program.
 */
function endWithThisProcess(child: ChildProcess): void {
  child.once('spawn', () => {
    if (!STARTED_BY_WRANGLER.includes(basename(child.spawnfile, '.exe'))) return
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    if (process.platform === 'win32') return
    const guard = spawn('sh', ['-c', 'cat; kill -9 "$0"', String(child.pid)], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    guard.unref()
    ;(guard.stdin as Socket).unref()
    child.once('exit', () => guard.kill())
  })
}

const NOT_LOGGED_IN = 'You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.'

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a command of wrangler to its end. With `CI`, wrangler asks no questions and uses its defaults. `input` goes to
 * its stdin, so that a secret is neither in a file nor among the arguments.
 */
export async function runWrangler(
  args: readonly string[],
  { env = {}, input = '' }: { env?: Record<string, string>; input?: string } = {},
): Promise<Finished> {
  const cache = process.env.NODE_COMPILE_CACHE ?? compileCacheFolder()
  const child = spawn(process.execPath, ['--no-warnings', fileURLToPath(import.meta.resolve('wrangler')), ...args], {
    cwd: root,
    env: {
      ...process.env,
      ...quietVariables(process.env),
      ...(cache && { NODE_COMPILE_CACHE: cache }),
      CI: '1',
      NO_COLOR: '1',
      FORCE_COLOR: '0',
      WRANGLER_LOG: 'log',
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const kill = () => child.kill()
  process.once('exit', kill)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  // wrangler may exit before it has read its stdin.
  child.stdin.on('error', () => {}).end(input)
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
  process.off('exit', kill)
  return { code, ...output }
}

/**
 * Matches wrangler's messages about a missing login, but not the one about a missing account ID, which begins with some
 * of the same words.
 */
const LOGIN_REQUIRED = /it's necessary to set a CLOUDFLARE_API_TOKEN|^\s*Not logged in\.|no credentials were found/i

/** The reason that wrangler gives for its failure: its first error, without decoration. */
export function reasonOf({ stdout, stderr }: Finished): string {
  const output = stripVTControlCharacters(`${stderr}\n${stdout}`)
  const [, error = output] = /\[ERROR\]([\s\S]*)/.exec(output) ?? []
  const [reason = ''] = error.split(/\n\s*\n\s*\n|If you think this is a bug|To continue without logging in|🪵/)
  if (LOGIN_REQUIRED.test(reason)) return NOT_LOGGED_IN
  return oneLine(reason).slice(0, 600) || 'wrangler gave no reason'
}

/** Reads the first JSON in a text: wrangler may print other lines before it. */
export function parseJson<T>(text: string): T | undefined {
  try {
    return JSON.parse(text.slice(Math.max(0, text.search(/[[{]/))))
  } catch {
    return undefined
  }
}

/** Joins a text to one line, because wrangler and the runtime break their lines differently. */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text).split(/\s+/).join(' ').trim()
}

const { log, warn, error } = console
const capturing = new Set<object>()

/** Collects what wrangler and the runtime print in this process, stack traces included, instead of showing it. */
export function captureConsole(): { captured: () => string; release: () => void } {
  let text = ''
  const capture = (...words: unknown[]) => {
    text += `${words.join(' ')}\n`
  }
  const release = () => {
    capturing.delete(capture)
    if (capturing.size === 0) Object.assign(console, { log, warn, error })
  }
  capturing.add(capture)
  Object.assign(console, { log: capture, warn: capture, error: capture })
  return { captured: () => stripVTControlCharacters(text), release }
}
