import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Account, type ApiMethod, Failure } from './command.ts'
import { oneLine, parseJson, reasonOf, root, runWrangler } from './wrangler.ts'

/**
 * Cloudflare's API refused a call, or did not respond. `code` is the error code of its response, such as 10007 for an
 * unknown Worker, or 0 if the response has none.
 */
export class CloudflareError extends Failure {
  readonly code: number

  constructor(message: string, code: number) {
    super(message)
    this.code = code
  }
}

/** Error codes of Cloudflare's API, from wrangler's source. */
export const NO_SUCH_WORKER = [10007, 10090]
/** The account has no workers.dev subdomain. */
const NO_SUBDOMAIN = 10007
export const NO_SUCH_DATABASE = 7404
/** Cloudflare refuses to change secrets or settings while the newest version of the Worker is not the deployed one. */
export const NEWEST_NOT_DEPLOYED = [10215, 10214]

/** The codes for an API token that lacks a permission. */
export const FORBIDDEN = [10000, 9109, 10023]

const PERMISSIONS =
  'An API token needs the permissions Workers Scripts Edit, D1 Edit and Account Settings Read, and for a custom domain Workers Routes Edit on its zone.'

const TIMEOUT_MS = 30_000
const MAX_REASON_LENGTH = 300

interface Credentials {
  readonly type: 'api_token' | 'oauth' | 'api_key'
  readonly token?: string
  readonly key?: string
  readonly email?: string
}

interface Envelope {
  readonly success?: boolean
  readonly result?: unknown
  readonly errors?: readonly { readonly code: number; readonly message: string }[]
}

/**
 * Uses the credentials of wrangler: an API token in the environment variables, or the login that `wrangler login` has
 * stored. `accountId` comes from wrangler.toml or from the environment variables. It may be undefined if the login has
 * access to exactly one account.
 */
export async function login(
  accountId = process.env.CLOUDFLARE_ACCOUNT_ID,
  wrangler = runWrangler,
  folder = root,
): Promise<Account> {
  const call = caller(apiTokenOf(process.env, folder) ?? (await readLogin(wrangler)))
  const accounts = await call<{ id: string; name: string }[]>('GET', '/accounts?per_page=50').catch((error) => {
    if (accountId === undefined) throw error
    return []
  })
  const account = accountId === undefined ? accounts[0] : accounts.find(({ id }) => id === accountId)
  if (accountId === undefined && accounts.length !== 1) throw new Failure(chooseAccount(accounts))
  const id = accountId ?? account?.id ?? ''
  const user = await call<{ email?: string }>('GET', '/user').catch(() => undefined)
  return {
    id,
    description: `Logged in as ${user?.email ?? 'the holder of an API token'}, account ${account?.name ?? id}.`,
    call: (method, path, body, headers) => call(method, `/accounts/${id}${path}`, body, headers),
  }
}

/**
 * Returns the API token of the environment variables, so that wrangler need not start. wrangler prefers a global API key
 * to it, also one in a file of variables: then, or if there is such a file, this returns undefined.
 */
function apiTokenOf(env: NodeJS.ProcessEnv, folder: string): Credentials | undefined {
  const { CLOUDFLARE_API_TOKEN: token, CLOUDFLARE_API_KEY, CF_API_KEY } = env
  const mayHaveKey =
    CLOUDFLARE_API_KEY || CF_API_KEY || ['.env', '.env.local'].some((name) => existsSync(join(folder, name)))
  return token && !mayHaveKey ? { type: 'api_token', token } : undefined
}

async function readLogin(wrangler: typeof runWrangler): Promise<Credentials> {
  const finished = await wrangler(['auth', 'token', '--json'])
  const credentials = parseJson<Credentials>(finished.stdout)
  if (finished.code !== 0 || !credentials) {
    throw new Failure(`Could not read the Cloudflare login: ${reasonOf(finished)}`)
  }
  return credentials
}

function chooseAccount(accounts: readonly { id: string; name: string }[]): string {
  if (accounts.length === 0) return `The Cloudflare login has access to no account. Nothing was changed. ${PERMISSIONS}`
  const names = accounts.map(({ id, name }) => `${name} (${id})`).join(', ')
  return `The Cloudflare login has access to several accounts: ${names}. Nothing was changed. Set account_id in wrangler.toml, or CLOUDFLARE_ACCOUNT_ID.`
}

/** Returns a function that calls Cloudflare's API, at the same base URL as wrangler. */
function caller({ type, token, key = '', email = '' }: Credentials): Account['call'] {
  const base = process.env.CLOUDFLARE_API_BASE_URL ?? 'https://api.cloudflare.com/client/v4'
  const authentication: Record<string, string> =
    type === 'api_key' ? { 'X-Auth-Key': key, 'X-Auth-Email': email } : { Authorization: `Bearer ${token}` }
  return async <T>(method: ApiMethod, path: string, body?: object | string, headers?: Record<string, string>) => {
    let response: Response
    let envelope: Envelope | undefined
    let text = ''
    try {
      response = await fetch(`${base}${path}`, {
        method,
        headers: { ...authentication, 'Content-Type': 'application/json', ...headers },
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(body && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      text = await response.text()
      envelope = parseJson<Envelope>(text)
    } catch (error) {
      const { message, cause } = error as Error
      throw new CloudflareError(`Cloudflare did not respond (${cause instanceof Error ? cause.message : message}).`, 0)
    }
    // The SQL API of Analytics Engine takes text. Its responses have no envelope with `success` and `result`.
    const isQuery = typeof body === 'string'
    if (response.ok && envelope?.success !== false) return (isQuery ? envelope : envelope?.result) as T
    const reason = isQuery && !envelope ? { code: 0, message: oneLine(text).slice(0, MAX_REASON_LENGTH) } : undefined
    throw refusalOf(response.status, envelope?.errors?.[0] ?? reason)
  }
}

/** Makes the error for a call that Cloudflare refused. */
export function refusalOf(status: number, error: { code: number; message: string } | undefined): CloudflareError {
  const { code, message } = error ?? { code: 0, message: `status ${status}` }
  const hint = FORBIDDEN.includes(code) || status === 403 ? ` ${PERMISSIONS}` : ''
  return new CloudflareError(`Cloudflare refused: ${message.replace(/\.+$/, '')} [code: ${code}].${hint}`, code)
}

export function hasCode(error: unknown, ...codes: number[]): boolean {
  return error instanceof CloudflareError && codes.includes(error.code)
}

/** Returns undefined if the call fails with one of the codes. Other errors are thrown. */
export function unlessCode<T>(answer: Promise<T>, ...codes: number[]): Promise<T | undefined> {
  return answer.catch((error) => {
    if (hasCode(error, ...codes)) return undefined
    throw error
  })
}

/** Adds to an error's message what the failed call of Cloudflare's API was to do. */
export async function explained<T>(what: string, answer: Promise<T>): Promise<T> {
  return answer.catch((error: Error) => {
    throw new Failure(`Could not ${what}: ${error.message}`)
  })
}

/** A database, as Cloudflare's API describes it. */
export interface AccountDatabase {
  readonly uuid: string
  readonly name: string
  readonly jurisdiction?: string | null
  readonly created_in_region?: string | null
  readonly running_in_region?: string | null
}

/** Finds a database of the account by its name or ID. */
export function findDatabase({ call }: Account, name: string): Promise<AccountDatabase | undefined> {
  const answer = call<AccountDatabase>('GET', `/d1/database/${encodeURIComponent(name)}`)
  return explained(`look for the database ${name}`, unlessCode(answer, NO_SUCH_DATABASE))
}

/** Finds the database of a region: by its ID if wrangler.toml has one, otherwise by its name. */
export async function findRegionDatabase(
  account: Account,
  { databaseName, databaseId }: { readonly databaseName: string; readonly databaseId?: string },
): Promise<AccountDatabase | undefined> {
  const found = await findDatabase(account, databaseId ?? databaseName)
  if (found || databaseId === undefined) return found
  throw new Failure(
    `The account has no database with the database_id ${databaseId} of wrangler.toml. Nothing was changed. Remove database_id: commands then find ${databaseName} by its name, and \`npm run deploy\` creates it if it is missing.`,
  )
}

/**
 * Returns the account's workers.dev subdomain, or throws Failure. Without a subdomain, a Worker without a custom domain
 * has no URL, and commands cannot reach the deployed database.
 */
export async function requireSubdomain({ id, call }: Account): Promise<string> {
  const answer = call<{ subdomain: string }>('GET', '/workers/subdomain')
  const found = await explained('read the workers.dev subdomain', unlessCode(answer, NO_SUBDOMAIN))
  if (found?.subdomain) return found.subdomain
  throw new Failure(
    `The account has no workers.dev subdomain yet. Nothing was created. Register one at https://dash.cloudflare.com/${id}/workers/onboarding. A Worker with a custom domain needs a subdomain too: commands reach its database through a preview on workers.dev.`,
  )
}
