import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { checkSettings } from '../http/settings.ts'
import { parseRegions, type Region } from '../storage/regions.ts'
import { Failure } from './command.ts'
import { configPath, loadWrangler, oneLine } from './wrangler.ts'

/** The part of wrangler.toml that commands read. */
export interface Configuration {
  readonly name: string
  readonly databaseName: string
  /** The D1 databases that have a name. */
  readonly databases: readonly ConfiguredDatabase[]
  readonly accountId: string | undefined
  readonly compatibilityDate: string | undefined
  /** Empty unless the operator has set it. */
  readonly issuer: string
  readonly vars: Readonly<Record<string, unknown>>
  readonly routes: readonly Route[]
  /** Undefined unless the operator has set it. */
  readonly workersDev: boolean | undefined
  /** The Workers Analytics Engine dataset in which the Worker counts usage. */
  readonly usageDataset: string | undefined
}

interface ConfiguredDatabase {
  readonly binding: string
  readonly name: string
  /** The ID under which wrangler stores the local database. */
  readonly localId: string
  /** The ID of the database on the account, if wrangler.toml has one. Cloudflare's deploy button writes it there. */
  readonly databaseId?: string
}

/** A route or custom domain of the Worker: a pattern, or an object with one. */
export type Route =
  | string
  | {
      readonly pattern: string
      readonly custom_domain?: boolean
      readonly zone_id?: string
      readonly zone_name?: string
    }

/** The members of the configuration that commands read. wrangler does not export its own type. */
interface WranglerConfig {
  readonly name?: string
  readonly account_id?: string
  readonly compatibility_date?: string
  readonly d1_databases: readonly {
    readonly binding: string
    readonly database_name?: string
    readonly database_id?: string
    readonly preview_database_id?: string
  }[]
  readonly vars: Readonly<Record<string, unknown>>
  readonly route?: Route
  readonly routes?: readonly Route[]
  readonly workers_dev?: boolean
  readonly analytics_engine_datasets?: readonly { readonly binding: string; readonly dataset?: string }[]
}

/** Reads wrangler.toml, with wrangler's defaults. */
export async function readConfiguration(path = configPath): Promise<Configuration> {
  const { unstable_readConfig } = await loadWrangler()
  const config: WranglerConfig = parsed(() => unstable_readConfig({ config: path }))
  const database = config.d1_databases.find(({ binding }) => binding === 'DB')
  if (!database?.database_name) {
    throw new Failure('wrangler.toml has no D1 database with the binding DB and a database_name. Nothing was changed.')
  }
  return {
    name: config.name ?? 'oncekey',
    databaseName: database.database_name,
    databases: config.d1_databases.flatMap((database) => {
      const { binding, database_name: name, database_id: id, preview_database_id: previewId } = database
      const localId = previewId ?? id ?? binding
      return name ? [{ binding, name, localId, ...(id && { databaseId: id }) }] : []
    }),
    accountId: config.account_id,
    compatibilityDate: config.compatibility_date,
    issuer: String(config.vars.ISSUER ?? ''),
    vars: config.vars,
    routes: config.routes ?? (config.route === undefined ? [] : [config.route]),
    workersDev: config.workers_dev,
    usageDataset: datasetOf(config),
  }
}

/** Reads wrangler.toml without wrangler's defaults. */
export async function readRawConfiguration(path = configPath): Promise<Readonly<Record<string, unknown>>> {
  const { experimental_readRawConfig } = await loadWrangler()
  return parsed(() => experimental_readRawConfig({ config: path })).rawConfig as Record<string, unknown>
}

/** If a dataset has no name, wrangler names it after its binding. */
function datasetOf({ analytics_engine_datasets: datasets = [] }: WranglerConfig): string | undefined {
  const found = datasets.find(({ binding }) => binding === 'USAGE')
  const name = found && (found.dataset ?? found.binding)
  if (name === undefined || /^\w+$/.test(name)) return name
  throw new Failure(`The dataset name ${name} in wrangler.toml must have letters, digits and underscores only.`)
}

/** A region, and the names of its database on the account and on this machine. */
export interface RegionDatabase extends Region {
  readonly databaseName: string
  readonly localId: string
  readonly databaseId?: string
}

/** The regions of REGIONS, with the default one first. Throws Failure if the setting is invalid. */
export function regionDatabases({ vars, databases }: Pick<Configuration, 'vars' | 'databases'>): RegionDatabase[] {
  const problem = problemsOf({ vars, databases }).find((problem) => problem.startsWith('REGIONS '))
  if (problem) throw new Failure(`${problem} Nothing was changed.`)
  return (parseRegions(String(vars.REGIONS)) ?? []).map((region) => {
    const found = databases.find(({ binding }) => binding === region.binding)
    const { name = '', localId = '', databaseId } = found ?? {}
    return { ...region, databaseName: name, localId, ...(databaseId && { databaseId }) }
  })
}

interface Checked {
  readonly vars: Configuration['vars']
  readonly databases: readonly Pick<ConfiguredDatabase, 'binding'>[]
}

function problemsOf({ vars, databases }: Checked, file?: string): string[] {
  return checkSettings(vars, file, (name) => databases.some(({ binding }) => binding === name))
}

/** Throws Failure for settings that the Worker would refuse, so that they are never deployed. */
export function requireValidSettings(configuration: Pick<Configuration, 'vars' | 'databases'>): void {
  const problems = problemsOf(configuration)
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\nNothing was deployed.`)
}

/**
 * Checks the settings of the Worker that `dev` would start, and returns one sentence for each problem. `dev` itself
 * sets those in `own`. The others come from .dev.vars, or else from wrangler.toml. `added` has the regions that are not
 * in wrangler.toml.
 */
export async function checkDevSettings(
  own: Readonly<Record<string, unknown>>,
  added: readonly Region[] = [],
  path = configPath,
): Promise<string[]> {
  const { vars, databases, local } = await readLocalConfiguration(path)
  const file = existsSync(join(dirname(path), '.dev.vars')) ? '.dev.vars' : '.env'
  const isLocal = (problem: string) => local.some((name) => problem.startsWith(`${name} `) && !Object.hasOwn(own, name))
  const variables = { vars: { ...vars, ...own }, databases: [...databases, ...added] }
  return [
    ...problemsOf(variables).filter((problem) => !isLocal(problem)),
    ...problemsOf(variables, file).filter(isLocal),
  ]
}

/**
 * The configuration of local commands, in which variables of .dev.vars replace those of wrangler.toml. `local` has the
 * names of the variables in .dev.vars.
 */
export async function readLocalConfiguration(path = configPath): Promise<Configuration & { local: readonly string[] }> {
  const configuration = await readConfiguration(path)
  const { unstable_getVarsForDev } = await loadWrangler()
  const local = Object.entries(unstable_getVarsForDev(path, undefined, {}, undefined, true))
  const vars = { ...configuration.vars, ...Object.fromEntries(local.map(([name, { value }]) => [name, value])) }
  return { ...configuration, vars, local: local.map(([name]) => name) }
}

function parsed<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    const { message, location } = error as Error & { location?: { line?: number } }
    const line = location?.line === undefined ? '' : `, line ${location.line}`
    throw new Failure(`wrangler.toml${line} is invalid: ${oneLine(message).replace(/\.$/, '')}.`)
  }
}
