import { readFileSync } from 'node:fs'
import { Command, CommanderError } from '@commander-js/extra-typings'
import { StorageUnavailable } from '../storage/database.ts'
import { addApiKeyCommands } from './api-key.ts'
import { type Context, Failure, print, UsageError } from './command.ts'
import { addDeployCommand } from './deploy.ts'
import { addDevCommand } from './dev.ts'
import { addEnvironmentCommands } from './environment.ts'
import { addExportCommand } from './export.ts'
import { addFreezeCommand } from './freeze.ts'
import { addImportCommand } from './import.ts'
import { addMigrateCommand } from './migrate.ts'
import { addRecoverCommand } from './recover.ts'
import { addSigningKeyCommands } from './signing-key.ts'
import { addUsageCommand } from './usage.ts'
import { addWebhookCommands } from './webhook.ts'

/** Runs a command line, such as `['api-key', 'list', '--json']`, and returns the exit code. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const help: string[] = []
  const program = new Command('npm run')
    .helpCommand(false)
    .configureOutput({ writeOut: (text) => void help.push(text), writeErr: () => {} })
    .configureHelp({ commandUsage: (command) => usages(command as Command).join('\n       ') })
  addDevCommand(program, context)
  addMigrateCommand(program, context)
  addEnvironmentCommands(program, context)
  addFreezeCommand(program, context)
  addApiKeyCommands(program, context)
  addSigningKeyCommands(program, context)
  addWebhookCommands(program, context)
  addExportCommand(program, context)
  addImportCommand(program, context)
  addUsageCommand(program, context)
  addRecoverCommand(program, context)
  addDeployCommand(program, context)

  let command: Command = program
  const isGiven = new Set<string>()
  const prepare = (each: Command): void => {
    each.helpCommand(false)
    each.exitOverride((error) => {
      command = each
      throw error
    })
    for (const { name, required } of each.options.map((option) => ({
      name: option.name(),
      required: option.required,
    }))) {
      each.on(`option:${name}`, (value: string | undefined) => {
        command = each
        if (isGiven.has(name)) throw new UsageError(`--${name} is given twice.`)
        isGiven.add(name)
        if (required && !value) throw new UsageError(`--${name} is empty.`)
        if (required && value?.startsWith('--')) throw new UsageError(`--${name} needs a value, not '${value}'.`)
      })
    }
    for (const child of each.commands) prepare(child as Command)
  }
  prepare(program)
  program.hook('preAction', (_, action) => {
    command = action as Command
    const [taken] = optionsTakenByNpm(command, context.env).filter((name) => !isGiven.has(name))
    if (taken) throw new UsageError(`npm read --${taken} as its own option. Write \`--\` before it.`)
  })

  try {
    await program.parseAsync(args, { from: 'user' }).catch((error) => {
      if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error
    })
    if (help.length > 0) await print(context, help.join('').trimEnd())
    return 0
  } catch (error) {
    const isUsage = error instanceof CommanderError || error instanceof UsageError
    if (!isUsage) context.progress(explain(error))
    else context.progress(`${sentenceOf(error)}${hintAt(command, error, context.env)}\n${usageOf(command)}`)
    return isUsage ? 2 : 1
  }
}

/** Turns commander's message into a sentence. */
function sentenceOf(error: CommanderError | UsageError): string {
  if (error instanceof UsageError) return error.message
  if (error.code === 'commander.help') return 'A command is missing.'
  const text = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.)]$/.test(text) ? '' : '.'}`
}

function explain(error: unknown): string {
  if (error instanceof Failure) return error.message
  if (error instanceof StorageUnavailable) {
    return `The database did not respond (${error.message}). The command may have taken effect: check before you run it again.`
  }
  return `Unexpected error: ${error instanceof Error ? error.message : String(error)}`
}

/** A hint for a missing option: npm reads an option before `--` as its own. */
function hintAt(command: Command, error: Error, env: NodeJS.Dict<string>): string {
  if (!(error instanceof CommanderError) || error.code !== 'commander.missingMandatoryOptionValue') return ''
  const [taken] = optionsTakenByNpm(command, env)
  return taken ? ` npm read --${taken} as its own option: write \`--\` before it.` : ''
}

/** The usage lines of a command, or of each command in a group. */
function usageOf(command: Command): string {
  return usages(command)
    .map((line) => `Usage: ${line}`)
    .join('\n')
}

function usages(command: Command): string[] {
  if (command.commands.length > 0) return command.commands.flatMap((child) => usages(child as Command))
  const names: string[] = []
  for (let at: Command | null = command; at?.parent; at = at.parent as Command | null) names.unshift(at.name())
  const [script = '', ...rest] = names
  const words = [
    ...command.registeredArguments.map((argument) =>
      argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
    ),
    ...command.options.map(({ flags, mandatory }) => (mandatory ? flags : `[${flags}]`)),
  ]
  return [['npm run', script, '--', ...rest, ...words].join(' ')]
}

/**
 * Options that the operator typed before `--`. npm reads these as its own and passes them on only as environment
 * variables: without this check, `npm run deploy --dry-run` would deploy. Settings from npm's configuration files or
 * from npm's own environment are left out, because the operator did not type them.
 */
function optionsTakenByNpm(command: Command, env: NodeJS.Dict<string>): string[] {
  if (!env.npm_lifecycle_event) return []
  const names = command.options.map((option) => option.name())
  const suspects = names.filter((name) => env[variableOf(name)] !== undefined)
  if (suspects.length === 0) return []
  const configured = configuredNames(env)
  return suspects.filter((name) => !configured.has(name) && env[variableOf(name).toUpperCase()] === undefined)
}

const variableOf = (name: string) => `npm_config_${name.replaceAll('-', '_')}`

function configuredNames(env: NodeJS.Dict<string>): Set<string> {
  const files = [env.npm_config_userconfig, env.npm_config_globalconfig].filter((file) => file !== undefined)
  const lines = files.flatMap((file) => {
    try {
      return readFileSync(file, 'utf8').split('\n')
    } catch {
      return []
    }
  })
  return new Set(lines.map((line) => line.split('=')[0]?.trim() ?? ''))
}
