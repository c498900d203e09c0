import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, Option } from '@commander-js/extra-typings'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { requireCurrentSchema } from '../storage/migrations.ts'
import type { Region } from '../storage/regions.ts'
import { findRegionDatabase, login, requireSubdomain } from './cloudflare-api.ts'
import { type Context, Failure, type OpenRegions, type OperatorRegion, shellWord } from './command.ts'
import { type Configuration, type RegionDatabase, readConfiguration, regionDatabases } from './configuration.ts'
import { operatorDatabase, STATE_FOLDER, stateFolder } from './local-database.ts'
import { requireOwnEnvironments } from './regions.ts'
import { captureConsole, loadWrangler, oneLine } from './wrangler.ts'

export const persistToOption = () =>
  new Option('--persist-to <DIR>', `Folder of the local database. Default: ${STATE_FOLDER} in the project.`)

/** Adds the options that choose a database. */
export function databaseOptions(command: Command) {
  return command
    .addOption(new Option('--remote', 'Use the deployed database instead of the local one.').conflicts('persistTo'))
    .addOption(persistToOption())
}

/** The options that choose a database. */
export interface DatabaseChoice {
  readonly remote?: true | undefined
  readonly persistTo?: string | undefined
}

/** The options as words of a command line, after a space. */
export function choiceWords({ remote, persistTo }: DatabaseChoice): string {
  return remote ? ' --remote' : persistTo === undefined ? '' : ` --persist-to ${shellWord(persistTo)}`
}

/** Opens the databases that the options choose, runs `use`, and closes them. */
export async function withRegions<T>(
  context: Context,
  { remote, persistTo }: DatabaseChoice,
  use: (open: OpenRegions) => Promise<T>,
  wanted?: number,
): Promise<T> {
  context.progress(remote ? 'Connecting to the deployed database…' : 'Opening the local database…')
  const open = remote
    ? await context.platform.openRegions()
    : await context.openLocalRegions(stateFolder(persistTo, context.env), wanted)
  try {
    return await use({ ...open, choice: choiceWords({ remote, persistTo }) })
  } catch (error) {
    throw open.explain && error instanceof StorageUnavailable ? new Failure(open.explain(error)) : error
  } finally {
    await open.close()
  }
}

/** Opens the deployed databases. wrangler accesses them through a preview Worker that it creates on the account. */
export async function openRemoteRegions(): Promise<OpenRegions> {
  const configuration = await readConfiguration()
  const regions = regionDatabases(configuration)
  const account = await login(configuration.accountId)
  // Without a workers.dev subdomain, wrangler would register a random one permanently.
  await requireSubdomain(account)
  const ids = await Promise.all(regions.map((region) => findRegionDatabase(account, region)))
  const found = regions.flatMap((region, i) => (ids[i] ? [{ ...region, id: ids[i].uuid }] : []))
  if (regions[0] && found.length === 0) throw missing(regions[0])
  const { env, close } = await openProxy(configuration, account.id, found)
  return { regions: deployedRegions(regions, env) as [OperatorRegion, ...OperatorRegion[]], close }
}

/** Opens each region when a command first uses it, so that a failed region does not stop a command for the others. */
export function deployedRegions(regions: readonly RegionDatabase[], env: Proxy['env']): OperatorRegion[] {
  return regions.map((region) => {
    const binding = env[region.binding]
    const opening = async () => {
      if (!binding) throw missing(region)
      const database = operatorDatabase(binding, region)
      await requireUsable(database, region)
      return database
    }
    let opened: Promise<Database> | undefined
    const open = () => {
      opened ??= opening()
      return opened
    }
    return { ...region, open }
  })
}

function missing({ databaseName }: RegionDatabase): Failure {
  return new Failure(`The account has no database ${databaseName}. Nothing was changed. \`npm run deploy\` creates it.`)
}

interface Proxy {
  readonly env: Readonly<Record<string, D1Database>>
  readonly close: () => Promise<void>
}

async function openProxy(
  { name, compatibilityDate }: Configuration,
  accountId: string,
  regions: readonly (RegionDatabase & { readonly id: string })[],
): Promise<Proxy> {
  const databases = regions.map(({ binding, databaseName, id }) => ({
    ...{ binding, database_name: databaseName, database_id: id },
    remote: true,
  }))
  const config = { name, account_id: accountId, compatibility_date: compatibilityDate, d1_databases: databases }
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  const output = captureConsole()
  try {
    const { getPlatformProxy } = await loadWrangler()
    const file = join(folder, 'wrangler.json')
    await writeFile(file, JSON.stringify(config))
    const { env, dispose } = await getPlatformProxy<Record<string, D1Database>>({
      ...{ configPath: file, persist: false, remoteBindings: true },
    })
    return { env, close: () => dispose().finally(output.release) }
  } catch (error) {
    output.release()
    throw unreachable(error as Error)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Throws Failure if a deployed database has another schema version, or environments of another region. */
async function requireUsable(database: Database, region: Region): Promise<void> {
  try {
    await requireCurrentSchema(database)
  } catch (error) {
    const fault = error instanceof StorageUnavailable ? error.fault : null
    if (fault === 'not_migrated') {
      throw new Failure(
        'The deployed database is from an older version of Oncekey. Nothing was changed. `npm run deploy` brings it up to date.',
      )
    }
    if (fault === 'newer_schema') {
      throw new Failure(
        'The deployed database is from a newer version of Oncekey. Nothing was changed. Use that version here, too.',
      )
    }
    throw unreachable(error as Error)
  }
  await requireOwnEnvironments(database, region)
}

function unreachable({ message }: Error): Failure {
  const reason = oneLine(message).replace(/\.+$/, '')
  return new Failure(`Could not reach the deployed database: ${reason}. Nothing was changed.`)
}
