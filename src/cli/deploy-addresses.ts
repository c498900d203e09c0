import { explained, hasCode, NO_SUCH_WORKER, unlessCode } from './cloudflare-api.ts'
import { type Account, Failure } from './command.ts'
import type { Route } from './configuration.ts'

export interface AddressPlan {
  readonly name: string
  readonly routes: readonly Route[]
  /** The setting `workers_dev`; undefined unless wrangler.toml sets it. */
  readonly workersDev: boolean | undefined
  /** True if the deployment may replace DNS records and domains of other Workers. */
  readonly canTakeDomain: boolean
}

/** The URL that the Worker will have: its first custom domain or route, otherwise workers.dev. */
export function addressOf({ name, routes }: AddressPlan, subdomain: string): string {
  const hosts = routes.map((route) => (typeof route === 'string' ? route : route.pattern).split('/')[0] ?? '')
  const host = hosts.find((host) => /^[\w-]+(\.[\w-]+)+$/.test(host))
  return `https://${host ?? `${name}.${subdomain}.workers.dev`}`
}

/** A custom domain that a deployment would change. */
interface ChangedDomain {
  readonly id?: string
  readonly hostname: string
  readonly service?: string
  readonly modified?: boolean
}

interface Changeset {
  readonly added: readonly ChangedDomain[]
  readonly removed: readonly ChangedDomain[]
  readonly updated: readonly ChangedDomain[]
  readonly conflicting: readonly ChangedDomain[]
}

/**
 * Throws Failure if a custom domain has a DNS record or belongs to another Worker, unless the operator has allowed its
 * replacement. wrangler would replace it without asking, because its output is not a terminal. Before the Worker
 * exists, Cloudflare does not report DNS records: call this function again after the first upload.
 */
export async function checkDomains(account: Account, plan: AddressPlan): Promise<string[]> {
  const { name, canTakeDomain } = plan
  const domains = plan.routes.filter((route) => typeof route !== 'string' && route.custom_domain)
  if (domains.length === 0) return []
  const origins = domains.map((route) => {
    const { pattern, zone_id, zone_name } = route as Exclude<Route, string>
    return { hostname: pattern, zone_id, zone_name }
  })
  const answer = changesOf(account, name, origins)
  const { removed, updated, conflicting } = await explained('check the custom domains', answer)
  const taken = [
    ...conflicting.map(({ hostname }) => `${hostname} has a DNS record`),
    ...(await ownersOf(account, updated, name)).map(({ hostname, service }) => `${hostname} is a domain of ${service}`),
  ]
  if (taken.length > 0 && !canTakeDomain) {
    throw new Failure(
      `${taken.join(', and ')}. The domain was not changed. Choose another domain, or run \`npm run deploy -- --take-domain\` to use this one anyway.`,
    )
  }
  return [
    ...taken.map((words) => `${words}. This deployment gives the domain to Oncekey.`),
    ...removed.map(({ hostname }) => `${hostname} is no longer in wrangler.toml, and is removed from the Worker.`),
  ]
}

async function changesOf(account: Account, name: string, origins: { hostname: string }[]): Promise<Changeset> {
  const path = `/workers/scripts/${name}/domains/changeset?replace_state=true`
  try {
    return await account.call<Changeset>('POST', path, origins)
  } catch (error) {
    if (!hasCode(error, ...NO_SUCH_WORKER)) throw error
    const hosts = origins.map(({ hostname }) => `/workers/domains?hostname=${encodeURIComponent(hostname)}`)
    const found = await Promise.all(hosts.map((path) => account.call<ChangedDomain[]>('GET', path)))
    return {
      added: [],
      removed: [],
      conflicting: [],
      updated: found.flat().map((domain) => ({ ...domain, modified: true })),
    }
  }
}

/** The domains that belong to another Worker. */
async function ownersOf(account: Account, updated: readonly ChangedDomain[], name: string): Promise<ChangedDomain[]> {
  const modified = updated.filter((domain) => domain.modified)
  const owners = await Promise.all(
    modified.map((domain) =>
      domain.service ? domain : account.call<ChangedDomain>('GET', `/workers/domains/records/${domain.id}`),
    ),
  )
  return owners.filter(({ service }) => service !== name)
}

/** True if workers.dev serves the Worker now. */
export async function isAtWorkersDev({ call }: Account, name: string): Promise<boolean> {
  const answer = call<{ subdomain?: { enabled?: boolean } }>('GET', `/workers/workers/${name}`)
  const found = await explained('read the hosts of the Worker', unlessCode(answer, ...NO_SUCH_WORKER))
  return found?.subdomain?.enabled ?? false
}

/**
 * Disables workers.dev after the Worker serves at its own domain, unless wrangler.toml sets `workers_dev`, or the URL
 * on workers.dev is the issuer of tokens.
 */
export async function turnWorkersDevOff(account: Account, plan: AddressPlan, url: string): Promise<string> {
  const { name, routes, workersDev } = plan
  if (routes.length === 0) return 'The Worker has no other domain.'
  if (workersDev !== undefined) return `It stays ${workersDev ? 'on' : 'off'}, as wrangler.toml says.`
  if (url.endsWith('.workers.dev')) {
    return 'It stays on, because its URL is the issuer of tokens. To move the issuer, set ISSUER in wrangler.toml to the URL of the domain.'
  }
  if (!(await isAtWorkersDev(account, name))) return 'It was already off.'
  const body = { enabled: false, previews_enabled: false }
  // Without this header the API ignores `previews_enabled`. The header is from wrangler's source.
  const headers = { 'Cloudflare-Workers-Script-Api-Date': '2025-08-01' }
  await explained('turn workers.dev off', account.call('POST', `/workers/scripts/${name}/subdomain`, body, headers))
  return 'Turned off.'
}
