import { type Command, Option } from '@commander-js/extra-typings'
import * as v from 'valibot'
import { UpdateEnvironment } from '../contract/environments.ts'
import { environmentToWire } from '../contract/wire.ts'
import { newId } from '../credential/id.ts'
import { changeOfEnvironment, LEAK_REACTIONS } from '../storage/environments.ts'
import { changeEnvironmentOf, createEnvironment, type Environment } from '../storage/operator/environments.ts'
import { type Context, checkName, Failure, jsonOption, print, shellWord, table, UsageError } from './command.ts'
import { choiceWords, databaseOptions, withRegions } from './operator-database.ts'
import {
  environmentNamed,
  findEnvironments,
  ifSeveral,
  regionCell,
  regionHeading,
  regionMember,
  regionNamed,
  requireAllAnswered,
  shownRegion,
} from './regions.ts'

export function addEnvironmentCommands(program: Command, context: Context): void {
  const group = program.command('environment').description('Create, list and change environments.')

  databaseOptions(group.command('create'))
    .description('Create an environment: an isolated tenant with its own API keys, applications and secrets.')
    .requiredOption('--name <NAME>', 'Name of the environment.')
    .option('--region <REGION>', "Region, by digit or binding. Default: the first one. This can't be changed later.")
    .addOption(jsonOption())
    .action(async (options) => {
      const name = checkName('--name', options.name)
      const { id, clientId, region } = await withRegions(context, options, async (open) => {
        const region = regionNamed(open, options.region)
        const { answers, problems } = await findEnvironments(open)
        if (problems.length > 0)
          throw new Failure(
            `${problems.join('\n')}\nThe name may already exist in a region that did not respond. Nothing was changed. Try again when all regions respond.`,
          )
        const similar = answers.find((other) => looksLike(other.name, name))
        if (similar) throw new Failure(alreadyThere(similar, name))
        const now = Date.now()
        const ids = { id: newId('env', now, region.digit), clientId: newId('client', now, region.digit) }
        const created = await createEnvironment(await region.open(), { ...ids, name, createdAt: now })
        if (created.id !== ids.id) throw new Failure(alreadyThere(created, name))
        return { ...ids, region: ifSeveral(open, region) }
      })
      if (options.json) return print(context, { id, name, client_id: clientId, ...regionMember({ region }) })
      const next = `npm run api-key -- create --environment ${shellWord(name)} --name NAME --access read|write${choiceWords(options)}`
      const where = region ? ` in region ${shownRegion(region)}` : ''
      await print(
        context,
        `Created environment ${name} (${id})${where}. The audience (aud) of its tokens is ${clientId}.`,
      )
      await print(context, `Next, create an API key for it: ${next}`)
    })

  databaseOptions(group.command('list'))
    .description('List environments. The client ID of an environment is the audience (aud) of its tokens.')
    .addOption(jsonOption())
    .action(async (options) => {
      const found = await withRegions(context, options, findEnvironments)
      if (options.json) {
        const rows = found.answers.map(({ id, name, clientId, createdAt, region }) => ({
          ...{ id, name, client_id: clientId, created_at: new Date(createdAt).toISOString() },
          ...regionMember({ region }),
        }))
        await print(context, rows)
      } else if (found.answers.length > 0) {
        const rows = found.answers.map(({ name, id, clientId, createdAt, region }) => [
          ...[name, id, clientId, dateOf(createdAt)],
          ...regionCell({ region }),
        ])
        await print(context, table(['NAME', 'ID', 'CLIENT ID', 'CREATED', ...regionHeading(found.answers)], rows))
      } else if (found.problems.length === 0) {
        await print(context, `No environments yet: npm run environment -- create --name NAME${choiceWords(options)}`)
      }
      requireAllAnswered(found)
    })

  databaseOptions(group.command('update'))
    .description('Change the settings of an environment.')
    .requiredOption('--environment <NAME>', 'Environment, by name or ID.')
    .addOption(
      new Option('--on-leak <REACTION>', 'The reaction to a credential that is reported as leaked.').choices(
        LEAK_REACTIONS,
      ),
    )
    .option(
      '--max-lifetime-days <DAYS>',
      'The longest lifetime of new client secrets, in days. `none` removes the limit.',
    )
    .option(
      '--max-unused-days <DAYS>',
      'Days without use or change after which cleanup disables a client secret. `none` turns this off.',
    )
    .addOption(jsonOption())
    .action(async (options) => {
      const settings = {
        leakReaction: options.onLeak,
        maxLifetimeDays: daysOf('--max-lifetime-days', options.maxLifetimeDays),
        maxUnusedDays: daysOf('--max-unused-days', options.maxUnusedDays),
      }
      if (Object.values(settings).every((setting) => setting === undefined)) {
        throw new UsageError('Give at least one setting to change: --on-leak, --max-lifetime-days, --max-unused-days.')
      }
      const now = Date.now()
      const environment = await withRegions(context, options, async (open) => {
        const { database, id } = await environmentNamed(open, options.environment)
        return changeEnvironmentOf(database, id, now, changeOfEnvironment(settings, now))
      })
      await print(context, options.json ? environmentToWire(environment) : `Saved the settings of ${environment.name}.`)
    })
}

/** Parses a number of days. `none` becomes null. */
function daysOf(option: string, text: string | undefined): number | null | undefined {
  if (text === undefined) return undefined
  if (text === 'none') return null
  const days = v.safeParse(UpdateEnvironment.entries.max_lifetime_days, /^\d+$/.test(text) ? Number(text) : text)
  if (!days.success) throw new UsageError(`${option} must be a whole number from 1 to 3650, or none.`)
  return days.output
}

/** True if two names differ only in case or Unicode composition, so that people confuse them on a terminal. */
function looksLike(a: string, b: string): boolean {
  const [first, second] = [a, b].map((name) => name.normalize('NFKC').trim().toLowerCase())
  return first === second
}

function alreadyThere({ id, name }: Pick<Environment, 'id' | 'name'>, wanted: string): string {
  const words = name === wanted ? `Environment ${name} already exists` : `Environment ${name} has a name like ${wanted}`
  return `${words}: ${id}. Nothing was changed. Choose another name.`
}

function dateOf(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(0, 10)
}
