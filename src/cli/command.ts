import { Option } from '@commander-js/extra-typings'
import * as v from 'valibot'
import { Name } from '../contract/fields.ts'
import { sentenceOf } from '../contract/rules.ts'
import type { Database } from '../storage/database.ts'
import type { Region } from '../storage/regions.ts'
import type { Finished } from './wrangler.ts'

/** The surroundings of a command: the terminal, the databases and Cloudflare. Tests replace them. */
export interface Context {
  readonly env: NodeJS.Dict<string>
  /** Writes to stdout. The promise rejects if the write fails. */
  readonly write: (text: string) => Promise<void>
  /** False if stdout is closed or /dev/null, where a result would be lost. */
  readonly hasReader: boolean
  /** Writes a line to stderr. Never fails. */
  readonly progress: (line: string) => void
  /** Opens the databases of a state folder, at least `wanted` of them, and applies missing migrations. */
  readonly openLocalRegions: (directory: string, wanted?: number) => Promise<OpenRegions>
  /** How long `recover` waits for other processes that use the state folder or its database, in milliseconds. */
  readonly patienceMs: number
  readonly platform: Platform
  /** Asks the operator, and returns the typed line. Undefined in CI, and if stdin or stderr is not a terminal. */
  readonly ask?: ((question: string) => Promise<string>) | undefined
}

export type ApiMethod = 'GET' | 'POST' | 'PUT' | 'PATCH'

/** A Cloudflare account that the operator has logged in to. */
export interface Account {
  readonly id: string
  /** A sentence about the login and the account. */
  readonly description: string
  /** Calls Cloudflare's API. `path` is relative to the path of the account. Throws CloudflareError. */
  readonly call: <T>(
    method: ApiMethod,
    path: string,
    body?: object | string,
    headers?: Record<string, string>,
  ) => Promise<T>
}

/** Access to Cloudflare, by wrangler and by its API, and to the deployed Worker. */
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
  /** Opens the database at the first call, and returns it again at later calls. Throws Failure if it cannot be used. */
  readonly open: () => Promise<Database>
}

/** All regions of a state folder, or of the deployed Worker. The first one is the default. */
export interface OpenRegions {
  readonly regions: readonly [OperatorRegion, ...OperatorRegion[]]
  readonly close: () => Promise<void>
  /** The options of a command line that open the same databases, after a space. Absent for the default ones. */
  readonly choice?: string
  /** Returns a message for the operator: why the database failed, and what to do next. */
  readonly explain?: (error: Error) => string
}

/** The command failed. The message says what happened, whether anything changed, and what to do next. Exit code 1. */
export class Failure extends Error {}

/** The command line is invalid, and nothing has changed. Exit code 2. */
export class UsageError extends Error {}

export const jsonOption = () => new Option('--json', 'Print one line of JSON on stdout.')

/** Prints a result: text for people, or one line of JSON. */
export async function print(context: Context, result: string | object): Promise<void> {
  const problem = await tryPrint(context, result)
  if (problem) throw new Failure(`The command has finished, but its result could not be written to ${problem}.`)
}

/** Returns where the result could not be written and why, or null if it was written. */
async function tryPrint({ write }: Context, result: string | object): Promise<string | null> {
  try {
    await write(`${typeof result === 'string' ? result : JSON.stringify(result)}\n`)
    return null
  } catch (error) {
    return `standard output (${codeOf(error)})`
  }
}

/** Throws Failure if stdout has no reader. Call this before you create a credential that is shown only once. */
export function requireReader({ hasReader }: Context, value: string): void {
  if (hasReader) return
  throw new Failure(`Standard output is closed or /dev/null, so ${value} would be lost. Nothing was changed.`)
}

/**
 * Prints a result with a credential that is shown only once. If that fails, `undo` revokes or deletes the new object:
 * otherwise a credential that the operator never saw would stay active.
 */
export async function printOnce(
  context: Context,
  result: string | object,
  { created, undone, undo, byHand }: OnceShown,
): Promise<void> {
  const problem = await tryPrint(context, result)
  if (problem === null) return
  const what = `${created} could not be written to ${problem}.`
  await undo().catch((cause: Error) => {
    throw new Failure(`${what} It still exists, because undoing its creation failed (${cause.message}). Run: ${byHand}`)
  })
  throw new Failure(`${what} It was ${undone}.`)
}

interface OnceShown {
  /** The object that has the credential, such as `API key api_key_…`. */
  readonly created: string
  /** Completes the sentence “It was …”, such as `revoked, because it was not shown`. */
  readonly undone: string
  readonly undo: () => Promise<unknown>
  /** The command to run if `undo` fails. */
  readonly byHand: string
}

/** A text table with aligned columns. */
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

/** Matches names that look like another name on a terminal. Each pattern has the rule to show. */
const LOOKALIKES: readonly [pattern: RegExp, rule: string][] = [
  [/\p{Cf}|\p{Default_Ignorable_Code_Point}/u, 'must not have invisible characters.'],
  [/^\s|\s$/, 'must not begin or end with a space.'],
  [/[^\S ]| {2}/, 'must separate words by one ordinary space.'],
]

/**
 * Checks a new name by the rules of the management API. Also refuses characters that make different names look the
 * same.
 */
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

/** A step of a command. Running it again is safe. */
export interface Step {
  readonly title: string
  /** Does the step unless an earlier run did, and returns a sentence about the result. */
  readonly run: () => Promise<string>
}

/** Shows the steps without doing them. */
export function showSteps({ progress }: Pick<Context, 'progress'>, steps: readonly Step[]): void {
  for (const i of steps.keys()) progress(headingOf(steps, i))
}

/** Runs the steps in order, and stops at the first failure. The error names `again` as the command to run. */
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
