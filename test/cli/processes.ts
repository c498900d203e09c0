import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll } from 'vitest'

/** The operator's commands as processes, as somebody at a terminal starts them. */

const root = resolve(import.meta.dirname, '../..')

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Without what npm has told the process of these tests. */
const environment = Object.entries(process.env).filter(
  ([name]) => !/^(npm_|CLOUDFLARE_|WRANGLER_|VITEST|CI$)/.test(name),
)

function start(file: string, args: readonly string[], env: NodeJS.Dict<string> = {}, detached = false): ChildProcess {
  const all = { ...Object.fromEntries(environment), ...env } as NodeJS.ProcessEnv
  return spawn(file, args, { cwd: root, env: all, detached, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Runs `npm run <name> -- <args>` to its end, without npm. */
export function run(name: string, args: readonly string[] = [], env: NodeJS.Dict<string> = {}): Promise<Finished> {
  return finish(start(process.execPath, [`src/cli/${name}.ts`, ...args], env))
}

/** Runs a line as it is pasted into a shell. */
export function paste(line: string): Promise<Finished> {
  return finish(start('sh', ['-c', line]))
}

export function npmRun(args: readonly string[]): Promise<Finished> {
  return finish(start('npm', ['run', '-s', ...args]))
}

/** A folder that is gone when the tests of the file have run. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-cli-'))
  afterAll(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface Dev {
  /** All of stdout until now. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** Sends a signal to npm alone, or, as Ctrl-C does, to all in the foreground. Resolves with what is left running. */
  readonly end: (signal: NodeJS.Signals, to?: 'npm' | 'all') => Promise<number[]>
}

/** Starts `npm run dev`, until it has printed `mark`. */
export async function startDev(args: readonly string[], mark: string): Promise<Dev> {
  const child = start('npm', ['run', '-s', 'dev', '--', ...args], {}, true)
  const output = collect(child)
  const closed = once(child, 'close')
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', () => output.stdout.includes(mark) && resolve())
    child.once('close', (code) => reject(new Error(`dev ended with ${code}: ${output.stderr}`)))
  })
  const end: Dev['end'] = async (signal, to = 'npm') => {
    const pid = child.pid as number
    const started = [pid, ...descendantsOf(pid)]
    process.kill(to === 'all' ? -pid : pid, signal)
    await closed
    const patience = Date.now() + 5_000
    while (started.some(isRunning) && Date.now() < patience) await new Promise((resolve) => setTimeout(resolve, 50))
    return started.filter(isRunning)
  }
  afterAll(() => {
    // Should a test have failed before it ended it.
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGKILL')
  })
  return { stdout: () => output.stdout, stderr: () => output.stderr, end }
}

function descendantsOf(pid: number): number[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  const pairs = lines.map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
  const below = (parent: number): number[] =>
    pairs.filter(([, ppid]) => ppid === parent).flatMap(([child]) => [child, ...below(child)])
  return below(pid)
}

/** A process that has ended and whose parent has not asked yet does not run. */
function isRunning(pid: number): boolean {
  try {
    return !execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).startsWith('Z')
  } catch {
    return false
  }
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  return output
}

async function finish(child: ChildProcess): Promise<Finished> {
  const output = collect(child)
  const [code] = await once(child, 'close')
  return { code, ...output }
}
