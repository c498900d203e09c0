import { type ParseArgsConfig, parseArgs } from 'node:util'
import { StorageUnavailable } from '../storage/database.ts'

/**
 * What the operator's commands have in common: words in, help, sentences and exit codes out. Answers go to stdout,
 * everything else to stderr.
 */
export interface Command<O extends Options = Options> {
  /** What comes behind `npm run`, such as `api-key -- create`. */
  readonly name: string
  readonly says: string
  readonly options: O
  /** The one word that may stand without an option, such as an id. */
  readonly operand?: string
  run(values: Values<O>, operand: string | undefined): Promise<void>
}

interface Option {
  readonly type: 'string' | 'boolean'
  readonly says: string
  /** What stands for its value in the help. */
  readonly value?: string
  readonly default?: string
  readonly required?: true
  readonly choices?: readonly string[]
}
type Options = Readonly<Record<string, Option>>

type Values<O extends Options> = { readonly [Name in keyof O]: Value<O[Name]> }
type Value<O extends Option> = O['type'] extends 'boolean'
  ? boolean
  : Text<O> | (O extends { required: true } | { default: string } ? never : undefined)
type Text<O extends Option> = O extends { choices: readonly (infer Choice)[] } ? Choice : string

/** Failed: says what is wrong and what to do next. Exit code 1. */
export class Failure extends Error {}

/** Asked in the wrong words. Exit code 2. */
class Misuse extends Error {}

const help = { type: 'boolean', says: 'Show this.' } as const
export const json = { type: 'boolean', says: 'Answer with one line of JSON on stdout.' } as const

/** Fixes the types of a command's values by its options. */
export function command<const O extends Options>(definition: Command<O>): Command<O> {
  return definition
}

/** Runs a command, or the one of several that the first word names. */
export async function main(commands: Command | readonly Command[]): Promise<void> {
  const words = process.argv.slice(2)
  const several = 'run' in commands ? null : commands
  const chosen = several ? several.find(({ name }) => name.split(' ').at(-1) === words[0]) : (commands as Command)
  try {
    if (chosen) return await runWith(chosen, several ? words.slice(1) : words)
    const usages = several?.map(usage).join('\n')
    if (words[0] === '--help' || words[0] === '-h') return answer(`${usages}\n\n--help behind any of them tells more.`)
    throw new Misuse(`${words[0] ? `There is no '${words[0]}' here.` : 'Say what to do.'}\n${usages}`)
  } catch (error) {
    progress(sentence(error))
    process.exit(error instanceof Misuse ? 2 : 1)
  }
}

/** Tells what takes a while. */
export function progress(words: string): void {
  process.stderr.write(`${words}\n`)
}

/** What was asked for, for people or, as JSON, for programs. */
export function answer(words: string | object): void {
  process.stdout.write(`${typeof words === 'string' ? words : JSON.stringify(words)}\n`)
}

/** Rows under their headings, in columns. */
export function table(headings: string[], rows: string[][]): string {
  const lines = [headings, ...rows]
  const widths = headings.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)))
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** The rule for names of whatever the operator makes: the management API's. */
export function checkName(option: string, name: string): string {
  if (name.trim() === '' || [...name].length > 255 || /\p{Cc}/u.test(name) || !name.isWellFormed()) {
    throw new Misuse(`${option} has 1 to 255 characters, none of them a control character, and is not blank.`)
  }
  return name
}

export function misuse(words: string): never {
  throw new Misuse(words)
}

async function runWith(chosen: Command, words: string[]): Promise<void> {
  checkNpm(chosen)
  const { values, operand } = parse(chosen, words)
  if (values.help) return answer(helpOf(chosen))
  try {
    checkWords(chosen, values)
    await chosen.run(values as Values<Options>, operand)
  } catch (error) {
    throw error instanceof Misuse ? new Misuse(`${error.message}\n${usage(chosen)}`) : error
  }
}

function parse(chosen: Command, args: string[]) {
  const options: ParseArgsConfig['options'] = { ...chosen.options, help: { type: 'boolean', short: 'h' } }
  try {
    const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true })
    const [operand, surplus] = positionals
    const unexpected = chosen.operand ? surplus : operand
    if (unexpected !== undefined) throw new Error(`Unexpected word '${unexpected}'.`)
    return { values: values as Record<string, unknown>, operand }
  } catch (error) {
    // parseArgs explains at length: its first sentence is enough beside the usage.
    const [first = ''] = (error as Error).message.split(/\. |\n/)
    throw new Misuse(`${first.replace(/\.?$/, '.')}\n${usage(chosen)}`)
  }
}

/** Without the ` -- ` npm takes options for its own: `npm run deploy --dry-run` would deploy. */
function checkNpm(chosen: Command): void {
  if (!process.env.npm_lifecycle_event) return
  for (const name of Object.keys(chosen.options)) {
    if (process.env[`npm_config_${name.replaceAll('-', '_')}`] === undefined) continue
    throw new Misuse(`npm took --${name} for itself: write -- before it.\n${usage(chosen)}`)
  }
}

function checkWords({ options }: Command, values: Record<string, unknown>): void {
  for (const [name, { type, choices, required }] of Object.entries(options)) {
    const value = values[name]
    if (required && value === undefined) throw new Misuse(`--${name} is missing.`)
    if (type === 'string' && choices && value !== undefined && !choices.includes(value as string)) {
      throw new Misuse(`--${name} is one of ${choices.join(', ')}, not '${value}'.`)
    }
  }
}

function usage({ name, options, operand }: Command): string {
  const parts = Object.entries(options).map(([option, spec]) => {
    const text = spec.type === 'boolean' ? `--${option}` : `--${option} ${placeholder(spec)}`
    return spec.required ? text : `[${text}]`
  })
  const words = [...(operand ? [`[${operand}]`] : []), ...parts].join(' ')
  return `Usage: npm run ${name}${name.includes(' -- ') ? '' : ' --'} ${words}`
}

function helpOf(chosen: Command): string {
  const lines = Object.entries({ ...chosen.options, help }).map(([name, spec]: [string, Option]) => {
    const heading = spec.type === 'boolean' ? `--${name}` : `--${name} ${placeholder(spec)}`
    return [`  ${heading}`, spec.default === undefined ? spec.says : `${spec.says} Default: ${spec.default}.`]
  })
  const width = Math.max(...lines.map(([heading = '']) => heading.length))
  const list = lines.map(([heading = '', says]) => `${heading.padEnd(width)}  ${says}`).join('\n')
  return `${usage(chosen)}\n\n${chosen.says}\n\n${list}`
}

function placeholder({ value, choices }: Option): string {
  return choices ? choices.join('|') : (value ?? 'TEXT')
}

function sentence(error: unknown): string {
  if (error instanceof Failure || error instanceof Misuse) return error.message
  if (error instanceof StorageUnavailable && error.message.includes('SQLITE_BUSY')) {
    return 'Another process is writing to the embedded database all the while. Try again in a moment.'
  }
  if (error instanceof StorageUnavailable) {
    return `The database gave no answer: ${error.message}. Look whether it was done all the same, and try again.`
  }
  return `Something unexpected went wrong: ${error instanceof Error ? error.message : String(error)}`
}
