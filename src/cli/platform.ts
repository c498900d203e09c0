import * as v from 'valibot'
import { PublishedKeys } from '../contract/oauth.ts'
import type { PublishedKey } from '../credential/signing-key.ts'
import { explained, hasCode, login, NEWEST_NOT_DEPLOYED, NO_SUCH_WORKER, unlessCode } from './cloudflare-api.ts'
import { type Account, Failure, type Platform } from './command.ts'
import { openRemoteRegions } from './operator-database.ts'
import type { SigningSecrets } from './signing-secrets.ts'
import { parseJson, runWrangler } from './wrangler.ts'

export const cloudflare: Platform = {
  wrangler: runWrangler,
  login: (accountId) => login(accountId),
  openRegions: openRemoteRegions,
  fetch: (url) => fetch(url, { signal: AbortSignal.timeout(10_000), headers: { 'Cache-Control': 'no-cache' } }),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  now: () => Date.now(),
}

/** A version of the Worker that serves requests, and its percentage of them. */
export interface ServingVersion {
  readonly version_id: string
  readonly percentage: number
}

/** The versions that serve, those with most requests first. Empty if the Worker does not exist. */
export async function servingVersions({ call }: Account, worker: string): Promise<ServingVersion[]> {
  const path = `/workers/scripts/${worker}/deployments`
  const found = await explained(
    'read what is deployed',
    unlessCode(call<{ deployments: { versions: ServingVersion[] }[] }>('GET', path), ...NO_SUCH_WORKER),
  )
  const versions = found?.deployments[0]?.versions ?? []
  return versions.toSorted((a, b) => b.percentage - a.percentage)
}

/** The ID of the version that was uploaded last. The next upload inherits its secrets. */
export async function newestVersion({ call }: Account, worker: string): Promise<string | undefined> {
  const versions = call<{ items: { id: string }[] }>('GET', `/workers/scripts/${worker}/versions?deployable=true`)
  return (await explained('read the versions of the Worker', versions)).items[0]?.id
}

/** A binding of a deployed version. `text` is the value of a variable, `id` the ID of a database. */
export interface DeployedBinding {
  readonly name: string
  readonly type: string
  readonly text?: string
  readonly id?: string
}

/** The bindings of the version that serves most requests. Empty if nothing is deployed. */
export async function deployedBindings(account: Account, worker: string): Promise<readonly DeployedBinding[]> {
  const [version] = await servingVersions(account, worker)
  if (!version) return []
  const path = `/workers/scripts/${worker}/versions/${version.version_id}`
  const view = account.call<{ resources?: { bindings?: DeployedBinding[] } }>('GET', path)
  return (await explained('read what is deployed', view)).resources?.bindings ?? []
}

/** The URL of the deployed Worker. `issuer` is the setting ISSUER in wrangler.toml. */
export async function urlOfDeployed(account: Account, worker: string, issuer: string): Promise<string> {
  const url = issuer || (await deployedBindings(account, worker)).find(({ name }) => name === 'ISSUER')?.text
  if (!url) throw new Failure('Nothing is deployed yet. `npm run deploy` deploys the Worker and creates a signing key.')
  return url
}

/** True if the deployed Worker has a signing key. False if there is no Worker. */
export async function hasSigningKey({ call }: Account, worker: string): Promise<boolean> {
  const secrets = call<{ name: string }[]>('GET', `/workers/scripts/${worker}/secrets`)
  const found = await explained('read which secrets the Worker has', unlessCode(secrets, ...NO_SUCH_WORKER))
  return found?.some(({ name }) => name === 'SIGNING_KEY') ?? false
}

/** Sets secrets of the deployed Worker in one API request, so that they are in no file and in no list of processes. */
export async function putSecrets(
  account: Account,
  worker: string,
  secrets: Partial<SigningSecrets> | { readonly MAINTENANCE: string },
): Promise<void> {
  const values = Object.entries(secrets).map(([name, text]) => [name, { name, text, type: 'secret_text' }])
  const body = { secrets: Object.fromEntries(values) }
  const headers = { 'Content-Type': 'application/merge-patch+json' }
  try {
    await account.call('PATCH', `/workers/scripts/${worker}/secrets-bulk`, body, headers)
  } catch (error) {
    if (hasCode(error, ...NEWEST_NOT_DEPLOYED)) throw new Failure(await otherVersionServes(account, worker))
    if (hasCode(error, ...NO_SUCH_WORKER)) throw new Failure('Nothing is deployed yet. Run `npm run deploy` first.')
    throw new Failure(`Could not set the secrets of the Worker: ${(error as Error).message}`)
  }
}

/**
 * Explains why no secret was changed. Cloudflare changes secrets only while the newest version serves. After a
 * rollback, an older version serves.
 */
async function otherVersionServes(account: Account, worker: string): Promise<string> {
  const serving = describeVersions(await servingVersions(account, worker))
  return `No secret was changed, because the newest version of the Worker does not serve all requests: ${serving} does. This happens after \`wrangler rollback\`, and during a gradual deployment. Run \`npm run deploy\` with the commit that is to serve, then run this command again.`
}

/** Throws Failure if several versions share the requests, because each version has its own secrets. */
export async function requireOneVersion(account: Account, worker: string): Promise<void> {
  const serving = await servingVersions(account, worker)
  if (serving.length < 2) return
  throw new Failure(
    `Several versions of the Worker serve requests, and each has its own secrets: ${describeVersions(serving)}. Nothing was changed. Complete the gradual deployment with \`npx wrangler versions deploy\`, or run \`npm run deploy\`, then run this command again.`,
  )
}

export function describeVersions(versions: readonly ServingVersion[]): string {
  return versions.map(({ version_id, percentage }) => `${version_id} (${percentage} %)`).join(', ')
}

/** Reads the keys that the deployed Worker publishes. The first one signs. */
export async function readPublishedKeys({ fetch }: Pick<Platform, 'fetch'>, url: string): Promise<PublishedKey[]> {
  const response = await fetch(`${url}/oauth2/jwks`)
  if (response.status !== 200) {
    throw new Failure(
      `${url}/oauth2/jwks answered ${response.status}. If the Worker has no signing key, create one: npm run signing-key -- create --remote`,
    )
  }
  const keySet = v.safeParse(PublishedKeys, parseJson(await response.text()))
  if (keySet.success) return keySet.output.keys as PublishedKey[]
  throw new Failure(`${url}/oauth2/jwks did not answer with published keys. Another program may serve this URL.`)
}
