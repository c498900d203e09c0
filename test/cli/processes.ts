import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { atEnd } from '../at-end.ts'
import { newFolder } from './folder.ts'

/** The operator's commands as processes, as they run at a terminal. */

const root = resolve(import.meta.dirname, '../..')

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The variables of the commands: without those that npm and vitest have set for the process of these tests. */
const environment = Object.entries(process.env).filter(
  ([name]) => !/^(npm_|CLOUDFLARE_|WRANGLER_|VITEST|X_LOCAL_|INIT_CWD$|CI$)/.test(name),
)

interface Options {
  readonly env?: NodeJS.Dict<string>
  readonly cwd?: string
  readonly detached?: boolean
}

function start(
  file: string,
  args: readonly string[],
  { env, cwd = root, detached = false }: Options = {},
): ChildProcess {
  const all = { ...Object.fromEntries(environment), ...env } as NodeJS.ProcessEnv
  return spawn(file, args, { cwd, env: all, detached, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Runs `npm run <words>` to its end, without npm. */
export function run(words: readonly string[], options: Options = {}): Promise<Finished> {
  return finish(start(process.execPath, ['src/cli/main.ts', ...words], options))
}

/** Runs a line as it is pasted into a shell. */
export function paste(line: string, options: Options = {}): Promise<Finished> {
  return finish(start('sh', ['-c', line], options))
}

/** Starts a command in a process group of its own, to be ended by a signal as Ctrl-C sends it. */
export function startCommand(words: readonly string[], options: Options = {}) {
  const child = start(process.execPath, ['src/cli/main.ts', ...words], { ...options, detached: true })
  return { finished: finish(child), interrupt: () => process.kill(-(child.pid as number), 'SIGINT') }
}

/** A copy of the project whose configuration and sources a test may change. */
export async function copyProject(): Promise<string> {
  const folder = await newFolder()
  const project = join(folder, 'project')
  await mkdir(project)
  for (const name of ['src', 'package.json', 'wrangler.toml', 'tsconfig.json', '.npmrc']) {
    await cp(join(root, name), join(project, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(project, 'node_modules'))
  return project
}

export interface Dev {
  /** All of stdout until now. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** Waits until stderr has the text. */
  readonly says: (text: string) => Promise<void>
  /** The process that serves, which npm has started. */
  readonly pid: () => number
  /** Sends a signal to npm, to the server or, as Ctrl-C does, to all of them. Returns the processes that still run. */
  readonly end: (signal: NodeJS.Signals, to?: 'npm' | 'all' | 'server') => Promise<number[]>
}

/** Starts `npm run dev`, and waits until it has printed `mark`. */
export async function startDev(args: readonly string[], mark: string, cwd = root): Promise<Dev> {
  const child = start('npm', ['run', '-s', 'dev', '--', ...args], { cwd, detached: true })
  atEnd(() => {
    // A failed test may not have ended the process.
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGKILL')
  })
  const output = collect(child)
  const closed = once(child, 'close')
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', () => output.stdout.includes(mark) && resolve())
    child.once('close', (code) => reject(new Error(`dev ended with ${code}: ${output.stderr}`)))
  })
  const says: Dev['says'] = (text) =>
    new Promise((resolve) => {
      const look = () => output.stderr.includes(text) && resolve()
      child.stderr?.on('data', look)
      look()
    })
  const server = () => {
    const below = new Set(descendantsOf(child.pid as number))
    const found = processes().find(({ pid, args }) => below.has(pid) && /^\S*node src\/cli\/main\.ts dev/.test(args))
    return found?.pid ?? 0
  }
  const end: Dev['end'] = async (signal, to = 'npm') => {
    const npm = child.pid as number
    const started = [npm, ...descendantsOf(npm)]
    process.kill(to === 'all' ? -npm : to === 'npm' ? npm : server(), signal)
    await closed
    const patience = Date.now() + 5_000
    while (runningOf(started).length > 0 && Date.now() < patience)
      await new Promise((resolve) => setTimeout(resolve, 50))
    return runningOf(started)
  }
  return { stdout: () => output.stdout, stderr: () => output.stderr, says, pid: server, end }
}

interface Process {
  readonly pid: number
  readonly ppid: number
  readonly state: string
  readonly args: string
}

function processes(): Process[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' }).trim().split('\n')
  return lines.map((line) => {
    const [, pid, ppid, state = '', args = ''] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
    return { pid: Number(pid), ppid: Number(ppid), state, args }
  })
}

function descendantsOf(pid: number): number[] {
  const all = processes()
  const below = (parent: number): number[] =>
    all.filter(({ ppid }) => ppid === parent).flatMap(({ pid }) => [pid, ...below(pid)])
  return below(pid)
}

/** The processes that still run, without zombies, which have ended although the parent has not read their exit code. */
function runningOf(pids: readonly number[]): number[] {
  const states = new Map(processes().map(({ pid, state }) => [pid, state]))
  return pids.filter((pid) => states.has(pid) && !states.get(pid)?.startsWith('Z'))
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
