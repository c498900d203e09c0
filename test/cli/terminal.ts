import type { Context, OpenRegions, OperatorRegion, Platform } from '../../src/cli/command.ts'
import { operatorDatabase } from '../../src/cli/local-database.ts'
import { run } from '../../src/cli/program.ts'

/** The operator's commands, called as functions. */

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** The one line of JSON on stdout. */
  // biome-ignore lint/suspicious/noExplicitAny: its type depends on the command.
  readonly json: any
}

/** Everything outside that a command may use. A command fails if it uses a part that the test does not provide. */
export interface Surroundings extends Partial<Omit<Context, 'platform'>> {
  /** The local database, or those of several regions. */
  readonly database?: D1Database
  readonly databases?: readonly D1Database[]
  readonly platform?: Partial<Platform>
}

const unexpected = (name: string) => () => Promise.reject(new Error(`unexpected use of ${name}`))

/** Regions 0 (DB), 1 (DB_1) and so on, without anything to close. */
export function regionsOf(...databases: readonly D1Database[]): OpenRegions {
  const regions = databases.map((binding, i): OperatorRegion => {
    const region = { digit: String(i), binding: i === 0 ? 'DB' : `DB_${i}` }
    return { ...region, open: async () => operatorDatabase(binding, region) }
  })
  return { regions: regions as [OperatorRegion, ...OperatorRegion[]], close: async () => {} }
}

/** The surroundings of a command, and what it has written. */
export function contextOf({ database, databases = database ? [database] : [], platform, ...rest }: Surroundings = {}) {
  const output = { stdout: '', stderr: '' }
  const context: Context = {
    env: {},
    hasReader: true,
    write: async (text) => {
      output.stdout += text
    },
    progress: (line) => {
      output.stderr += `${line}\n`
    },
    patienceMs: 1_000,
    openLocalRegions: databases.length > 0 ? async () => regionsOf(...databases) : unexpected('the local database'),
    ...rest,
    platform: {
      wrangler: unexpected('wrangler'),
      login: unexpected('the login to Cloudflare'),
      openRegions: unexpected('the deployed database'),
      fetch: unexpected('the network'),
      sleep: async () => {},
      now: () => Date.now(),
      ...platform,
    },
  }
  return { context, output }
}

/** Runs `npm run <words>` in this process. */
export async function cli(words: readonly string[], surroundings: Surroundings = {}): Promise<Finished> {
  const { context, output } = contextOf(surroundings)
  const code = await run(words, context)
  const isJson = words.includes('--json') && code === 0
  if (isJson && !/^.+\n$/.test(output.stdout)) throw new Error(`not one line of JSON: ${output.stdout}`)
  return { code, ...output, json: isJson ? JSON.parse(output.stdout) : undefined }
}
