import { fstatSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'
import { enableCompiledCode } from './wrangler.ts'

/** The process of every `npm run` command of the operator: `node src/cli/main.ts COMMAND …`. */

const PARENT_CHECK_MS = 250
const PATIENCE_MS = 5_000

const [name] = process.argv.slice(2)

// Only the current user can read the files that this process creates: databases, keys, and those of wrangler.
process.umask(0o077)

// A signal ends the process without running its exit handlers, which end child processes and remove files. So exit
// explicitly.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(name === 'dev' ? 0 : 128 + constants.signals[signal]))
}
// npm passes a signal to the shell that it started. Many shells exit without passing it to this process, so exit after
// the shell.
if (process.env.npm_lifecycle_event) {
  const shell = process.ppid
  setInterval(() => process.ppid === shell || process.exit(0), PARENT_CHECK_MS).unref()
}
// Each write reports its own failure. Without these handlers, a closed pipe would end the process with a stack trace.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

const progress = (line: string) => void process.stderr.write(`${line}\n`)

// Without compiled code, Node would strip the types of every source file at each start, which takes longer than the
// rest.
enableCompiledCode()
const { openLocalRegions } = await import('./local-database.ts')
const { cloudflare } = await import('./platform.ts')
const { run } = await import('./program.ts')

process.exit(
  await run(process.argv.slice(2), {
    env: process.env,
    write: (text) =>
      new Promise((resolve, reject) => process.stdout.write(text, (error) => (error ? reject(error) : resolve()))),
    hasReader: !isNullDevice(1),
    progress,
    patienceMs: PATIENCE_MS,
    openLocalRegions: (directory, wanted) => openLocalRegions(directory, { progress, wanted }),
    platform: cloudflare,
    ask: process.stdin.isTTY && process.stderr.isTTY && !process.env.CI ? ask : undefined,
  }),
)

/** Asks on stderr, because stdout is for results. If stdin ends, the answer is empty. */
async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await new Promise((resolve) => {
      terminal.once('close', () => resolve(''))
      terminal.question(question, resolve)
    })
  } finally {
    terminal.close()
  }
}

/** True for /dev/null, which Node opens in place of a closed stdout. */
function isNullDevice(fd: number): boolean {
  try {
    const { rdev } = fstatSync(fd)
    return rdev !== 0 && rdev === statSync('/dev/null').rdev
  } catch {
    return false
  }
}
