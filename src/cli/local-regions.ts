import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import type { Region } from '../storage/regions.ts'
import { readLocalConfiguration, regionDatabases } from './configuration.ts'
import { databaseWorker, fetchedDatabase } from './fetched-database.ts'
import { readPrivately, writePrivately } from './private-file.ts'
import type { IdentifiedRegion } from './regions.ts'
import { loadMiniflare } from './wrangler.ts'

/**
 * The file that records which regions a state folder had when a command last opened it. The file does not exist as long
 * as the folder has had only the first region.
 */
const RECORD_FILE = '.regions.json'
const Recorded = v.pipe(
  v.string(),
  v.parseJson(),
  v.array(v.object({ digit: v.string(), binding: v.string(), id: v.string() })),
)
const FIRST: IdentifiedRegion = { digit: '0', binding: 'DB', id: 'DB' }

/** The prefix of the bindings of the regions that `npm run dev -- --regions N` adds. wrangler.toml lacks them. */
const ADDED = 'DB_LOCAL_'
export const isAdded = ({ binding }: Region) => binding.startsWith(ADDED)
const ADDED_DIGITS = [...'123456789']
export const MAX_LOCAL_REGIONS = 1 + ADDED_DIGITS.length

export interface LocalRegions {
  /** The regions of REGIONS, and the regions that were added in this folder. The first one is the default. */
  readonly regions: readonly IdentifiedRegion[]
  /** The regions that the folder had when a command last opened it. */
  readonly recorded: readonly IdentifiedRegion[]
  /** Saves the regions for later commands. */
  readonly record: () => Promise<void>
}

/** Finds the regions of a state folder, and adds regions until there are `wanted` of them. */
export async function findLocalRegions(directory: string, wanted = 0, path?: string): Promise<LocalRegions> {
  const configured = regionDatabases(await readLocalConfiguration(path))
  const file = join(directory, RECORD_FILE)
  const known = v.safeParse(Recorded, await readPrivately(file))
  const recorded: readonly IdentifiedRegion[] = known.success ? known.output : (await isNew(directory)) ? [] : [FIRST]
  const regions: IdentifiedRegion[] = configured.map(({ digit, binding, localId: id }) => ({ digit, binding, id }))
  const has = (digit: string) => regions.some((region) => region.digit === digit)
  for (const region of recorded) if (isAdded(region) && !has(region.digit)) regions.push(region)
  for (const digit of ADDED_DIGITS) {
    if (regions.length >= wanted) break
    if (!has(digit)) regions.push({ digit, binding: ADDED + digit, id: ADDED + digit })
  }
  const text = JSON.stringify(regions)
  const isUsual = !known.success && text === JSON.stringify([FIRST])
  const record = async () => {
    if (!isUsual && text !== JSON.stringify(recorded)) await writePrivately(file, text)
  }
  return { regions, recorded, record }
}

/** True if the folder has no database yet. */
async function isNew(directory: string): Promise<boolean> {
  return (await readdir(join(directory, 'v3')).catch(() => [])).length === 0
}

/** The value of REGIONS for these regions. */
export function regionsSetting(regions: readonly Region[]): string {
  return regions.map(({ digit, binding }) => `${digit}=${binding}`).join(',')
}

/**
 * The binding of a database in the runtime. It contains the ID of the database, because a region's binding or digit may
 * have belonged to another database before.
 */
const nameInRuntime = ({ id }: IdentifiedRegion) => `DB_${id.replaceAll(/\W/g, '_')}`

/** The databases of a state folder, in a runtime. */
interface LocalDatabases {
  readonly databaseOf: (region: IdentifiedRegion) => D1Database
  readonly dispose: () => Promise<void>
}

/** Opens exactly these databases in the folder where wrangler keeps them. wrangler.toml may lack one. */
export async function openLocalDatabases(
  persistTo: string,
  regions: readonly IdentifiedRegion[],
): Promise<LocalDatabases> {
  const { convertV4MiniflareOptions, Miniflare } = await loadMiniflare()
  const secret = randomUUID()
  const runtime = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: databaseWorker,
      bindings: { SECRET: secret },
      d1Databases: Object.fromEntries(regions.map((region) => [nameInRuntime(region), region.id])),
      resourcePersistencePath: persistTo,
      cf: false,
    }),
  )
  try {
    await runtime.ready
  } catch (error) {
    await runtime.dispose().catch(() => {})
    throw error
  }
  return {
    databaseOf: (region) =>
      fetchedDatabase((init) =>
        runtime.dispatchFetch(`http://database/${nameInRuntime(region)}`, {
          ...init,
          headers: { Authorization: secret },
        }),
      ),
    dispose: () => runtime.dispose(),
  }
}
