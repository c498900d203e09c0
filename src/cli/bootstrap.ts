import { API_KEY_PREFIX, issueCredential, recogniseCredential } from '../credential/credential.ts'
import { type Bytes, sha256 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { createApplication, findApplication } from '../storage/applications.ts'
import type { Database } from '../storage/database.ts'
import { createApiKey, findApiKey } from '../storage/operator/api-keys.ts'
import { createEnvironment, type Environment } from '../storage/operator/environments.ts'
import { Failure } from './command.ts'

/** The API key and the application that an operator needs to create the first client secret. */
export interface Bootstrap {
  readonly apiKey: string
  readonly application: { readonly id: string; readonly clientId: string }
}

/**
 * Creates an environment, an API key and an example application, except those that exist. The key and the application
 * in `kept` are used again if they still work. The function calls `keep` to save the key before it writes the digest
 * of the key to the database: a crash after that write could otherwise lose the key.
 */
export async function bootstrap(
  database: Database,
  environmentName: string,
  kept: Bootstrap | null = null,
  keep: (made: Bootstrap) => Promise<void> = async () => {},
): Promise<Bootstrap> {
  const now = Date.now()
  const { region } = database
  const environment = await createEnvironment(database, {
    id: newId('env', now, region),
    clientId: newId('client', now, region),
    name: environmentName,
    createdAt: now,
  })
  const isKept = kept !== null && (await isUsable(database, environment, kept.apiKey))
  const apiKey = isKept ? kept.apiKey : (await issueCredential(API_KEY_PREFIX, region)).plaintext
  const application =
    isKept && (await hasApplication(database, await sha256(apiKey), kept.application))
      ? kept.application
      : { id: newId('conn_app', now, region), clientId: newId('client', now, region) }
  const made = { apiKey, application }
  await keep(made)
  const digest = await sha256(apiKey)
  await createApiKey(database, {
    id: newId('api_key', now, region),
    environmentId: environment.id,
    name: 'first',
    digest,
    access: 'write',
    createdAt: now,
  })
  if (await hasApplication(database, digest, application)) return made
  const refusal = await createExample(database, digest, application, now)
  if (refusal) throw new Failure(`The example application could not be created: ${refusal}.`)
  return made
}

/**
 * True if the API key is active in this environment, or is not in the database yet. The database lacks the key if an
 * earlier run stopped after `keep`.
 */
async function isUsable(database: Database, environment: Environment, apiKey: string): Promise<boolean> {
  if (recogniseCredential(apiKey)?.prefix !== API_KEY_PREFIX) return false
  const found = await findApiKey(database, { digest: await sha256(apiKey) })
  return found === null || (found.environmentId === environment.id && found.revokedAt === null)
}

async function hasApplication(database: Database, digest: Bytes, wanted: Bootstrap['application']): Promise<boolean> {
  const found = await findApplication(database, { kind: 'api_key', digest }, wanted.id)
  return !found.refused && found.granted.clientId === wanted.clientId
}

/** Returns the reason why the application could not be created, or null. */
async function createExample(
  database: Database,
  digest: Bytes,
  application: Bootstrap['application'],
  now: number,
): Promise<string | null> {
  const caller = { kind: 'api_key' as const, digest }
  const change = {
    caller,
    eventId: newId('event', now, database.region),
    requestId: crypto.randomUUID(),
    now,
    origin: null,
  }
  const example = {
    ...application,
    applicationType: 'm2m' as const,
    name: 'Example',
    description: null,
    scopes: ['example:read'],
    organizationId: 'org_example',
    redirectUris: [],
    usesPkce: false,
    isFirstParty: false,
  }
  const created = await createApplication(database, change, example, 1_000, null)
  return created.refused ?? null
}

/** The JSON result of a command that calls `bootstrap`. */
export function bootstrapToJson(url: string, { apiKey, application }: Bootstrap) {
  return { url, api_key: apiKey, application: { id: application.id, client_id: application.clientId } }
}

/**
 * The result as text, with an example request after the lines in `before`. `key` is the API key of that request: the
 * key itself, or a shell variable.
 */
export function bootstrapToText(url: string, { apiKey, application }: Bootstrap, before: string, key: string): string {
  return `
  Oncekey         ${url}
  API key         ${apiKey}
  Application ID  ${application.id}
  Client ID       ${application.clientId}

${before}
  curl -X POST ${url}/connect/applications/${application.id}/client_secrets -H "Authorization: Bearer ${key}"
`
}
