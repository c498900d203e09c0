import { join } from 'node:path'
import { CLOSED_MESSAGE } from '../http/settings.ts'
import { explained, findRegionDatabase } from './cloudflare-api.ts'
import { type Account, type Context, Failure, type Platform, UsageError } from './command.ts'
import { type Configuration, type RegionDatabase, readConfiguration, regionDatabases } from './configuration.ts'
import { migrate } from './deploy-databases.ts'
import { withRegions } from './operator-database.ts'
import { putSecrets, requireOneVersion, urlOfDeployed } from './platform.ts'
import { PHASES } from './recovery-state.ts'
import type { RecoveryTarget } from './recovery-steps.ts'
import { regionNamed, shownRegion } from './regions.ts'
import { parseJson, reasonOf, WRANGLER_FOLDER } from './wrangler.ts'

const POLL_MS = 2_000
const SEEN_WITHIN_MS = 120_000

/** How many answers in a row must be as expected. */
const SEEN_TIMES = 3

/**
 * How long to wait after the Worker is closed. A new version takes a while to reach every location, and a request that
 * has begun may take 30 seconds.
 */
const SETTLE_MS = 60_000
const SETTLE_STEP_MS = 10_000

/** The database of a region of the deployed Worker, and the folder for the files of its recovery. */
export async function remoteTarget(
  context: Context,
  region: string | undefined,
): Promise<{ target: RecoveryTarget; folder: string }> {
  const configuration = await readConfiguration()
  const regions = regionDatabases(configuration)
  const found = regions.find(({ digit, binding }) => region === undefined || digit === region || binding === region)
  if (!found) throw new UsageError(`--region must be one of ${regions.map(shownRegion).join(', ')}.`)
  return {
    target: timeTravel(context, configuration, found),
    folder: join(WRANGLER_FOLDER, 'recovery', found.digit),
  }
}

/** Restores a deployed database with D1's Time Travel, which changes the database in place. */
export function timeTravel(
  context: Context,
  { name: worker, issuer, accountId }: Pick<Configuration, 'name' | 'issuer' | 'accountId'>,
  region: RegionDatabase,
): RecoveryTarget {
  const { platform, progress } = context
  const name = region.databaseName
  let loggedIn: Promise<Account> | undefined
  const account = () => (loggedIn ??= platform.login(accountId))
  const uuid = async () => {
    const found = await findRegionDatabase(await account(), region)
    if (found) return found.uuid
    throw new Failure(`The account has no database ${name}. Nothing was changed.`)
  }
  /** Returns the bookmark of the time in `query`, or of the present state. */
  const bookmark = async (query = '') => {
    const path = `/d1/database/${await uuid()}/time_travel/bookmark${query}`
    const answer = (await account()).call<{ bookmark: string }>('GET', path)
    return (await explained(`find a Time Travel bookmark of ${name}`, answer)).bookmark
  }
  const withDatabase: RecoveryTarget['withLive'] = (use) =>
    withRegions(context, { remote: true }, async (open) => use(await regionNamed(open, region.digit).open()))
  const open = async () => {
    const url = await urlOfDeployed(await account(), worker, issuer)
    await putSecrets(await account(), worker, { MAINTENANCE: 'false' })
    await awaitReadiness(platform, url, ({ status }) => status === 200, 'is not ready')
    return `It is ready: ${url}`
  }
  return {
    name,
    findPoint: async (to) => {
      await requireOneVersion(await account(), worker)
      return bookmark(`?${new URLSearchParams({ timestamp: to.toISOString() })}`)
    },
    findUndo: () => bookmark(),
    // D1 restores the last state at or before this time.
    timeOf: async (_, to) => to.getTime(),
    withLive: withDatabase,
    close: async () => {
      await requireOneVersion(await account(), worker)
      const url = await urlOfDeployed(await account(), worker, issuer)
      await putSecrets(await account(), worker, { MAINTENANCE: 'true' })
      await awaitReadiness(platform, url, isClosed, 'is not closed')
      for (let left = SETTLE_MS; left > 0; left -= SETTLE_STEP_MS) {
        progress(`      ${left / 1000} s left, until every location has the new version`)
        await platform.sleep(SETTLE_STEP_MS)
      }
      return `${url} answers 503 to every request that needs a credential.`
    },
    restore: async (point) => {
      const id = await uuid()
      const path = `/d1/database/${id}/time_travel/restore?${new URLSearchParams({ bookmark: point })}`
      await explained(`restore ${name}`, (await account()).call('POST', path))
      const apply = async () => {
        const migrated = await platform.wrangler(['d1', 'migrations', 'apply', name, '--remote'])
        if (migrated.code !== 0) throw new Failure(`Could not bring the tables up to date: ${reasonOf(migrated)}`)
      }
      // `migrate` must not print its bookmark: restoring it would make the revoked secrets active again.
      const words = await migrate(await account(), { ...region, uuid: id }, () => {}, apply)
      return `Restored. ${words}`
    },
    withRestored: withDatabase,
    open,
    cancel: async (phase) => {
      const url = await urlOfDeployed(await account(), worker, issuer)
      const mayBeClosed = phase !== null && PHASES.indexOf(phase) >= PHASES.indexOf('captured')
      if (mayBeClosed || isClosed(await readinessOf(platform, url))) await open()
    },
    undoCommand: (undo) =>
      `npx wrangler d1 time-travel restore ${name} --bookmark=${undo}, then npm run recover -- --cancel --remote`,
  }
}

interface Readiness {
  /** The HTTP status, or 0 if there was no answer. */
  readonly status: number
  readonly message: string | undefined
}

const isClosed = ({ status, message }: Readiness) => status === 503 && message === CLOSED_MESSAGE

async function readinessOf({ fetch }: Platform, url: string): Promise<Readiness> {
  try {
    const response = await fetch(`${url}/readyz`)
    return { status: response.status, message: parseJson<{ message?: string }>(await response.text())?.message }
  } catch (error) {
    return { status: 0, message: (error as Error).message }
  }
}

/** Waits until the deployed Worker answers /readyz as expected, several times in a row. */
async function awaitReadiness(
  platform: Platform,
  url: string,
  isExpected: (readiness: Readiness) => boolean,
  problem: string,
): Promise<void> {
  for (let waited = 0, seen = 0; ; waited += POLL_MS) {
    const readiness = await readinessOf(platform, url)
    seen = isExpected(readiness) ? seen + 1 : 0
    if (seen === SEEN_TIMES) return
    if (waited >= SEEN_WITHIN_MS) {
      const last = [readiness.status || 'no answer', readiness.message].filter(Boolean).join(': ')
      throw new Failure(
        `The Worker at ${url} ${problem} after two minutes (${last}). If its version is older than this command, run \`npm run deploy\` first.`,
      )
    }
    await platform.sleep(POLL_MS)
  }
}
