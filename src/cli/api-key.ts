import { type Command, Option } from '@commander-js/extra-typings'
import { API_KEY_PREFIX, DEFAULT_REGION, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import type { Database } from '../storage/database.ts'
import { type ApiKey, createApiKey, findApiKey, listApiKeys, revokeApiKey } from '../storage/operator/api-keys.ts'
import { listEnvironments } from '../storage/operator/environments.ts'
import {
  type Context,
  checkName,
  Failure,
  jsonOption,
  print,
  printOnce,
  requireReader,
  shellWord,
  table,
  UsageError,
} from './command.ts'
import { environmentNamed, environmentsNamed } from './environment.ts'
import { databaseOptions, withDatabase } from './operator-database.ts'

const environmentOption = () => new Option('--environment <NAME>', 'Environment, by name.')

export function addApiKeyCommands(program: Command, context: Context): void {
  const group = program.command('api-key').description('Create, list and revoke API keys.')

  databaseOptions(group.command('create'))
    .description('Create an API key on this machine and show it once. The database receives only its digest.')
    .addOption(environmentOption().makeOptionMandatory())
    .requiredOption('--name <NAME>', 'Name of the key, shown in lists and events.')
    .addOption(
      new Option('--access <ACCESS>', 'What the key may do.').choices(['read', 'write'] as const).makeOptionMandatory(),
    )
    .addOption(jsonOption())
    .action(async (options) => {
      const { environment: environmentName, access } = options
      const name = checkName('--name', options.name)
      requireReader(context, 'the API key')
      const { plaintext, digest } = await issueCredential(API_KEY_PREFIX, DEFAULT_REGION)
      const now = Date.now()
      const id = newId('api_key', now)
      await withDatabase(context, options, async (database) => {
        const { id: environmentId } = await environmentNamed(database, environmentName)
        await createApiKey(database, { id, environmentId, name, digest, access, createdAt: now })
        await printOnce(context, options.json ? { id, api_key: plaintext } : plaintext, {
          created: `API key ${id}`,
          undone: 'revoked, because it was not shown',
          undo: () => revokeApiKey(database, id, Date.now()),
          byHand: `npm run api-key -- revoke ${id}${options.remote ? ' --remote' : ''}`,
        })
      })
      if (options.json) return
      context.progress(`API key ${id} can ${accessOf({ access })} in ${environmentName}. It is not shown again.`)
    })

  databaseOptions(group.command('list'))
    .description('List API keys of one environment or of all. The keys themselves are not stored and not shown.')
    .addOption(environmentOption())
    .addOption(jsonOption())
    .action(async (options) => {
      const keys = await withDatabase(context, options, async (database) => {
        const environments = await environmentsNamed(database, options.environment)
        const lists = await Promise.all(environments.map(({ id }) => listApiKeys(database, id)))
        return environments.flatMap(({ name }, i) => (lists[i] ?? []).map((key) => ({ environment: name, key })))
      })
      if (options.json)
        return print(
          context,
          keys.map(({ environment, key }) => toJson(environment, key)),
        )
      if (keys.length === 0) return print(context, 'No API keys yet: npm run api-key -- create --help')
      const rows = keys.map(({ environment, key }) => [
        environment,
        key.name,
        key.access,
        key.id,
        minuteOf(key.lastUsedAt) ?? 'never',
        minuteOf(key.revokedAt) ?? '-',
      ])
      await print(context, table(['ENVIRONMENT', 'NAME', 'ACCESS', 'ID', 'LAST USED', 'REVOKED'], rows))
    })

  databaseOptions(group.command('revoke'))
    .description('Revoke an API key, by ID or by environment and name. The next request with it gets 401.')
    .argument('[ID]', 'ID of the key.')
    .addOption(environmentOption())
    .option('--name <NAME>', 'Name of the key in that environment.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const isNamed = options.environment !== undefined && options.name !== undefined
      if ((id === undefined) !== isNamed)
        throw new UsageError('Give the ID of the key, or both --environment and --name.')
      const { environment, key, wasRevoked } = await withDatabase(context, options, async (database) => {
        const before = await findKey(database, id, options)
        const key = await revokeApiKey(database, before.id, Date.now())
        const environments = await listEnvironments(database)
        const environment = environments.find(({ id }) => id === before.environmentId)?.name ?? before.environmentId
        return { environment, key: key ?? before, wasRevoked: before.revokedAt !== null }
      })
      if (options.json) return print(context, toJson(environment, key))
      const use = key.lastUsedAt === null ? 'It was never used.' : `It was last used at ${minuteOf(key.lastUsedAt)}.`
      const verb = wasRevoked ? 'Already revoked' : 'Revoked'
      await print(context, `${verb}: ${key.name} (${key.id}), which could ${accessOf(key)} in ${environment}. ${use}`)
    })
}

async function findKey(
  database: Database,
  id: string | undefined,
  { environment, name }: { environment?: string | undefined; name?: string | undefined },
): Promise<ApiKey> {
  if (id !== undefined) {
    const found = await findApiKey(database, { id })
    if (!found) throw new Failure(`API key ${id} not found. Nothing was changed. See: npm run api-key -- list`)
    return found
  }
  const { id: environmentId } = await environmentNamed(database, environment ?? '')
  const named = (await listApiKeys(database, environmentId)).filter((key) => key.name === name)
  const active = named.filter(({ revokedAt }) => revokedAt === null)
  if (active.length > 1) {
    const ids = active.map(({ id }) => id).join(', ')
    throw new Failure(
      `${environment} has ${active.length} API keys named ${name}: ${ids}. Nothing was changed. Give the ID of one.`,
    )
  }
  const found = active[0] ?? named.at(-1)
  if (found) return found
  throw new Failure(
    `${environment} has no API key named ${shellWord(name ?? '')}. Nothing was changed. See: npm run api-key -- list`,
  )
}

function accessOf({ access }: Pick<ApiKey, 'access'>): string {
  return access === 'write' ? 'read and write' : 'read'
}

function minuteOf(unixMs: number | null): string | undefined {
  return unixMs === null ? undefined : new Date(unixMs).toISOString().replace(/:\d\d\.\d+Z$/, 'Z')
}

function toJson(environment: string, { id, name, access, createdAt, lastUsedAt, revokedAt }: ApiKey) {
  const time = (unixMs: number | null) => (unixMs === null ? null : new Date(unixMs).toISOString())
  return {
    id,
    environment,
    name,
    access,
    created_at: time(createdAt),
    last_used_at: time(lastUsedAt),
    revoked_at: time(revokedAt),
  }
}
