import { findRegionDatabase } from './cloudflare-api.ts'
import { type Account, type Context, Failure, type Step } from './command.ts'
import { migrationsOf, type ProvidedRegion } from './deploy-databases.ts'
import type { DeployPlan } from './deploy-steps.ts'
import { configurationFor, uploadWorker } from './deploy-worker.ts'
import { deployedBindings, describeVersions, newestVersion, servingVersions } from './platform.ts'

/** The ID of the uploaded version, which serves no requests yet, and the ID of the version that serves. */
export interface Uploaded {
  readonly versionId: string
  readonly servingId: string
}

/**
 * The steps that upload a new version for a gradual deployment. The version that serves and the new one must have the
 * same tables, secrets and issuer: otherwise each would refuse tokens and credentials of the other.
 */
export function gradualSteps(
  { platform }: Pick<Context, 'platform'>,
  plan: DeployPlan,
): { steps: Step[]; uploaded: () => Uploaded } {
  const { name, regions, folder } = plan
  let account: Account
  let issuer = ''
  let servingId = ''
  let versionId = ''
  let databases: ProvidedRegion[] = []
  const steps: Step[] = [
    {
      title: 'Check the login to Cloudflare',
      run: async () => {
        account = await platform.login(plan.accountId)
        return account.description
      },
    },
    {
      title: 'Check that the newest version serves all requests, and that the issuer stays the same',
      run: async () => {
        servingId = await requireNewestServes(account, name)
        const deployed =
          (await deployedBindings(account, name)).find((binding) => binding.name === 'ISSUER')?.text ?? ''
        issuer = plan.issuer || deployed
        if (issuer !== deployed) {
          throw new Failure(
            `The issuer of tokens would change from ${deployed} to ${issuer}, and each version would refuse the tokens of the other. Nothing was uploaded. Run \`npm run deploy\`.`,
          )
        }
        return `Version ${servingId} serves.`
      },
    },
    {
      title: 'Check that the tables are up to date',
      run: async () => {
        databases = await Promise.all(
          regions.map(async (region) => {
            const { databaseName } = region
            const found = await findRegionDatabase(account, region)
            if (!found) throw new Failure(`The account has no database ${databaseName}. Run \`npm run deploy\` first.`)
            const { lacking } = await migrationsOf(account, { databaseName, uuid: found.uuid })
            if (lacking.length === 0) return { ...region, uuid: found.uuid }
            throw new Failure(
              `${databaseName} lacks ${lacking.join(', ')}, and the version that serves may not work with the new tables. Nothing was uploaded. Run \`npm run deploy\`.`,
            )
          }),
        )
        return 'They are up to date.'
      },
    },
    {
      title: `Upload a version of the Worker ${name}, which serves no requests yet`,
      run: async () => {
        const changed = configurationFor(plan.configuration, name, { accountId: account.id, databases, issuer })
        versionId = await uploadWorker(platform, folder, changed, ['versions', 'upload'])
        return `Uploaded version ${versionId}.`
      },
    },
  ]
  return { steps, uploaded: () => ({ versionId, servingId }) }
}

/**
 * Throws Failure unless the newest version serves all requests. An upload inherits the secrets of the newest version.
 * After a rollback, the version that serves has other secrets.
 */
async function requireNewestServes(account: Account, name: string): Promise<string> {
  const serving = await servingVersions(account, name)
  const [version] = serving
  if (!version) throw new Failure('Nothing is deployed yet. Run `npm run deploy` first.')
  if (serving.length === 1 && version.version_id === (await newestVersion(account, name))) return version.version_id
  throw new Failure(
    `The newest version of the Worker does not serve all requests: ${describeVersions(serving)} does. Nothing was uploaded. First run \`npm run deploy\` with the commit that is to serve.`,
  )
}

/** The commands that continue the gradual deployment. */
export function nextCommands(name: string, { versionId, servingId }: Uploaded): string {
  const deploy = (...shares: string[]) => `  npx wrangler versions deploy ${shares.join(' ')} --name ${name} --yes`
  return `Send a share of the requests to the new version, and compare the log entries by \`version\`:
${deploy(`${versionId}@10%`, `${servingId}@90%`)}
Then send all requests to the new version, or to the old one:
${deploy(`${versionId}@100%`)}
${deploy(`${servingId}@100%`)}
Do not rotate the signing key until the new version serves all requests: Cloudflare changes secrets only then.`
}
