import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newSigningKey } from '../credential/signing-key.ts'
import { listApiKeys } from '../storage/operator/api-keys.ts'
import { listEnvironments } from '../storage/operator/environments.ts'
import { type Beginning, begin } from './beginning.ts'
import { Failure } from './command.ts'
import type { OpenDatabase } from './operator-database.ts'
import { findDatabase } from './remote-database.ts'
import { hasSigningKey, type SigningSecrets, withSecretsFile } from './signing-keys.ts'
import type { Step } from './steps.ts'
import { type Finished, NOT_LOGGED_IN, reasonOf } from './wrangler.ts'

/** What a deployment reaches of the outside: everything that answers for the platform. */
export interface Platform {
  readonly wrangler: (args: readonly string[], env?: Record<string, string>) => Promise<Finished>
  readonly openDatabase: () => Promise<OpenDatabase>
  readonly fetch: (url: string) => Promise<Response>
  readonly sleep: (milliseconds: number) => Promise<void>
}

export interface Plan {
  /** Of the Worker, and of its database: wrangler.toml's. */
  readonly name: string
  readonly databaseName: string
  /** Where the Worker is reached, if wrangler.toml says so; else where it was first deployed. */
  readonly issuer: string
  /** What package.json says. */
  readonly version: string
  readonly location: string | undefined
  readonly jurisdiction: string | undefined
  readonly environment: string
  /** Nobody is there to keep a key, and what is printed is kept. */
  readonly isUnattended: boolean
}

export interface Deployed {
  readonly url: string
  /** What was made for a first client secret, if it was this time. */
  readonly beginning: Beginning | null
}

/** All that a deployment does, in order. Each step finds out for itself what an earlier run has done. */
export function deployment(platform: Platform, plan: Plan): { steps: Step[]; deployed: () => Deployed } {
  let url = plan.issuer
  let beginning: Beginning | null = null
  let secrets: Partial<SigningSecrets> = {}
  const place = plan.jurisdiction ?? plan.location
  return {
    steps: [
      { will: 'Check the login to Cloudflare', run: () => checkLogin(platform) },
      {
        will: `Find the database ${plan.databaseName}, or make it${place ? ` in ${place}` : ''}`,
        run: () => provideDatabase(platform, plan),
      },
      { will: 'Bring its tables up to date', run: () => migrate(platform, plan) },
      {
        will: 'Make the key that signs its tokens, unless it has one',
        run: async () => {
          if (await hasSigningKey(platform, plan.name)) return 'It has one.'
          secrets = { SIGNING_KEY: JSON.stringify(await newSigningKey('RS256')) }
          return 'It is made, and goes along with the Worker.'
        },
      },
      {
        will: `Deploy the Worker ${plan.name}`,
        run: async () => {
          url = await deployWorker(platform, plan, secrets)
          return `It is at ${url}`
        },
      },
      { will: 'Ask it whether it is ready', run: () => awaitReady(platform, url, plan.version) },
      {
        will: `Make the environment ${plan.environment} and its first API key, unless it has one`,
        run: async () => {
          const made = await makeBeginning(platform, plan)
          if (typeof made === 'string') return made
          beginning = made
          return 'They are made.'
        },
      },
    ],
    deployed: () => ({ url, beginning }),
  }
}

async function checkLogin({ wrangler }: Platform): Promise<string> {
  const finished = await wrangler(['whoami', '--json'])
  const user = parse<{ loggedIn?: boolean; email?: string; accounts?: { name: string }[] }>(finished.stdout)
  if (user?.loggedIn === false) throw new Failure(NOT_LOGGED_IN)
  if (finished.code !== 0) throw new Failure(`Cloudflare does not tell who you are: ${reasonOf(finished)}`)
  const account = user?.accounts?.length === 1 ? `, in the account ${user.accounts[0]?.name}` : ''
  return `You are ${user?.email ?? 'the holder of an API token'}${account}.`
}

async function provideDatabase({ wrangler }: Platform, plan: Plan): Promise<string> {
  const { databaseName, location, jurisdiction } = plan
  const found = await findDatabase(databaseName, wrangler)
  if (found) {
    const lies = found.jurisdiction ?? 'none'
    if (jurisdiction && jurisdiction !== lies) {
      throw new Failure(
        `The database ${databaseName} is there already, and its jurisdiction is ${lies}, not ${jurisdiction}, which cannot be changed. Leave --jurisdiction out to use it as it is, or choose another database_name in wrangler.toml.`,
      )
    }
    return `It is there: ${found.uuid}.${location ? ' It stays where it is: --location is for a new one.' : ''}`
  }
  const finished = await wrangler([
    ...['d1', 'create', databaseName],
    ...(jurisdiction ? ['--jurisdiction', jurisdiction] : []),
    ...(location ? ['--location', location] : []),
  ])
  if (finished.code !== 0) throw new Failure(`The database could not be made: ${reasonOf(finished)}`)
  return 'It is made.'
}

async function migrate({ wrangler }: Platform, { databaseName }: Plan): Promise<string> {
  const finished = await wrangler(['d1', 'migrations', 'apply', databaseName, '--remote'])
  if (finished.code !== 0) throw new Failure(`The tables could not be brought up to date: ${reasonOf(finished)}`)
  return /No migrations to apply/.test(finished.stdout) ? 'They are.' : 'They are now.'
}

async function deployWorker(platform: Platform, plan: Plan, secrets: Partial<SigningSecrets>): Promise<string> {
  const known = plan.issuer || (await deployedIssuer(platform, plan))
  const upload = (issuer: string) =>
    withSecretsFile(secrets, (file) =>
      uploadWorker(platform, issuer, 'SIGNING_KEY' in secrets ? ['--secrets-file', file] : []),
    )
  const url = await upload(known)
  if (known) return known
  // The first deployment alone tells where it is; the tokens of the Worker name it.
  return upload(url).then(() => url)
}

/** Where the Worker says that it is, as it runs now. A later custom domain does not move it: its tokens name it. */
export async function deployedIssuer({ wrangler }: Platform, { name }: Pick<Plan, 'name'>): Promise<string> {
  const status = await wrangler(['deployments', 'status', '--name', name, '--json'])
  if (status.code !== 0) {
    const reason = reasonOf(status)
    if (/does not exist|not found|no deployments|code: 10007/i.test(reason)) return ''
    throw new Failure(`Cloudflare does not tell what is deployed: ${reason}`)
  }
  const versions = parse<{ versions?: { version_id: string; percentage: number }[] }>(status.stdout)?.versions ?? []
  const [version] = versions.toSorted((a, b) => b.percentage - a.percentage)
  if (!version) return ''
  const view = await wrangler(['versions', 'view', version.version_id, '--name', name, '--json'])
  if (view.code !== 0) throw new Failure(`Cloudflare does not tell what is deployed: ${reasonOf(view)}`)
  const bindings = parse<VersionView>(view.stdout)?.resources?.bindings ?? []
  return bindings.find((binding) => binding.name === 'ISSUER')?.text ?? ''
}

interface VersionView {
  readonly resources?: { readonly bindings?: readonly { readonly name: string; readonly text?: string }[] }
}

async function uploadWorker({ wrangler }: Platform, issuer: string, secrets: string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  const file = join(folder, 'deployed')
  try {
    const args = ['deploy', ...(issuer ? ['--var', `ISSUER:${issuer}`] : []), ...secrets]
    const finished = await wrangler(args, { WRANGLER_OUTPUT_FILE_PATH: file })
    if (finished.code !== 0) throw new Failure(`The Worker could not be deployed: ${reasonOf(finished)}`)
    const records = (await readFile(file, 'utf8')).split('\n').map((line) => parse<WranglerRecord>(line))
    const url = urlOf(records.find((record) => record?.type === 'deploy')?.targets ?? [])
    if (!url) throw new Failure('The Worker is deployed, and nowhere to be reached. Set workers_dev or a route.')
    return url
  } finally {
    await rm(folder, { recursive: true })
  }
}

interface WranglerRecord {
  readonly type: string
  readonly targets?: readonly string[]
}

/** wrangler names where a Worker is reached as hosts, routes and more. The operator's own domain goes before workers.dev. */
function urlOf(targets: readonly string[]): string {
  const hosts = targets.flatMap((target) => /^(?:https?:\/\/)?([\w.-]+\.[a-z]{2,})(?=$|[/ ])/i.exec(target)?.[1] ?? [])
  const host = hosts.find((host) => !host.endsWith('.workers.dev')) ?? hosts[0]
  return host ? `https://${host}` : ''
}

const READY_WITHIN_MS = 120_000
const READY_INTERVAL_MS = 2_000

/** A new address takes a while to be known everywhere, and a new version to run there. */
async function awaitReady({ fetch, sleep }: Platform, url: string, version: string): Promise<string> {
  let last = ''
  for (let waited = 0; waited < READY_WITHIN_MS; waited += READY_INTERVAL_MS) {
    last = await askReady(fetch, url, version)
    if (last === '') return `It is, with version ${version}.`
    await sleep(READY_INTERVAL_MS)
  }
  throw new Failure(`${url}/readyz is not as it should be after two minutes: ${last}.`)
}

/** What is not as it should be; nothing when all is. */
async function askReady(fetch: Platform['fetch'], url: string, version: string): Promise<string> {
  try {
    const response = await fetch(`${url}/readyz`)
    const body = parse<{ version?: string; message?: string }>(await response.text())
    if (response.status !== 200) return `${response.status}${body?.message ? ` (${body.message})` : ''}`
    return body?.version === version ? '' : `version ${body?.version}, not ${version}`
  } catch (error) {
    const { message, cause } = error as Error
    return cause instanceof Error ? cause.message : message
  }
}

async function makeBeginning(platform: Platform, plan: Plan): Promise<Beginning | string> {
  const { database, close } = await platform.openDatabase()
  try {
    const environments = await listEnvironments(database)
    const found = environments.find(({ name }) => name === plan.environment)
    const keys = found ? await listApiKeys(database, found.id) : []
    if (keys.some(({ revokedAt }) => revokedAt === null)) return 'It has one.'
    if (plan.isUnattended) {
      return `Not here, where it would be kept in a log: \`npm run environment -- create --remote --name ${plan.environment}\` and \`npm run api-key -- create --remote\` do it.`
    }
    return await begin(database, plan.environment).catch((error: Error) => {
      throw new Failure(
        `${error.message}. A key may have been made that nobody has seen: if \`npm run api-key -- list --remote\` shows one, revoke it.`,
      )
    })
  } finally {
    await close()
  }
}

/** What wrangler prints as JSON may have other lines around it. */
function parse<T>(text: string): T | undefined {
  try {
    return JSON.parse(text.slice(Math.max(0, text.search(/[[{]/))))
  } catch {
    return undefined
  }
}
