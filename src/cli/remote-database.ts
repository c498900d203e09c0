import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StorageUnavailable } from '../storage/database.ts'
import { requireCurrentSchema } from '../storage/migrations.ts'
import { Failure } from './command.ts'
import { type OpenDatabase, operatorDatabase } from './operator-database.ts'
import { configPath, hush, loadWrangler, reasonOf, runWrangler } from './wrangler.ts'

/** A database of the account, as `wrangler d1 list` tells of it. */
export interface AccountDatabase {
  readonly uuid: string
  readonly name: string
  readonly jurisdiction?: string | null
}

/** What is read of wrangler.toml, with wrangler's defaults. */
interface WranglerConfig {
  readonly name?: string
  readonly account_id?: string
  readonly compatibility_date?: string
  readonly d1_databases: readonly { readonly binding: string; readonly database_name?: string }[]
  readonly vars: Readonly<Record<string, unknown>>
}

/** What wrangler.toml says of the deployed Worker. */
export async function readConfig() {
  const { unstable_readConfig } = await loadWrangler()
  const config: WranglerConfig = unstable_readConfig({ config: configPath })
  const database = config.d1_databases.find(({ binding }) => binding === 'DB')
  if (!database?.database_name) throw new Failure('wrangler.toml has no D1 database with the binding DB and a name.')
  return {
    ...config,
    name: config.name ?? 'oncekey',
    databaseName: database.database_name,
    issuer: String(config.vars.ISSUER ?? ''),
  }
}

/** Finds the deployed database by its name; null where there is none. */
export async function findDatabase(name: string, wrangler = runWrangler): Promise<AccountDatabase | null> {
  const finished = await wrangler(['d1', 'list', '--json'])
  if (finished.code !== 0) throw new Failure(`The databases of the account cannot be listed: ${reasonOf(finished)}`)
  const databases: AccountDatabase[] = JSON.parse(finished.stdout)
  return databases.find((database) => database.name === name) ?? null
}

/** Opens the deployed database: wrangler's proxy reaches it through a Worker of its own on the account. */
export async function openRemoteDatabase(): Promise<OpenDatabase> {
  const { name, account_id, compatibility_date, databaseName } = await readConfig()
  const found = await findDatabase(databaseName)
  if (!found) throw new Failure(`There is no database ${databaseName} in the account yet: \`npm run deploy\` makes it.`)
  const d1 = { binding: 'DB', database_name: databaseName, database_id: found.uuid, remote: true }
  const folder = await mkdtemp(join(tmpdir(), 'oncekey-'))
  const runtime = hush()
  let close = async () => {}
  try {
    const { getPlatformProxy } = await loadWrangler()
    const file = join(folder, 'wrangler.json')
    await writeFile(file, JSON.stringify({ name, account_id, compatibility_date, d1_databases: [d1] }))
    const proxy = await getPlatformProxy<Env>({ configPath: file, persist: false, remoteBindings: true })
    close = proxy.dispose
    const database = operatorDatabase(proxy.env.DB)
    await requireCurrentSchema(database)
    return { database, close: () => close().finally(runtime.speakAgain) }
  } catch (error) {
    await close()
    runtime.speakAgain()
    if (error instanceof StorageUnavailable && error.fault === 'not_migrated') {
      throw new Failure('The deployed database is of another version: `npm run deploy` brings it up to date.')
    }
    const reason = (error as Error).message.replace(/\s+/g, ' ').replace(/\.*$/, '')
    throw new Failure(`The deployed database cannot be reached: ${reason}.`)
  } finally {
    await rm(folder, { recursive: true })
  }
}
