import * as v from 'valibot'
import { PublishedKeys } from '../contract/oauth.ts'
import type { PublishedKey } from '../credential/signing-key.ts'
import { Failure, type Platform } from './command.ts'
import { openRemoteRegions } from './operator-database.ts'
import type { SigningSecrets } from './signing-secrets.ts'
import { reasonOf, runWrangler } from './wrangler.ts'

export const cloudflare: Platform = {
  wrangler: runWrangler,
  openRegions: openRemoteRegions,
  fetch: (url) => fetch(url, { signal: AbortSignal.timeout(10_000), headers: { 'Cache-Control': 'no-cache' } }),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  now: () => Date.now(),
}

/** The ISSUER of the deployed version; empty when nothing is deployed. A later custom domain does not change it. */
export async function deployedIssuer({ wrangler }: Platform, worker: string): Promise<string> {
  const status = await wrangler(['deployments', 'status', '--name', worker, '--json'])
  if (status.code !== 0) {
    const reason = reasonOf(status)
    if (/does not exist|not found|no deployments|code: 10007/i.test(reason)) return ''
    throw new Failure(`Could not read what is deployed: ${reason}`)
  }
  const versions = parseJson<{ versions?: { version_id: string; percentage: number }[] }>(status.stdout)?.versions ?? []
  const [version] = versions.toSorted((a, b) => b.percentage - a.percentage)
  if (!version) return ''
  const view = await wrangler(['versions', 'view', version.version_id, '--name', worker, '--json'])
  if (view.code !== 0) throw new Failure(`Could not read what is deployed: ${reasonOf(view)}`)
  const bindings = parseJson<VersionView>(view.stdout)?.resources?.bindings ?? []
  return bindings.find(({ name }) => name === 'ISSUER')?.text ?? ''
}

interface VersionView {
  readonly resources?: { readonly bindings?: readonly { readonly name: string; readonly text?: string }[] }
}

/** Where the deployed Worker is reached. `issuer` is what wrangler.toml says. */
export async function urlOfDeployed(platform: Platform, worker: string, issuer: string): Promise<string> {
  const url = issuer || (await deployedIssuer(platform, worker))
  if (!url) throw new Failure('Nothing is deployed yet. `npm run deploy` deploys the Worker and creates a signing key.')
  return url
}

/** Whether the deployed Worker has a signing key. There is none where there is no Worker. */
export async function hasSigningKey({ wrangler }: Pick<Platform, 'wrangler'>, worker: string): Promise<boolean> {
  const finished = await wrangler(['secret', 'list', '--name', worker, '--format', 'json'])
  if (finished.code === 0) return /"SIGNING_KEY"/.test(finished.stdout)
  const reason = reasonOf(finished)
  if (/does not exist|not found|code: 10007/i.test(reason)) return false
  throw new Failure(`Could not read which secrets the Worker has: ${reason}`)
}

/** Sets secrets of the deployed Worker, all at once. They go through a pipe, so that no file keeps them. */
export async function putSecrets(
  { wrangler }: Pick<Platform, 'wrangler'>,
  worker: string,
  secrets: Partial<SigningSecrets>,
): Promise<void> {
  const finished = await wrangler(['secret', 'bulk', '--name', worker], { input: JSON.stringify(secrets) })
  if (finished.code !== 0) throw new Failure(`Could not set the secrets of the Worker: ${reasonOf(finished)}`)
  // wrangler also exits with 0 if it has set none.
  const missing = Object.keys(secrets).filter((name) => !finished.stdout.includes(name))
  if (missing.length > 0) throw new Failure(`wrangler does not say that it has set ${missing.join(' and ')}.`)
}

/** Reads the keys that the deployed Worker publishes, the one that signs first. */
export async function readPublishedKeys({ fetch }: Pick<Platform, 'fetch'>, url: string): Promise<PublishedKey[]> {
  const response = await fetch(`${url}/oauth2/jwks`)
  if (response.status !== 200) {
    throw new Failure(
      `${url}/oauth2/jwks answered ${response.status}. If the Worker has no key: npm run signing-key -- create --remote`,
    )
  }
  const keySet = v.safeParse(PublishedKeys, parseJson(await response.text()))
  if (keySet.success) return keySet.output.keys as PublishedKey[]
  throw new Failure(`${url}/oauth2/jwks did not answer with published keys. Is another program reached there?`)
}

/** wrangler may print other lines around its JSON. */
export function parseJson<T>(text: string): T | undefined {
  try {
    return JSON.parse(text.slice(Math.max(0, text.search(/[[{]/))))
  } catch {
    return undefined
  }
}
