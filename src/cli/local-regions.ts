import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import type { Region } from '../storage/regions.ts'
import { readLocalConfiguration, regionDatabases } from './configuration.ts'
import { readPrivately, writePrivately } from './private-file.ts'

/** A region, and the name of its database on this machine. */
export interface LocalRegion extends Region {
  readonly localId: string
}

/** The regions that a state folder has had, unless it has had the first one only. */
const RECORD_FILE = '.regions.json'
const Recorded = v.pipe(
  v.string(),
  v.parseJson(),
  v.array(v.object({ digit: v.string(), binding: v.string(), localId: v.string() })),
)
const FIRST: LocalRegion = { digit: '0', binding: 'DB', localId: 'DB' }

/** Regions that `npm run dev -- --regions N` adds have no place in wrangler.toml. */
const ADDED = 'DB_LOCAL_'
export const isAdded = ({ binding }: Region) => binding.startsWith(ADDED)
const ADDED_DIGITS = [...'123456789']
export const MAX_LOCAL_REGIONS = 1 + ADDED_DIGITS.length

export interface LocalRegions {
  /** Those of REGIONS, and those that were added in this folder. The first one is the default. */
  readonly regions: readonly LocalRegion[]
  /** Those that the folder has had, and that REGIONS no longer has. */
  readonly removed: readonly LocalRegion[]
  /** Remembers the regions for later commands. */
  readonly record: () => Promise<void>
}

/** Finds out which regions a state folder has, and adds some until there are `wanted` ones. */
export async function findLocalRegions(directory: string, wanted = 0): Promise<LocalRegions> {
  const configured: LocalRegion[] = regionDatabases(await readLocalConfiguration())
  const file = join(directory, RECORD_FILE)
  const known = v.safeParse(Recorded, await readPrivately(file))
  const recorded: readonly LocalRegion[] = known.success ? known.output : (await isNew(directory)) ? [] : [FIRST]
  const regions = configured.map(({ digit, binding, localId }) => ({ digit, binding, localId }))
  const has = (digit: string) => regions.some((region) => region.digit === digit)
  for (const region of recorded) if (isAdded(region) && !has(region.digit)) regions.push(region)
  for (const digit of ADDED_DIGITS) {
    if (regions.length >= wanted) break
    if (!has(digit)) regions.push({ digit, binding: ADDED + digit, localId: ADDED + digit })
  }
  const removed = recorded.filter(
    ({ digit, localId }) => !regions.some((region) => region.digit === digit && region.localId === localId),
  )
  const text = JSON.stringify(regions)
  const isUsual = !known.success && text === JSON.stringify([FIRST])
  const record = async () => {
    if (!isUsual && text !== JSON.stringify(recorded)) await writePrivately(file, text)
  }
  return { regions, removed, record }
}

/** Whether the folder has no database yet. */
async function isNew(directory: string): Promise<boolean> {
  return (await readdir(join(directory, 'v3')).catch(() => [])).length === 0
}

/** The setting REGIONS of these regions. */
export function regionsSetting(regions: readonly Region[]): string {
  return regions.map(({ digit, binding }) => `${digit}=${binding}`).join(',')
}
