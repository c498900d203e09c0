import type { Command } from '@commander-js/extra-typings'
import { newId } from '../credential/id.ts'
import type { Database } from '../storage/database.ts'
import { createEnvironment, type Environment, listEnvironments } from '../storage/operator/environments.ts'
import { type Context, checkName, Failure, jsonOption, print, shellWord, table } from './command.ts'
import { databaseOptions, withDatabase } from './operator-database.ts'

export function addEnvironmentCommands(program: Command, context: Context): void {
  const group = program.command('environment').description('Create and list environments.')

  databaseOptions(group.command('create'))
    .description('Create an environment: an isolated tenant with its own API keys, applications and secrets.')
    .requiredOption('--name <NAME>', 'Name of the environment.')
    .addOption(jsonOption())
    .action(async (options) => {
      const name = checkName('--name', options.name)
      const now = Date.now()
      const wanted = { id: newId('env', now), clientId: newId('client', now), name, createdAt: now }
      const { id, clientId } = await withDatabase(context, options, async (database) => {
        const similar = (await listEnvironments(database)).find((other) => looksLike(other.name, name))
        if (similar) throw new Failure(alreadyThere(similar, name))
        return createEnvironment(database, wanted)
      })
      if (id !== wanted.id) throw new Failure(alreadyThere({ id, name }, name))
      if (options.json) return print(context, { id, name, client_id: clientId })
      const next = `npm run api-key -- create --environment ${shellWord(name)} --name NAME --access read|write`
      await print(context, `Created environment ${name} (${id}). The audience (aud) of its tokens is ${clientId}.`)
      await print(context, `Next, create an API key for it: ${next}`)
    })

  databaseOptions(group.command('list'))
    .description('List environments. The client ID is the audience (aud) of the tokens of an environment.')
    .addOption(jsonOption())
    .action(async (options) => {
      const environments = await withDatabase(context, options, listEnvironments)
      if (options.json) {
        const rows = environments.map(({ id, name, clientId, createdAt }) => ({
          id,
          name,
          client_id: clientId,
          created_at: new Date(createdAt).toISOString(),
        }))
        return print(context, rows)
      }
      if (environments.length === 0)
        return print(context, 'No environments yet: npm run environment -- create --name NAME')
      const rows = environments.map(({ name, id, clientId, createdAt }) => [name, id, clientId, dateOf(createdAt)])
      await print(context, table(['NAME', 'ID', 'CLIENT ID', 'CREATED'], rows))
    })
}

/** Finds an environment by its exact name. */
export async function environmentNamed(database: Database, name: string): Promise<Environment> {
  const environments = await listEnvironments(database)
  const found = environments.find((environment) => environment.name === name)
  if (found) return found
  const names = environments.map((environment) => shellWord(environment.name)).join(', ')
  const next = names
    ? `The environments are: ${names}.`
    : `Create it: npm run environment -- create --name ${shellWord(name)}`
  throw new Failure(`Environment ${shellWord(name)} not found. Nothing was changed. ${next}`)
}

/** The environment of this name, or all of them when no name is given. */
export async function environmentsNamed(database: Database, name: string | undefined): Promise<Environment[]> {
  return name === undefined ? listEnvironments(database) : [await environmentNamed(database, name)]
}

/** Whether two names can be confused on a terminal: they differ in case, or in how a character is composed, at most. */
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
