import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

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

/** wrangler in this process. It is large, and loaded by those alone who get as far as needing it. */
export async function loadWrangler() {
  Object.assign(process.env, QUIET, { WRANGLER_LOG: process.env.WRANGLER_LOG ?? 'error' })
  return import('wrangler')
}

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs wrangler's command line to its end. It asks nothing: `CI` makes it take the defaults. */
export async function runWrangler(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = spawn(process.execPath, ['--no-warnings', fileURLToPath(import.meta.resolve('wrangler')), ...args], {
    cwd: root,
    env: { ...process.env, ...QUIET, CI: '1', NO_COLOR: '1', FORCE_COLOR: '0', WRANGLER_LOG: 'log', ...env },
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
  const output = `${stderr}\n${stdout}`
  const [, reason] =
    /\[ERROR\]\s*([\s\S]*?)(?:\n\s*\n\s*(?:If you think|🪵|Note that)|\n\s*\n\s*\n|$)/.exec(output) ?? []
  return (reason ?? output).replace(/\s+/g, ' ').trim() || 'wrangler gave no reason'
}
