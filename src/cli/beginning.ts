import { API_KEY_PREFIX, DEFAULT_REGION, issueCredential, recogniseCredential } from '../credential/credential.ts'
import { type Bytes, sha256 } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { createApplication, findApplication } from '../storage/applications.ts'
import type { Database } from '../storage/database.ts'
import { createApiKey, findApiKey } from '../storage/operator/api-keys.ts'
import { createEnvironment, type Environment } from '../storage/operator/environments.ts'
import { answer, Failure } from './command.ts'

/** What somebody needs to make a first client secret. */
export interface Beginning {
  readonly apiKey: string
  readonly application: { readonly id: string; readonly clientId: string }
}

/**
 * Makes an environment, a key of it and an example application, or what of them is missing. What was `kept` from an
 * earlier time is used again; `keep` is given it before the database is, so that no key is made which nobody has.
 */
export async function begin(
  database: Database,
  environmentName: string,
  kept: Beginning | null = null,
  keep: (beginning: Beginning) => Promise<void> = async () => {},
): Promise<Beginning> {
  const now = Date.now()
  const environment = await createEnvironment(database, {
    id: newId('env', now),
    clientId: newId('client', now),
    name: environmentName,
    createdAt: now,
  })
  const keptKey = kept && (await isGood(database, environment, kept.apiKey)) ? kept.apiKey : null
  const apiKey = keptKey ?? (await issueCredential(API_KEY_PREFIX, DEFAULT_REGION)).plaintext
  const digest = await sha256(apiKey)
  const keptApplication = kept && keptKey && (await isThere(database, digest, kept)) ? kept.application : null
  const beginning = {
    apiKey,
    application: keptApplication ?? { id: newId('conn_app', now), clientId: newId('client', now) },
  }
  await keep(beginning)
  await createApiKey(database, {
    id: newId('api_key', now),
    environmentId: environment.id,
    name: 'first',
    digest,
    access: 'write',
    createdAt: now,
  })
  if (!keptApplication) await createExample(database, digest, beginning, now)
  return beginning
}

/** Says where Oncekey is and how to make a first client secret; for programs, as one line of JSON. */
export function announce(url: string, { apiKey, application }: Beginning, asJson: boolean): void {
  if (asJson) {
    answer({ url, api_key: apiKey, application: { id: application.id, client_id: application.clientId } })
    return
  }
  answer(`
  Oncekey         ${url}
  API key         ${apiKey}
  Application ID  ${application.id}
  Client ID       ${application.clientId}

Create a client secret:

  curl -X POST ${url}/connect/applications/${application.id}/client_secrets -H "Authorization: Bearer ${apiKey}"
`)
}

/** A key is good that works, and one that is still to be made. */
async function isGood(database: Database, environment: Environment, apiKey: string): Promise<boolean> {
  if (recogniseCredential(apiKey)?.prefix !== API_KEY_PREFIX) return false
  const found = await findApiKey(database, { digest: await sha256(apiKey) })
  return found === null || (found.environmentId === environment.id && found.revokedAt === null)
}

async function isThere(database: Database, digest: Bytes, { application }: Beginning): Promise<boolean> {
  const found = await findApplication(database, { kind: 'api_key', digest }, application.id)
  return 'granted' in found && found.granted.clientId === application.clientId
}

async function createExample(database: Database, digest: Bytes, { application }: Beginning, now: number) {
  const caller = { kind: 'api_key' as const, digest }
  const change = { caller, eventId: newId('event', now), requestId: crypto.randomUUID(), now }
  const created = await createApplication(
    database,
    change,
    {
      ...application,
      applicationType: 'm2m',
      name: 'Example',
      description: null,
      scopes: ['example:read'],
      organizationId: 'org_example',
      redirectUris: [],
      usesPkce: false,
      isFirstParty: false,
    },
    1_000,
    null,
  )
  if ('refused' in created) throw new Failure(`The example application could not be made: ${created.refused}.`)
}
