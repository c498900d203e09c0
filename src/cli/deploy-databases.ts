import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseRegions } from '../storage/regions.ts'
import {
  type AccountDatabase,
  explained,
  findDatabase,
  findRegionDatabase,
  NO_SUCH_DATABASE,
  unlessCode,
} from './cloudflare-api.ts'
import { type Account, type Context, Failure } from './command.ts'
import type { RegionDatabase } from './configuration.ts'
import { chooseLocations, type DatabaseLocation, type LocationOptions, locationOf } from './deploy-locations.ts'
import type { DeployedBinding } from './platform.ts'
import { root } from './wrangler.ts'

/** A region whose database exists on the account. */
export interface ProvidedRegion extends RegionDatabase {
  readonly uuid: string
}

async function query<Row>({ call }: Account, uuid: string, sql: string): Promise<readonly Row[]> {
  const [answer] = await call<{ results: Row[] }[]>('POST', `/d1/database/${uuid}/query`, { sql })
  return answer?.results ?? []
}

export interface DatabasePlan {
  readonly regions: readonly RegionDatabase[]
  readonly locations: LocationOptions
  /** The bindings of the deployed version. */
  readonly bindings: readonly DeployedBinding[]
}

/**
 * Finds the database of each region, and creates missing ones. All checks come before the first creation, so that a
 * failed check changes nothing.
 */
export async function provideDatabases(
  account: Account,
  { regions, locations, bindings }: DatabasePlan,
  context: Pick<Context, 'ask'>,
): Promise<{ provided: ProvidedRegion[]; words: string[] }> {
  const known = new Map<string, AccountDatabase>()
  for (const region of regions) {
    const found = await findRegionDatabase(account, region)
    if (!found) continue
    await requireOurs(account, found)
    requireJurisdiction(found, locationOf(region, regions, locations))
    known.set(region.digit, found)
  }
  await requireRemovedAreEmpty(account, bindings, (digit) => known.get(digit)?.uuid)
  const missing = regions.filter(({ digit }) => !known.has(digit))
  const chosen = await chooseLocations(missing, locations, context)
  const words: string[] = []
  const provided: ProvidedRegion[] = []
  for (const region of regions) {
    const { databaseName, digit } = region
    const place = chosen.get(digit)
    const database = known.get(digit) ?? (await create(account, databaseName, place))
    const verb = place ? 'Created' : 'Found'
    words.push(
      `${verb} ${databaseName}${whereWords(database)}.${remark(database, place ?? locationOf(region, regions, locations))}`,
    )
    provided.push({ ...region, uuid: database.uuid })
  }
  if (missing.length > 0) words.push("The location of a database can't be changed later.")
  return { provided, words }
}

/**
 * Throws Failure if the database belongs to another program, or to a newer version. A database with our first
 * migration, or with no tables, belongs to Oncekey.
 */
async function requireOurs(account: Account, { uuid, name }: AccountDatabase): Promise<void> {
  const answer = query<{ name: string }>(account, uuid, "SELECT name FROM sqlite_schema WHERE type = 'table'")
  const tables = (await explained(`read the database ${name}`, answer))
    .map((row) => row.name)
    .filter((table) => !/^(sqlite_|_cf_|d1_migrations$)/.test(table))
  if (tables.length === 0) return
  const files = await migrationFiles()
  const applied = await explained(`read the migrations of ${name}`, appliedMigrations(account, uuid))
  if (applied.includes(files[0] ?? '')) {
    const unknown = applied.filter((file) => !files.includes(file))
    if (unknown.length === 0) return
    throw new Failure(
      `The database ${name} has the tables of a newer version of Oncekey (${unknown.join(', ')}). Nothing was changed. Deploy that version or a newer one.`,
    )
  }
  const some = tables.slice(0, 5).join(', ')
  throw new Failure(
    `The database ${name} has tables that Oncekey did not create: ${some}${tables.length > 5 ? ', …' : ''}. Nothing was changed. Choose another database_name in wrangler.toml.`,
  )
}

function requireJurisdiction({ name, jurisdiction }: AccountDatabase, place: DatabaseLocation | undefined): void {
  const actual = jurisdiction ?? 'none'
  if (!place?.jurisdiction || place.jurisdiction === actual) return
  throw new Failure(
    `The database ${name} exists already, and its jurisdiction is ${actual}, not ${place.jurisdiction}. A jurisdiction can't be changed. Nothing was changed. Leave --jurisdiction out to use the database as it is, or choose another database_name in wrangler.toml.`,
  )
}

/**
 * Throws Failure if a region with environments was removed from wrangler.toml. Otherwise the credentials of that region
 * would stop working without an explanation.
 */
async function requireRemovedAreEmpty(
  account: Account,
  bindings: readonly DeployedBinding[],
  configured: (digit: string) => string | undefined,
): Promise<void> {
  const variable = bindings.find(({ name }) => name === 'REGIONS')?.text ?? '0=DB'
  for (const { digit, binding } of parseRegions(variable) ?? []) {
    const id = bindings.find(({ name, type }) => name === binding && type === 'd1')?.id
    if (!id || id === configured(digit)) continue
    const answer = query<{ name: string }>(account, id, 'SELECT name FROM environments ORDER BY created_at LIMIT 20')
    const environments = await explained(`read the database of region ${digit}`, unlessCode(answer, NO_SUCH_DATABASE))
    if (!environments || environments.length === 0) continue
    const names = environments.map(({ name }) => name).join(', ')
    throw new Failure(
      `wrangler.toml no longer has the database ${id} as region ${digit} (binding ${binding}), which has environments: ${names}. Their credentials would stop working. Nothing was changed. Put the region back into REGIONS and d1_databases.`,
    )
  }
}

async function create(account: Account, name: string, place: DatabaseLocation = {}): Promise<AccountDatabase> {
  const { location, jurisdiction } = place
  const body = { name, ...(location && { primary_location_hint: location }), ...(jurisdiction && { jurisdiction }) }
  const created = await explained(
    `create the database ${name}`,
    account.call<AccountDatabase>('POST', '/d1/database', body),
  )
  // The response to the creation may lack the location of the database.
  return created.running_in_region ? created : { ...created, ...(await findDatabase(account, name)) }
}

const regionOf = ({ running_in_region, created_in_region }: AccountDatabase) => running_in_region ?? created_in_region

function whereWords(database: AccountDatabase): string {
  const jurisdiction = database.jurisdiction ? `, jurisdiction ${database.jurisdiction}` : ''
  return ` in ${regionOf(database) ?? 'a location that Cloudflare does not name'}${jurisdiction}`
}

/** A warning if D1 chose another location: the requested one is only a hint. */
function remark(database: AccountDatabase, place: DatabaseLocation | undefined): string {
  const wanted = place?.location
  const actual = regionOf(database)
  if (!wanted || !actual || wanted === actual.toLowerCase()) return ''
  return ` Warning: this is not ${wanted}, which you chose.`
}

const MIGRATIONS = join(root, 'src/storage/migrations')

async function migrationFiles(): Promise<string[]> {
  return (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort()
}

async function appliedMigrations(account: Account, uuid: string): Promise<string[]> {
  const sql = 'SELECT name FROM d1_migrations ORDER BY id'
  try {
    return (await query<{ name: string }>(account, uuid, sql)).map(({ name }) => name)
  } catch (error) {
    if (/no such table/.test((error as Error).message)) return []
    throw error
  }
}

/** The migrations that a database has, and those that it lacks. */
export async function migrationsOf(
  account: Account,
  { databaseName, uuid }: Pick<ProvidedRegion, 'databaseName' | 'uuid'>,
): Promise<{ applied: string[]; lacking: string[] }> {
  const applied = await explained(`read the migrations of ${databaseName}`, appliedMigrations(account, uuid))
  return { applied, lacking: (await migrationFiles()).filter((name) => !applied.includes(name)) }
}

/**
 * Applies the missing migrations of a database. First shows the command that restores the state before the migrations.
 */
export async function migrate(
  account: Account,
  { databaseName, uuid }: ProvidedRegion,
  progress: Context['progress'],
  apply: () => Promise<void>,
): Promise<string> {
  const { applied, lacking } = await migrationsOf(account, { databaseName, uuid })
  if (lacking.length === 0) return `${databaseName} was up to date.`
  if (applied.length > 0) {
    const answer = account.call<{ bookmark: string }>('GET', `/d1/database/${uuid}/time_travel/bookmark`)
    const { bookmark } = await explained(`read the Time Travel bookmark of ${databaseName}`, answer)
    progress(`      ${databaseName} before the migration: bookmark ${bookmark}`)
    progress(`      To go back: npx wrangler d1 time-travel restore ${databaseName} --bookmark=${bookmark}`)
    progress('      This also undoes every revocation since.')
  }
  await apply()
  return `${databaseName}: applied ${lacking.join(', ')}.`
}
