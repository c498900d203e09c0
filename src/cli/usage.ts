import type { Command } from '@commander-js/extra-typings'
import { COUNTED_OPERATIONS, type CountedOperation } from '../contract/usage.ts'
import { CloudflareError, FORBIDDEN, hasCode } from './cloudflare-api.ts'
import { type Account, type Context, Failure, jsonOption, print, table, UsageError } from './command.ts'
import { readConfiguration } from './configuration.ts'
import { withRegions } from './operator-database.ts'
import { environmentNamed } from './regions.ts'

/** Workers Analytics Engine keeps data points for three months. */
const MAX_DAYS = 90
const MAX_APPLICATIONS = 1_000

type Counts = Record<CountedOperation, number>

interface ApplicationUsage extends Counts {
  readonly application_id: string
}

export function addUsageCommand(program: Command, context: Context): void {
  program
    .command('usage')
    .description(
      'Show how many tokens, introspections, created secrets and refused uses each application of an environment had.',
    )
    .requiredOption('--environment <NAME>', 'Environment, by name or ID.')
    .option('--days <N>', `Days to look back: 1 to ${MAX_DAYS}.`, '30')
    .addOption(jsonOption())
    .action(async (options) => {
      const days = daysOf(options.days)
      const { usageDataset, accountId } = await readConfiguration()
      if (usageDataset === undefined) {
        throw new Failure(
          'wrangler.toml has no Analytics Engine dataset with the binding USAGE, so no usage is counted. Enable Workers Analytics Engine in the Cloudflare dashboard, add the dataset as wrangler.toml describes, and run `npm run deploy`.',
        )
      }
      const account = await context.platform.login(accountId ?? context.env.CLOUDFLARE_ACCOUNT_ID)
      const environmentId = await idOf(context, options.environment)
      await showUsage(context, account, { dataset: usageDataset, environmentId, days, isJson: options.json === true })
    })
}

interface Wanted {
  readonly dataset: string
  readonly environmentId: string
  readonly days: number
  readonly isJson: boolean
}

export async function showUsage(
  context: Context,
  account: Account,
  { dataset, environmentId, days, isJson }: Wanted,
): Promise<void> {
  const applications = await readUsage(account, queryFor(dataset, environmentId, days))
  const total = totalOf(applications)
  if (isJson) return print(context, { environment_id: environmentId, days, applications, total })
  if (applications.length === 0) return print(context, `No usage in the last ${days} days.`)
  const cells = (counts: Counts) => COUNTED_OPERATIONS.map((operation) => counts[operation].toLocaleString('en-US'))
  const rows = applications.map(({ application_id, ...counts }) => [application_id, ...cells(counts)])
  const headings = ['APPLICATION', 'TOKENS', 'INTROSPECTIONS', 'CREATED SECRETS', 'REFUSED']
  await print(context, table(headings, [...rows, ['All', ...cells(total)]]))
  if (applications.length === MAX_APPLICATIONS)
    context.progress(`Only the ${MAX_APPLICATIONS} busiest applications are shown.`)
}

function daysOf(text: string): number {
  const days = Number(text)
  if (/^\d+$/.test(text) && days >= 1 && days <= MAX_DAYS) return days
  throw new UsageError(`--days must be a whole number from 1 to ${MAX_DAYS}.`)
}

/**
 * Returns the ID of an environment. An ID is not looked up, because the API token may have no access to the database.
 */
async function idOf(context: Context, environment: string): Promise<string> {
  if (/^env_[0-9A-Z]{26}$/.test(environment)) return environment
  return withRegions(context, { remote: true }, async (open) => (await environmentNamed(open, environment)).id)
}

/** Cloudflare may keep only a sample of the data points. Each kept one stands for `_sample_interval` operations. */
function queryFor(dataset: string, environmentId: string, days: number): string {
  const counts = COUNTED_OPERATIONS.map(
    (operation) => `sumIf(_sample_interval, blob1 = '${operation}') AS ${operation}`,
  )
  return `SELECT blob2 AS application_id, ${counts.join(', ')}, sum(_sample_interval) AS all_operations
    FROM ${dataset} WHERE index1 = '${environmentId}' AND timestamp > now() - INTERVAL '${days}' DAY
    GROUP BY application_id ORDER BY all_operations DESC LIMIT ${MAX_APPLICATIONS} FORMAT JSON`
}

interface Answer {
  readonly data: readonly Readonly<Record<string, string | number>>[]
}

async function readUsage({ call }: Account, sql: string): Promise<ApplicationUsage[]> {
  try {
    const headers = { 'Content-Type': 'text/plain' }
    const { data } = await call<Answer>('POST', '/analytics_engine/sql', sql, headers)
    // Large sums arrive as strings.
    return data.map((row) => ({ application_id: String(row.application_id), ...countsOf((name) => Number(row[name])) }))
  } catch (error) {
    if (hasCode(error, ...FORBIDDEN)) {
      throw new Failure(
        'This login to Cloudflare is not allowed to read the usage. Set CLOUDFLARE_API_TOKEN to an API token with the permission Account Analytics Read. A token with no other permission needs the ID of the environment instead of its name.',
      )
    }
    if (!(error instanceof CloudflareError)) throw error
    throw new Failure(
      `Could not read the usage: ${error.message} The dataset exists once the deployed Worker has counted something.`,
    )
  }
}

function totalOf(applications: readonly ApplicationUsage[]): Counts {
  return countsOf((name) => applications.reduce((sum, application) => sum + application[name], 0))
}

function countsOf(count: (operation: CountedOperation) => number): Counts {
  return Object.fromEntries(COUNTED_OPERATIONS.map((operation) => [operation, count(operation)])) as Counts
}
