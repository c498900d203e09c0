import { type Command, Option } from '@commander-js/extra-typings'
import * as v from 'valibot'
import { AllowedIps } from '../contract/fields.ts'
import { sentenceOf } from '../contract/rules.ts'
import { API_KEY_PREFIX, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { type Access, PERMISSIONS } from '../storage/caller.ts'
import {
  type ApiKey,
  createApiKey,
  findApiKey,
  listApiKeys,
  renameApiKey,
  revokeApiKey,
} from '../storage/operator/api-keys.ts'
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
  const group = program.command('api-key').description('Create, list, rename and revoke API keys.')

  databaseOptions(group.command('create'))
    .description('Create an API key on this machine and show it once. The database receives only its digest.')
    .addOption(environmentOption().makeOptionMandatory())
    .requiredOption('--name <NAME>', 'Name of the key, shown in lists and events.')
    .addOption(new Option('--access <ACCESS>', 'What the key may do.').choices(['read', 'write'] as const))
    .option(
      '--permission <PERMISSIONS>',
      `Permissions, instead of --access, separated by commas: ${PERMISSIONS.join(', ')}.`,
    )
    .option(
      '--allow-ip <RANGES>',
      'IP addresses and CIDR ranges from which the key works, separated by commas. Default: all.',
    )
    .option('--expires-in <TIME>', 'Time after which the key stops working, such as 90d or 12h. Default: never.')
    .addOption(jsonOption())
    .action(async (options) => {
      const { environment: environmentName } = options
      const rights = rightsOf(options)
      const allowedIps = rangesOf(options.allowIp)
      const lifetime = lifetimeOf(options.expiresIn)
      const name = checkName('--name', options.name)
      requireReader(context, 'the API key')
      const id = await withRegions(context, options, async (open) => {
        const { id: environmentId, database } = await environmentNamed(open, environmentName)
        const { plaintext, digest } = await issueCredential(API_KEY_PREFIX, database.region)
        const now = Date.now()
        const id = newId('api_key', now, database.region)
        const expiresAt = lifetime === null ? null : now + lifetime
        const key = { id, environmentId, name, digest, ...rights, allowedIps, expiresAt, createdAt: now }
        await createApiKey(database, key)
        await printOnce(context, options.json ? { id, api_key: plaintext } : plaintext, {
          created: `API key ${id}`,
          undone: 'revoked, because it was not shown',
          undo: () => revokeApiKey(database, id, Date.now()),
          byHand: `npm run api-key -- revoke ${id}${open.choice ?? ''}`,
        })
        return id
      })
      if (options.json) return
      context.progress(`API key ${id} can ${accessOf(rights)} in ${environmentName}. The key is not shown again.`)
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
          key.permissions?.join(',') ?? key.access,
          key.id,
          minuteOf(key.lastUsedAt) ?? 'never',
          minuteOf(key.expiresAt) ?? 'never',
          key.allowedIps?.join(',') ?? 'all',
          minuteOf(key.revokedAt) ?? '-',
          ...regionCell(environment),
        ])
        const headings = ['ENVIRONMENT', 'NAME', 'ACCESS', 'ID', 'LAST USED', 'EXPIRES', 'ALLOWED IPS', 'REVOKED']
        await print(context, table([...headings, ...regionHeading(environments)], rows))
      } else if (found.problems.length === 0) {
        await print(context, 'No API keys yet: npm run api-key -- create --help')
      }
      requireAllAnswered(found)
    })

  databaseOptions(group.command('rename'))
    .description('Rename an API key. Past events keep the old name.')
    .argument('<ID>', 'ID of the key.')
    .requiredOption('--name <NAME>', 'The new name.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const name = checkName('--name', options.name)
      const { environment, key } = await withRegions(context, options, async (open) => {
        const { database, key, region } = await findKey(open, id, {})
        if (key.revokedAt !== null) throw new Failure(`API key ${id} is revoked. Nothing was changed.`)
        const environments = await listEnvironments(database)
        const environment = environments.find(({ id }) => id === key.environmentId)?.name ?? key.environmentId
        const renamed = await renameApiKey(database, id, name, Date.now())
        return { environment: { name: environment, region }, key: renamed ?? key }
      })
      await print(context, options.json ? toJson(environment, key) : `Renamed ${id} to ${key.name}.`)
    })

  databaseOptions(group.command('revoke'))
    .description(
      'Revoke an API key, given by its ID, or by its environment and its name. The next request with the key gets 401.',
    )
    .argument('[ID]', 'ID of the key.')
    .addOption(environmentOption())
    .option('--name <NAME>', 'Name of the key. Needs --environment.')
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
    if (!key)
      throw new Failure(
        `API key ${id} was not found. Nothing was changed. See: npm run api-key -- list${open.choice ?? ''}`,
      )
    return { key, ...place }
  }
  const environment = await environmentNamed(open, wanted ?? '')
  const { database, region } = environment
  const named = (await listApiKeys(database, environment.id)).filter((key) => key.name === name)
  const active = named.filter(({ revokedAt }) => revokedAt === null)
  if (active.length > 1) {
    const ids = active.map(({ id }) => id).join(', ')
    throw new Failure(
      `${wanted} has ${active.length} active API keys named ${name}: ${ids}. Nothing was changed. Give the ID of one.`,
    )
  }
  const key = active[0] ?? named.at(-1)
  if (key) return { key, database, region }
  throw new Failure(
    `${wanted} has no API key named ${shellWord(name ?? '')}. Nothing was changed. See: npm run api-key -- list${open.choice ?? ''}`,
  )
}

/** The rights of a new key, from exactly one of --access and --permission. */
function rightsOf({ access, permission }: { access?: Access | undefined; permission?: string | undefined }) {
  if ((access === undefined) === (permission === undefined))
    throw new UsageError('Give either --access or --permission.')
  const permissions = permission?.split(',').map((name) => {
    const known = PERMISSIONS.find((one) => one === name)
    if (!known)
      throw new UsageError(`${shellWord(name)} is not a permission. The permissions are: ${PERMISSIONS.join(', ')}.`)
    return known
  })
  return { access: access ?? 'read', permissions: permissions ?? null }
}

function rangesOf(list: string | undefined): string[] | null {
  if (list === undefined) return null
  const { output, issues } = v.safeParse(AllowedIps, list.split(','))
  if (!issues) return output as string[]
  throw new UsageError(`--allow-ip ${sentenceOf(issues[0].message)}`)
}

const UNITS_MS = { d: 86_400_000, h: 3_600_000 } as const
const MAX_LIFETIME_MS = 3650 * UNITS_MS.d

/** Parses a lifetime into milliseconds. Null means that the key never expires. */
function lifetimeOf(text: string | undefined): number | null {
  if (text === undefined) return null
  const [, count, unit] = /^(\d{1,5})([dh])$/.exec(text) ?? []
  const lifetime = Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS]
  if (lifetime > 0 && lifetime <= MAX_LIFETIME_MS) return lifetime
  throw new UsageError('--expires-in must be days or hours, such as 90d or 12h, up to 3650d.')
}

function accessOf({ access, permissions }: Pick<ApiKey, 'access' | 'permissions'>): string {
  if (permissions) return `do ${permissions.join(' and ')}`
  return access === 'write' ? 'read and write' : 'read'
}

function minuteOf(unixMs: number | null): string | undefined {
  return unixMs === null ? undefined : new Date(unixMs).toISOString().replace(/:\d\d\.\d+Z$/, 'Z')
}

function toJson(
  environment: Pick<FoundEnvironment, 'name' | 'region'>,
  { id, name, access, permissions, allowedIps, createdAt, expiresAt, lastUsedAt, revokedAt }: ApiKey,
) {
  const time = (unixMs: number | null) => (unixMs === null ? null : new Date(unixMs).toISOString())
  return {
    id,
    environment: environment.name,
    name,
    access,
    permissions,
    allowed_ips: allowedIps,
    created_at: time(createdAt),
    expires_at: time(expiresAt),
    last_used_at: time(lastUsedAt),
    revoked_at: time(revokedAt),
    ...regionMember(environment),
  }
}
