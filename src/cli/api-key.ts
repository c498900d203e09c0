import { type Command, Option } from '@commander-js/extra-typings'
import { API_KEY_PREFIX, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { type ApiKey, createApiKey, findApiKey, listApiKeys, revokeApiKey } from '../storage/operator/api-keys.ts'
import { listEnvironments } from '../storage/operator/environments.ts'
import {
  type Context,
  checkName,
  Failure,
  jsonOption,
  type OpenRegions,
  print,
  printOnce,
  requireReader,
  shellWord,
  table,
  UsageError,
} from './command.ts'
import { databaseOptions, withRegions } from './operator-database.ts'
import {
  databaseOfId,
  environmentNamed,
  type FoundEnvironment,
  listInEnvironments,
  type Place,
  regionCell,
  regionHeading,
  regionMember,
  requireAllAnswered,
} from './regions.ts'

const environmentOption = () => new Option('--environment <NAME>', 'Environment, by name or ID.')

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
      const id = await withRegions(context, options, async (open) => {
        const { id: environmentId, database } = await environmentNamed(open, environmentName)
        const { plaintext, digest } = await issueCredential(API_KEY_PREFIX, database.region)
        const now = Date.now()
        const id = newId('api_key', now, database.region)
        await createApiKey(database, { id, environmentId, name, digest, access, createdAt: now })
        await printOnce(context, options.json ? { id, api_key: plaintext } : plaintext, {
          created: `API key ${id}`,
          undone: 'revoked, because it was not shown',
          undo: () => revokeApiKey(database, id, Date.now()),
          byHand: `npm run api-key -- revoke ${id}${options.remote ? ' --remote' : ''}`,
        })
        return id
      })
      if (options.json) return
      context.progress(`API key ${id} can ${accessOf({ access })} in ${environmentName}. It is not shown again.`)
    })

  databaseOptions(group.command('list'))
    .description('List API keys of one environment or of all. The keys themselves are not stored and not shown.')
    .addOption(environmentOption())
    .addOption(jsonOption())
    .action(async (options) => {
      const found = await withRegions(context, options, (open) =>
        listInEnvironments(open, options.environment, listApiKeys),
      )
      const environments = found.answers.map(([environment]) => environment)
      if (options.json) {
        await print(
          context,
          found.answers.map(([environment, key]) => toJson(environment, key)),
        )
      } else if (found.answers.length > 0) {
        const rows = found.answers.map(([environment, key]) => [
          environment.name,
          key.name,
          key.access,
          key.id,
          minuteOf(key.lastUsedAt) ?? 'never',
          minuteOf(key.revokedAt) ?? '-',
          ...regionCell(environment),
        ])
        const headings = ['ENVIRONMENT', 'NAME', 'ACCESS', 'ID', 'LAST USED', 'REVOKED']
        await print(context, table([...headings, ...regionHeading(environments)], rows))
      } else if (found.problems.length === 0) {
        await print(context, 'No API keys yet: npm run api-key -- create --help')
      }
      requireAllAnswered(found)
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
      const { environment, key, wasRevoked } = await withRegions(context, options, async (open) => {
        const { database, key: before, region } = await findKey(open, id, options)
        const key = await revokeApiKey(database, before.id, Date.now())
        const environments = await listEnvironments(database)
        const name = environments.find(({ id }) => id === before.environmentId)?.name ?? before.environmentId
        return { environment: { name, region }, key: key ?? before, wasRevoked: before.revokedAt !== null }
      })
      if (options.json) return print(context, toJson(environment, key))
      const use = key.lastUsedAt === null ? 'It was never used.' : `It was last used at ${minuteOf(key.lastUsedAt)}.`
      const verb = wasRevoked ? 'Already revoked' : 'Revoked'
      const could = `could ${accessOf(key)} in ${environment.name}`
      await print(context, `${verb}: ${key.name} (${key.id}), which ${could}. ${use}`)
    })
}

interface FoundKey extends Place {
  readonly key: ApiKey
}

async function findKey(
  open: OpenRegions,
  id: string | undefined,
  { environment: wanted, name }: { environment?: string | undefined; name?: string | undefined },
): Promise<FoundKey> {
  if (id !== undefined) {
    const place = await databaseOfId(open, id)
    const key = place && (await findApiKey(place.database, { id }))
    if (!key) throw new Failure(`API key ${id} was not found. Nothing was changed. See: npm run api-key -- list`)
    return { key, ...place }
  }
  const environment = await environmentNamed(open, wanted ?? '')
  const { database, region } = environment
  const named = (await listApiKeys(database, environment.id)).filter((key) => key.name === name)
  const active = named.filter(({ revokedAt }) => revokedAt === null)
  if (active.length > 1) {
    const ids = active.map(({ id }) => id).join(', ')
    throw new Failure(
      `${wanted} has ${active.length} API keys named ${name}: ${ids}. Nothing was changed. Give the ID of one.`,
    )
  }
  const key = active[0] ?? named.at(-1)
  if (key) return { key, database, region }
  throw new Failure(
    `${wanted} has no API key named ${shellWord(name ?? '')}. Nothing was changed. See: npm run api-key -- list`,
  )
}

function accessOf({ access }: Pick<ApiKey, 'access'>): string {
  return access === 'write' ? 'read and write' : 'read'
}

function minuteOf(unixMs: number | null): string | undefined {
  return unixMs === null ? undefined : new Date(unixMs).toISOString().replace(/:\d\d\.\d+Z$/, 'Z')
}

function toJson(
  environment: Pick<FoundEnvironment, 'name' | 'region'>,
  { id, name, access, createdAt, lastUsedAt, revokedAt }: ApiKey,
) {
  const time = (unixMs: number | null) => (unixMs === null ? null : new Date(unixMs).toISOString())
  return {
    id,
    environment: environment.name,
    name,
    access,
    created_at: time(createdAt),
    last_used_at: time(lastUsedAt),
    revoked_at: time(revokedAt),
    ...regionMember(environment),
  }
}
