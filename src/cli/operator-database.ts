import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, Option } from '@commander-js/extra-typings'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { requireCurrentSchema } from '../storage/migrations.ts'
import { type Context, Failure, type OpenDatabase } from './command.ts'
import { readConfiguration } from './configuration.ts'
import { operatorDatabase, STATE_FOLDER, stateFolder } from './local-database.ts'
import { captureConsole, loadWrangler, oneLine, reasonOf, runWrangler } from './wrangler.ts'

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

/** Opens the chosen database, uses it, and closes it. */
export async function withDatabase<T>(
  context: Context,
  { remote, persistTo }: DatabaseChoice,
  use: (database: Database) => Promise<T>,
): Promise<T> {
  context.progress(remote ? 'Connecting to the deployed database…' : 'Opening the local database…')
  const { database, close, explain } = remote
    ? await context.platform.openDatabase()
    : await context.openLocalDatabase(stateFolder(persistTo, context.env))
  try {
    return await use(database)
  } catch (error) {
    throw explain && error instanceof StorageUnavailable ? new Failure(explain(error)) : error
  } finally {
    await close()
  }
}

/** A database of the account, as `wrangler d1 list` describes it. */
export interface AccountDatabase {
  readonly uuid: string
  readonly name: string
  readonly jurisdiction?: string | null
}

/** Finds a deployed database by its name; null when there is none. */
export async function findDatabase(name: string, wrangler = runWrangler): Promise<AccountDatabase | null> {
  const finished = await wrangler(['d1', 'list', '--json'])
  if (finished.code !== 0) throw new Failure(`Could not list the databases of the account: ${reasonOf(finished)}`)
  const databases: AccountDatabase[] = JSON.parse(finished.stdout)
  return databases.find((database) => database.name === name) ?? null
}

/** Opens the deployed database: wrangler reaches it through a Worker of its own on the account. */
export async function openRemoteDatabase(): Promise<OpenDatabase> {
  const { name, accountId, compatibilityDate, databaseName } = await readConfiguration()
  const found = await findDatabase(databaseName)
  if (!found) {
    throw new Failure(
      `The account has no database ${databaseName}. Nothing was changed. \`npm run deploy\` creates it.`,
    )
  }
  const d1 = { binding: 'DB', database_name: databaseName, database_id: found.uuid, remote: true }
  const config = { name, account_id: accountId, compatibility_date: compatibilityDate, d1_databases: [d1] }
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  const output = captureConsole()
  let close = async () => {}
  try {
    const { getPlatformProxy } = await loadWrangler()
    const file = join(folder, 'wrangler.json')
    await writeFile(file, JSON.stringify(config))
    const proxy = await getPlatformProxy<Env>({ configPath: file, persist: false, remoteBindings: true })
    close = proxy.dispose
    const database = operatorDatabase(proxy.env.DB)
    await requireCurrentSchema(database)
    return { database, close: () => close().finally(output.release) }
  } catch (error) {
    await close()
    output.release()
    const fault = error instanceof StorageUnavailable ? error.fault : null
    if (fault === 'not_migrated') {
      throw new Failure(
        'The deployed database is from an older version. Nothing was changed. `npm run deploy` brings it up to date.',
      )
    }
    if (fault === 'newer_schema') {
      throw new Failure(
        'The deployed database is from a newer version. Nothing was changed. Use that version here, too.',
      )
    }
    const reason = oneLine((error as Error).message).replace(/\.+$/, '')
    throw new Failure(`Could not reach the deployed database: ${reason}. Nothing was changed.`)
  } finally {
    await rm(folder, { recursive: true })
  }
}
