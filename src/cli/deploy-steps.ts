import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newSigningKey } from '../credential/signing-key.ts'
import { listApiKeys } from '../storage/operator/api-keys.ts'
import { type Bootstrap, bootstrap } from './bootstrap.ts'
import { type Context, Failure, type Platform, type Step, shellWord } from './command.ts'
import { findDatabase } from './operator-database.ts'
import { deployedIssuer, hasSigningKey, parseJson, putSecrets } from './platform.ts'
import { findEnvironments, requireAllAnswered } from './regions.ts'
import type { SigningSecrets } from './signing-secrets.ts'
import { NOT_LOGGED_IN, reasonOf } from './wrangler.ts'

export interface DeployPlan {
  /** Of the Worker, in wrangler.toml. */
  readonly name: string
  readonly databaseName: string
  /** Where the Worker is reached, if wrangler.toml says so; otherwise the address of its first deployment. */
  readonly issuer: string
  readonly location: string | undefined
  readonly jurisdiction: string | undefined
  readonly environment: string
  /** Why the operator would not see an API key; null when the operator would. */
  readonly unattended: string | null
}

export interface Deployed {
  readonly url: string
  /** The first API key, if it was created this time. */
  readonly bootstrap: Bootstrap | null
}

/** Everything that a deployment does, in order. Each step finds out by itself what an earlier run has done. */
export function deploySteps(
  { platform, progress }: Pick<Context, 'platform' | 'progress'>,
  plan: DeployPlan,
): { steps: Step[]; deployed: () => Deployed } {
  let url = plan.issuer
  let versionId = ''
  let made: Bootstrap | null = null
  let secrets: Partial<SigningSecrets> = {}
  const place = plan.jurisdiction ?? plan.location
  return {
    steps: [
      { title: 'Check the login to Cloudflare', run: () => checkLogin(platform) },
      {
        title: `Find or create the database ${plan.databaseName}${place ? ` in ${place}` : ''}`,
        run: () => provideDatabase(platform, plan),
      },
      { title: 'Bring its tables up to date', run: () => migrate(platform, plan) },
      {
        title: 'Create a signing key for its tokens, unless it has one',
        run: async () => {
          if (await hasSigningKey(platform, plan.name)) return 'It has one.'
          secrets = { SIGNING_KEY: JSON.stringify(await newSigningKey('RS256')) }
          return 'Created. The next step sets it.'
        },
      },
      {
        title: `Deploy the Worker ${plan.name}`,
        run: async () => {
          ;({ url, versionId } = await deployWorker(platform, plan, secrets))
          return `Deployed at ${url}`
        },
      },
      { title: 'Wait until it is ready', run: () => awaitReady(platform, url, versionId, progress) },
      {
        title: `Create the environment ${plan.environment} and its first API key, unless it has one`,
        run: async () => {
          const result = await provideFirstKey(platform, plan)
          if (typeof result === 'string') return result
          made = result
          return 'Created.'
        },
      },
    ],
    deployed: () => ({ url, bootstrap: made }),
  }
}

async function checkLogin({ wrangler }: Platform): Promise<string> {
  const finished = await wrangler(['whoami', '--json'])
  const user = parseJson<{ loggedIn?: boolean; email?: string; accounts?: { name: string }[] }>(finished.stdout)
  if (user?.loggedIn === false) throw new Failure(NOT_LOGGED_IN)
  if (finished.code !== 0) throw new Failure(`Could not read the Cloudflare login: ${reasonOf(finished)}`)
  const account = user?.accounts?.length === 1 ? `, account ${user.accounts[0]?.name}` : ''
  return `Logged in as ${user?.email ?? 'the holder of an API token'}${account}.`
}

async function provideDatabase({ wrangler }: Platform, plan: DeployPlan): Promise<string> {
  const { databaseName, location, jurisdiction } = plan
  const found = await findDatabase(databaseName, wrangler)
  if (found) {
    const actual = found.jurisdiction ?? 'none'
    if (jurisdiction && jurisdiction !== actual) {
      throw new Failure(
        `The database ${databaseName} exists already, and its jurisdiction is ${actual}, not ${jurisdiction}. A jurisdiction can't be changed. Leave --jurisdiction out to use the database as it is, or choose another database_name in wrangler.toml.`,
      )
    }
    return `Found: ${found.uuid}.${location ? ' It stays where it is, because --location only places a new database.' : ''}`
  }
  const finished = await wrangler([
    ...['d1', 'create', databaseName],
    ...(jurisdiction ? ['--jurisdiction', jurisdiction] : []),
    ...(location ? ['--location', location] : []),
  ])
  if (finished.code !== 0) throw new Failure(`Could not create the database: ${reasonOf(finished)}`)
  return 'Created.'
}

async function migrate({ wrangler }: Platform, { databaseName }: DeployPlan): Promise<string> {
  const finished = await wrangler(['d1', 'migrations', 'apply', databaseName, '--remote'])
  if (finished.code !== 0) throw new Failure(`Could not bring the tables up to date: ${reasonOf(finished)}`)
  return /No migrations to apply/.test(finished.stdout) ? 'They were up to date.' : 'Done.'
}

interface Upload {
  readonly url: string
  /** The ID of the version that was deployed. */
  readonly versionId: string
}

async function deployWorker(platform: Platform, plan: DeployPlan, secrets: Partial<SigningSecrets>): Promise<Upload> {
  const known = plan.issuer || (await deployedIssuer(platform, plan.name))
  const first = await uploadWorker(platform, known)
  const url = known || first.url
  const hasNewKey = 'SIGNING_KEY' in secrets
  if (hasNewKey) await putSecrets(platform, plan.name, secrets)
  // Setting secrets makes a version of its own. The issuer of tokens is the address, which is known after the first deployment.
  const { versionId } = hasNewKey || !known ? await uploadWorker(platform, url) : first
  return { url, versionId }
}

async function uploadWorker({ wrangler }: Platform, issuer: string): Promise<Upload> {
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  const file = join(folder, 'deployed')
  try {
    const args = ['deploy', ...(issuer ? ['--var', `ISSUER:${issuer}`] : [])]
    const finished = await wrangler(args, { env: { WRANGLER_OUTPUT_FILE_PATH: file } })
    if (finished.code !== 0) throw new Failure(`Could not deploy the Worker: ${reasonOf(finished)}`)
    const records = (await readFile(file, 'utf8')).split('\n').map((line) => parseJson<WranglerRecord>(line))
    const record = records.find((record) => record?.type === 'deploy')
    const url = urlOf(record?.targets ?? [])
    if (!url) throw new Failure('The Worker was deployed without a route. Set workers_dev or routes in wrangler.toml.')
    return { url, versionId: record?.version_id ?? '' }
  } finally {
    await rm(folder, { recursive: true })
  }
}

interface WranglerRecord {
  readonly type: string
  readonly version_id?: string | null
  readonly targets?: readonly string[]
}

/** wrangler lists hosts, routes and schedules. The operator's own domain is preferred to workers.dev. */
function urlOf(targets: readonly string[]): string {
  const hosts = targets.flatMap((target) => /^(?:https?:\/\/)?([\w.-]+\.[a-z]{2,})(?=$|[/ ])/i.exec(target)?.[1] ?? [])
  const host = hosts.find((host) => !host.endsWith('.workers.dev')) ?? hosts[0]
  return host ? `https://${host}` : ''
}

const READY_WITHIN_MS = 120_000
const READY_INTERVAL_MS = 2_000
const READY_PROGRESS_MS = 20_000

/** A new address or version takes a while to reach every location. */
async function awaitReady(
  platform: Platform,
  url: string,
  versionId: string,
  progress: (line: string) => void,
): Promise<string> {
  let problem = ''
  for (let waited = 0; waited < READY_WITHIN_MS; waited += READY_INTERVAL_MS) {
    problem = await readinessProblem(platform.fetch, url, versionId)
    if (problem === '') return `Ready, with version ${versionId}.`
    if (waited > 0 && waited % READY_PROGRESS_MS === 0)
      progress(`      Not ready after ${waited / 1000} s: ${problem}.`)
    await platform.sleep(READY_INTERVAL_MS)
  }
  throw new Failure(`The Worker was deployed, and ${url}/readyz is not ready after two minutes: ${problem}.`)
}

/** Empty when the Worker is ready. */
async function readinessProblem(fetch: Platform['fetch'], url: string, versionId: string): Promise<string> {
  try {
    const response = await fetch(`${url}/readyz`)
    const body = parseJson<{ version_id?: string; message?: string }>(await response.text())
    if (response.status !== 200) return `${response.status}${body?.message ? ` (${body.message})` : ''}`
    return body?.version_id === versionId ? '' : `version ${body?.version_id} answers, not ${versionId}`
  } catch (error) {
    const { message, cause } = error as Error
    return cause instanceof Error ? cause.message : message
  }
}

async function provideFirstKey(platform: Platform, plan: DeployPlan): Promise<Bootstrap | string> {
  const open = await platform.openRegions()
  try {
    const environments = await findEnvironments(open)
    requireAllAnswered(environments)
    const found = environments.answers.find(({ name }) => name === plan.environment)
    const database = found?.database ?? (await open.regions[0].open())
    const keys = found ? await listApiKeys(database, found.id) : []
    if (keys.some(({ revokedAt }) => revokedAt === null)) return 'It has one.'
    if (plan.unattended) {
      const name = shellWord(plan.environment)
      return `Not created, because ${plan.unattended}. On your machine: npm run environment -- create --remote --name ${name}, then npm run api-key -- create --remote --environment ${name} --name NAME --access write`
    }
    return await bootstrap(database, plan.environment).catch((error: Error) => {
      throw new Failure(
        `${error.message} An API key may have been created without being shown. If \`npm run api-key -- list --remote\` shows one, revoke it.`,
      )
    })
  } finally {
    await open.close()
  }
}
