import { Option } from '@commander-js/extra-typings'
import * as v from 'valibot'
import { Name } from '../contract/fields.ts'
import { sentenceOf } from '../contract/rules.ts'
import type { Database } from '../storage/database.ts'
import type { Region } from '../storage/regions.ts'
import type { Finished } from './wrangler.ts'

/** Everything that a command reaches outside its own code. Tests replace it. */
export interface Context {
  readonly env: NodeJS.Dict<string>
  /** Writes to stdout, and rejects when that fails. */
  readonly write: (text: string) => Promise<void>
  /** False when stdout is closed or /dev/null: a result would be lost. */
  readonly hasReader: boolean
  /** Writes a line to stderr. Never fails. */
  readonly progress: (line: string) => void
  /** Opens the databases of a state folder, `wanted` of them at least, with the current tables in them. */
  readonly openLocalRegions: (directory: string, wanted?: number) => Promise<OpenRegions>
  readonly platform: Platform
  /** Asks the operator, and returns the typed line. Undefined without a terminal. */
  readonly ask?: ((question: string) => Promise<string>) | undefined
}

export type ApiMethod = 'GET' | 'POST' | 'PUT' | 'PATCH'

/** A Cloudflare account that the operator has logged in to. */
export interface Account {
  readonly id: string
  /** A sentence about the login and the account. */
  readonly description: string
  /** Calls Cloudflare's API, below the path of the account. Throws CloudflareError. */
  readonly call: <T>(
    method: ApiMethod,
    path: string,
    body?: object | string,
    headers?: Record<string, string>,
  ) => Promise<T>
}

/** Cloudflare, as wrangler reaches it, and the deployed Worker. */
export interface Platform {
  readonly wrangler: (
    args: readonly string[],
    options?: { env?: Record<string, string>; input?: string },
  ) => Promise<Finished>
  readonly openRegions: () => Promise<OpenRegions>
  /** Logs in to Cloudflare's API. `accountId` is the one in wrangler.toml. */
  readonly login: (accountId: string | undefined) => Promise<Account>
  readonly fetch: (url: string) => Promise<Response>
  readonly sleep: (milliseconds: number) => Promise<void>
  /** Unix ms. */
  readonly now: () => number
}

/** A region that a CLI command opens, outside any HTTP request. */
export interface OperatorRegion extends Region {
  /** Opens the database of the region, once. Throws Failure if that fails. */
  readonly open: () => Promise<Database>
}

/** All regions of a state folder, or of the deployed Worker. The first one is the default. */
export interface OpenRegions {
  readonly regions: readonly [OperatorRegion, ...OperatorRegion[]]
  readonly close: () => Promise<void>
  /** Describes a failure of storage, and its remedy, to the operator. */
  readonly explain?: (error: Error) => string
}

/** The command failed: what happened, whether anything changed, what to do next. Exit code 1. */
export class Failure extends Error {}

/** The command line is invalid, and nothing has changed. Exit code 2. */
export class UsageError extends Error {}

export const jsonOption = () => new Option('--json', 'Print one line of JSON on stdout.')

/** Prints a result: text for people, or one line of JSON. */
export async function print(context: Context, result: string | object): Promise<void> {
  const problem = await tryPrint(context, result)
  if (problem) throw new Failure(`The command has finished, but its result could not be written to ${problem}.`)
}

/** Returns the reason if the result could not be written. */
async function tryPrint({ write }: Context, result: string | object): Promise<string | null> {
  try {
    await write(`${typeof result === 'string' ? result : JSON.stringify(result)}\n`)
    return null
  } catch (error) {
    return `standard output (${codeOf(error)})`
  }
}

/** Refuses to create a value that is shown once, if the operator cannot see the output. */
export function requireReader({ hasReader }: Context, value: string): void {
  if (hasReader) return
  throw new Failure(`Standard output is closed or /dev/null, so ${value} would be lost. Nothing was changed.`)
}

/** Prints a result that has a value which is shown once. When that fails, `undo` ends what was created. */
export async function printOnce(
  context: Context,
  result: string | object,
  { created, undone, undo, byHand }: OnceShown,
): Promise<void> {
  const problem = await tryPrint(context, result)
  if (problem === null) return
  const what = `${created} could not be written to ${problem}.`
  await undo().catch((cause: Error) => {
    throw new Failure(`${what} It exists, and could not be undone (${cause.message}). Run: ${byHand}`)
  })
  throw new Failure(`${what} It was ${undone}.`)
}

interface OnceShown {
  /** The object with the value, such as `API key api_key_…`. */
  readonly created: string
  /** The end of the sentence about it, such as `revoked, because it was not shown`. */
  readonly undone: string
  readonly undo: () => Promise<unknown>
  /** The command that does the same. */
  readonly byHand: string
}

/** Rows below their headings, in columns. */
export function table(headings: string[], rows: string[][]): string {
  const lines = [headings, ...rows]
  const widths = headings.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)))
  const padded = lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
  return padded.map((line) => line.trimEnd()).join('\n')
}

/** Quotes a word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

/** Patterns of names that look like other names on a terminal, each with the rule that refuses it. */
const LOOKALIKES: readonly [pattern: RegExp, rule: string][] = [
  [/\p{Cf}|\p{Default_Ignorable_Code_Point}/u, 'must not have invisible characters.'],
  [/^\s|\s$/, 'must not begin or end with a space.'],
  [/[^\S ]| {2}/, 'must have single ordinary spaces only.'],
]

/** Checks a name that the operator chooses, by the rules of the management API, and so that no two names look alike. */
export function checkName(option: string, name: string): string {
  const { issues } = v.safeParse(Name, name)
  const [, lookalike] = LOOKALIKES.find(([pattern]) => pattern.test(name)) ?? []
  const composed = name === name.normalize('NFC') ? undefined : 'must be in Unicode normalization form C.'
  const problem = sentenceOf(issues?.[0].message) ?? lookalike ?? composed
  if (problem) throw new UsageError(`${option} ${problem}`)
  return name
}

export function codeOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}

/** A step of a command. It is safe to repeat. */
export interface Step {
  readonly title: string
  /** Does the step unless it was done before, and returns a sentence about the result. */
  readonly run: () => Promise<string>
}

/** Shows the steps without doing them. */
export function showSteps({ progress }: Pick<Context, 'progress'>, steps: readonly Step[]): void {
  for (const i of steps.keys()) progress(headingOf(steps, i))
}

/**
 * Runs steps in order, with a heading before each, and stops at the first failure. The error names `again` as the
 * command to run.
 */
export async function runSteps(
  { progress }: Pick<Context, 'progress'>,
  steps: readonly Step[],
  again: string,
): Promise<void> {
  for (const [i, { run }] of steps.entries()) {
    progress(`${headingOf(steps, i)}…`)
    try {
      progress(`      ${await run()}`)
    } catch (error) {
      throw new Failure(`${(error as Error).message}\nRun \`${again}\` again: it continues from this step.`)
    }
  }
}

function headingOf(steps: readonly Step[], i: number): string {
  return `[${i + 1}/${steps.length}] ${steps[i]?.title}`
}
