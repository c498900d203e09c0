import { spawn } from 'node:child_process'
import { enableCompileCache } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'

export const root = resolve(import.meta.dirname, '../..')
export const configPath = join(root, 'wrangler.toml')

/** wrangler without a banner, telemetry, log files and look-ups of its own; in this process and as a child. */
const QUIET = {
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_WRITE_LOGS: 'false',
  WRANGLER_NO_SKILLS_UPDATE_PROMPTS: 'true',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
}

/** wrangler is large: compiled once, it starts in two thirds of the time. */
const COMPILE_CACHE = process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'node-compile-cache')

/** wrangler in this process, for those who get as far as needing it. */
export async function loadWrangler() {
  enableCompileCache(COMPILE_CACHE)
  Object.assign(process.env, QUIET, { WRANGLER_LOG: process.env.WRANGLER_LOG ?? 'error' })
  return import('wrangler')
}

export const NOT_LOGGED_IN =
  'You are not logged in to Cloudflare. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.'

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs wrangler's command line to its end. It asks nothing: `CI` makes it take the defaults. */
export async function runWrangler(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = spawn(process.execPath, ['--no-warnings', fileURLToPath(import.meta.resolve('wrangler')), ...args], {
    cwd: root,
    env: {
      ...process.env,
      ...QUIET,
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      CI: '1',
      NO_COLOR: '1',
      FORCE_COLOR: '0',
      WRANGLER_LOG: 'log',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const kill = () => child.kill()
  process.once('exit', kill)
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text
  })
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
  process.off('exit', kill)
  return { code, ...output }
}

/** What wrangler gives as the reason of its failure: its first error, without decoration. */
export function reasonOf({ stdout, stderr }: Finished): string {
  const output = stripVTControlCharacters(`${stderr}\n${stdout}`)
  const [, error = output] = /\[ERROR\]([\s\S]*)/.exec(output) ?? []
  const [reason = ''] = error.split(/\n\s*\n\s*\n|If you think this is a bug|To continue without logging in|🪵/)
  if (reason.includes('In a non-interactive environment')) return NOT_LOGGED_IN
  return reason.replace(/\s+/g, ' ').trim().slice(0, 600) || 'wrangler gave no reason'
}

/** Keeps to itself what wrangler and the runtime say on their own account, in this process, stack traces too. */
export function hush(): { said: () => string; speakAgain: () => void } {
  const { log, warn, error } = console
  let text = ''
  const listen = (...words: unknown[]) => {
    text += `${words.join(' ')}\n`
  }
  Object.assign(console, { log: listen, warn: listen, error: listen })
  return { said: () => stripVTControlCharacters(text), speakAgain: () => Object.assign(console, { log, warn, error }) }
}
