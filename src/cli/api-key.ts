import { API_KEY_PREFIX, DEFAULT_REGION, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import type { Database } from '../storage/database.ts'
import { type ApiKey, createApiKey, findApiKey, listApiKeys, revokeApiKey } from '../storage/operator/api-keys.ts'
import { listEnvironments } from '../storage/operator/environments.ts'
import { answer, checkName, command, Failure, json, main, misuse, progress, table } from './command.ts'
import { environmentName, environmentOf, environmentsOf } from './named-environment.ts'
import { target, withDatabase } from './target.ts'

const create = command({
  name: 'api-key -- create',
  says: 'Makes an API key of an environment, here, and shows it once: the database is given its digest alone.',
  options: {
    environment: { ...environmentName, required: true },
    name: { type: 'string', value: 'NAME', says: 'What it is called in the list and in events.', required: true },
    access: { type: 'string', choices: ['read', 'write'], says: 'What it may do.', required: true },
    ...target,
    json,
  },
  run: async (values) => {
    const name = checkName('--name', values.name)
    const { plaintext, digest } = await issueCredential(API_KEY_PREFIX, DEFAULT_REGION)
    const id = await withDatabase(values, async (database) => {
      const environment = await environmentOf(database, values.environment)
      const now = Date.now()
      const id = newId('api_key', now)
      const { access } = values
      await createApiKey(database, { id, environmentId: environment.id, name, digest, access, createdAt: now })
      return id
    })
    if (values.json) return answer({ id, api_key: plaintext })
    answer(plaintext)
    progress(`This is ${id}, and is not shown again. It may ${mayDo(values)} in ${values.environment}.`)
  },
})

const list = command({
  name: 'api-key -- list',
  says: 'Shows API keys, of one environment or of all, without what nobody has: the keys themselves.',
  options: { environment: environmentName, ...target, json },
  run: async (values) => {
    const keys = await withDatabase(values, async (database) => {
      const environments = await environmentsOf(database, values.environment)
      const lists = await Promise.all(environments.map(({ id }) => listApiKeys(database, id)))
      return environments.flatMap(({ name }, i) => (lists[i] ?? []).map((key) => ({ environment: name, key })))
    })
    if (values.json) return answer(keys.map(({ environment, key }) => toJson(environment, key)))
    if (keys.length === 0) return answer('There is none yet: npm run api-key -- create')
    answer(
      table(
        ['ENVIRONMENT', 'NAME', 'ACCESS', 'ID', 'LAST USED', 'REVOKED'],
        keys.map(({ environment, key }) => [
          environment,
          key.name,
          key.access,
          key.id,
          minute(key.lastUsedAt) ?? 'never',
          minute(key.revokedAt) ?? '-',
        ]),
      ),
    )
  },
})

const revoke = command({
  name: 'api-key -- revoke',
  says: 'Ends an API key, for good: the next request that has it gets 401. Name it by its id, or by environment and name.',
  options: {
    environment: environmentName,
    name: { type: 'string', value: 'NAME', says: 'The key, by its name in that environment.' },
    ...target,
    json,
  },
  operand: 'ID',
  run: async (values, id) => {
    if ((id === undefined) === (values.environment === undefined || values.name === undefined)) {
      misuse('Name the key by its id, or by --environment and --name.')
    }
    const { environment, key, already } = await withDatabase(values, async (database) => {
      const before = await keyOf(database, id, values)
      const key = await revokeApiKey(database, before.id, Date.now())
      const environments = await listEnvironments(database)
      const environment = environments.find(({ id }) => id === before.environmentId)?.name ?? before.environmentId
      return { environment, key: key ?? before, already: before.revokedAt !== null }
    })
    if (values.json) return answer(toJson(environment, key))
    const use = key.lastUsedAt === null ? 'It was never used.' : `It was last used at ${minute(key.lastUsedAt)}.`
    answer(
      `${already ? 'Already revoked' : 'Revoked'}: ${key.name} (${key.id}), which could ${mayDo(key)} in ${environment}. ${use}`,
    )
  },
})

async function keyOf(
  database: Database,
  id: string | undefined,
  { environment, name }: { environment: string | undefined; name: string | undefined },
): Promise<ApiKey> {
  if (id !== undefined) {
    const found = await findApiKey(database, { id })
    if (!found) throw new Failure(`There is no API key ${id}. See: npm run api-key -- list`)
    return found
  }
  const { id: environmentId } = await environmentOf(database, environment ?? '')
  const named = (await listApiKeys(database, environmentId)).filter((key) => key.name === name)
  const alive = named.filter(({ revokedAt }) => revokedAt === null)
  if (alive.length > 1) {
    const ids = alive.map(({ id }) => id).join(', ')
    throw new Failure(`${alive.length} keys of ${environment} are called ${name}: ${ids}. Name the one by its id.`)
  }
  const found = alive[0] ?? named.at(-1)
  if (!found) throw new Failure(`${environment} has no API key ${name}. See: npm run api-key -- list`)
  return found
}

function mayDo({ access }: Pick<ApiKey, 'access'>): string {
  return access === 'write' ? 'read and write' : 'read'
}

function minute(unixMs: number | null): string | undefined {
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

await main([create, list, revoke])
