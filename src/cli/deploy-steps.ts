import { newId } from '../credential/id.ts'
import { newSigningKey } from '../credential/signing-key.ts'
import { listApiKeys } from '../storage/operator/api-keys.ts'
import { createEnvironment } from '../storage/operator/environments.ts'
import { type Bootstrap, bootstrap } from './bootstrap.ts'
import { requireSubdomain } from './cloudflare-api.ts'
import { type Account, type Context, Failure, type Platform, type Step, shellWord } from './command.ts'
import type { RegionDatabase } from './configuration.ts'
import { type AddressPlan, addressOf, checkDomains, isAtWorkersDev, turnWorkersDevOff } from './deploy-addresses.ts'
import { migrate, type ProvidedRegion, provideDatabases } from './deploy-databases.ts'
import type { LocationOptions } from './deploy-locations.ts'
import {
  awaitReady,
  configurationFor,
  type RawConfiguration,
  uploadWorker,
  withConfiguration,
} from './deploy-worker.ts'
import {
  type DeployedBinding,
  deployedBindings,
  describeVersions,
  hasSigningKey,
  putSecrets,
  servingVersions,
} from './platform.ts'
import { findEnvironments, requireAllAnswered } from './regions.ts'
import { reasonOf } from './wrangler.ts'

export interface DeployPlan extends AddressPlan {
  readonly accountId: string | undefined
  /** The first region gets the first environment. */
  readonly regions: readonly RegionDatabase[]
  readonly locations: LocationOptions
  /** The setting ISSUER of wrangler.toml. If it is empty, the issuer is the URL of the first deployment. */
  readonly issuer: string
  readonly configuration: RawConfiguration
  /** The folder of wrangler.toml. */
  readonly folder: string
  readonly environment: string
  /** The reason why an API key must not be printed, or null. */
  readonly unattended: string | null
}

export interface Deployed {
  readonly url: string
  /** The first API key, if this deployment created it. */
  readonly bootstrap: Bootstrap | null
}

type Surroundings = Pick<Context, 'platform' | 'progress' | 'ask'>

/** Joins lines. Indents all but the first one, which `runSteps` indents. */
const lines = (words: readonly string[]) => words.join('\n      ')

/**
 * All steps of a deployment, in order. Each step checks what earlier runs have done, so that the operator can repeat
 * the command.
 */
export function deploySteps(context: Surroundings, plan: DeployPlan): { steps: Step[]; deployed: () => Deployed } {
  const { platform, progress } = context
  const { name, regions } = plan
  let account: Account
  let url = plan.issuer
  let versionId = ''
  let made: Bootstrap | null = null
  let bindings: readonly DeployedBinding[] = []
  let provided: ProvidedRegion[] = []
  let signingKey: string | null = null
  const databases = regions.map(({ databaseName }) => databaseName).join(' and ')
  return {
    steps: [
      {
        title: 'Check the login to Cloudflare',
        run: async () => {
          account = await platform.login(plan.accountId)
          return account.description
        },
      },
      {
        title: 'Check the URL of the Worker, and what is deployed there',
        run: async () => {
          const subdomain = await requireSubdomain(account)
          const domains = await checkDomains(account, plan)
          bindings = await deployedBindings(account, name)
          url = plan.issuer || issuerOf(bindings) || addressOf(plan, subdomain)
          return lines([`The URL is ${url}.`, ...domains, ...(await splitWords(account, name))])
        },
      },
      {
        title: `Find or create ${regions.length === 1 ? 'the database' : 'the databases'} ${databases}`,
        run: async () => {
          const result = await provideDatabases(account, { regions, locations: plan.locations, bindings }, context)
          provided = result.provided
          return lines(result.words)
        },
      },
      {
        title: 'Bring the tables up to date',
        run: async () => {
          const words: string[] = []
          for (const region of provided) {
            const apply = () => applyMigrations(platform, plan, account, provided, region)
            words.push(await migrate(account, region, progress, apply))
          }
          return lines(words)
        },
      },
      {
        title: 'Create a signing key, unless the Worker has one',
        run: async () => {
          if (await hasSigningKey(account, name)) return 'The Worker has one.'
          signingKey = JSON.stringify(await newSigningKey('RS256'))
          return 'Created. The next step sets it.'
        },
      },
      {
        title: `Deploy the Worker ${name}`,
        run: async () => {
          versionId = await deployWorker(platform, plan, { account, url, provided, signingKey })
          return `Deployed version ${versionId}.`
        },
      },
      { title: 'Wait until the Worker is ready', run: () => awaitReady(platform, url, versionId, progress) },
      {
        title: 'Turn off workers.dev, if the Worker has its own domain',
        run: () => turnWorkersDevOff(account, plan, url),
      },
      {
        title: `Create the environment ${plan.environment} and its first API key, unless they exist`,
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

/** The ISSUER of the deployed version. Adding a custom domain later does not change it. */
const issuerOf = (bindings: readonly DeployedBinding[]) => bindings.find(({ name }) => name === 'ISSUER')?.text

/** A notice if several versions serve: this deployment ends a gradual deployment. */
async function splitWords(account: Account, name: string): Promise<string[]> {
  const serving = await servingVersions(account, name)
  if (serving.length < 2) return []
  return [`Several versions serve requests now: ${describeVersions(serving)}. The new version will serve all requests.`]
}

async function applyMigrations(
  { wrangler }: Platform,
  { configuration, name, folder }: DeployPlan,
  { id }: Account,
  databases: readonly ProvidedRegion[],
  { databaseName }: ProvidedRegion,
): Promise<void> {
  const changed = configurationFor(configuration, name, { accountId: id, databases })
  const args = ['d1', 'migrations', 'apply', databaseName, '--remote']
  const finished = await withConfiguration(folder, changed, (config) => wrangler([...args, ...config]))
  if (finished.code === 0) return
  throw new Failure(`Could not bring the tables of ${databaseName} up to date: ${reasonOf(finished)}`)
}

interface Found {
  readonly account: Account
  readonly url: string
  readonly provided: readonly ProvidedRegion[]
  /** A new signing key, if the Worker has none. */
  readonly signingKey: string | null
}

/**
 * A new Worker is first uploaded without a host, and gets its host after its signing key. Until then no client reaches
 * it.
 */
async function deployWorker(
  platform: Platform,
  plan: DeployPlan,
  { account, url, provided, signingKey }: Found,
): Promise<string> {
  const { name, configuration, folder } = plan
  const isNew = (await servingVersions(account, name)).length === 0
  const common = { accountId: account.id, databases: provided, issuer: url }
  // Leave workers.dev as it is until the custom domain serves. A later step disables it.
  const workersDev = plan.workersDev ?? (plan.routes.length === 0 || (await isAtWorkersDev(account, name)))
  const upload = async (isDraft: boolean) => {
    if (!isDraft) await checkDomains(account, plan)
    return uploadWorker(platform, folder, configurationFor(configuration, name, { ...common, workersDev, isDraft }))
  }
  if (isNew) await upload(true)
  // Cloudflare changes secrets only while the newest version serves. After a rollback an older version serves, so
  // upload a version first.
  else if (signingKey) await upload(false)
  if (signingKey) await putSecrets(account, name, { SIGNING_KEY: signingKey })
  return upload(false)
}

async function provideFirstKey(platform: Platform, plan: DeployPlan): Promise<Bootstrap | string> {
  const open = await platform.openRegions()
  try {
    const environments = await findEnvironments(open)
    requireAllAnswered(environments)
    const found = environments.answers.find(({ name }) => name === plan.environment)
    const database = found?.database ?? (await open.regions[0].open())
    const keys = found ? await listApiKeys(database, found.id) : []
    if (keys.some(({ revokedAt }) => revokedAt === null)) return 'They exist.'
    if (plan.unattended) {
      const now = platform.now()
      const ids = { id: newId('env', now, database.region), clientId: newId('client', now, database.region) }
      const wanted = { ...ids, name: plan.environment, createdAt: now }
      if (!found) await createEnvironment(database, wanted)
      const name = shellWord(plan.environment)
      return `The environment exists. No API key was created, because ${plan.unattended}. Create one on your machine: npm run api-key -- create --remote --environment ${name} --name first --access write`
    }
    return await bootstrap(database, plan.environment).catch((error: Error) => {
      throw new Failure(
        `${error.message} An API key may have been created without being shown. If \`npm run api-key -- list --remote\` shows one in this environment, revoke it.`,
      )
    })
  } finally {
    await open.close()
  }
}
