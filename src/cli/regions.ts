import { regionOfId } from '../credential/id.ts'
import { type Database, StorageUnavailable } from '../storage/database.ts'
import { type Environment, listEnvironments } from '../storage/operator/environments.ts'
import type { Region } from '../storage/regions.ts'
import { Failure, type OpenRegions, type OperatorRegion, shellWord, UsageError } from './command.ts'

/** A region as messages show it, such as `0 (DB)`. `--region` takes the digit or the binding. */
export const shownRegion = ({ digit, binding }: Region) => `${digit} (${binding})`

/** An object's region and its database. */
export interface Place {
  readonly database: Database
  /** Null if there is only one region: results then do not show it. */
  readonly region: Region | null
}
type Shown = Pick<Place, 'region'>

/** The heading of the region column, or none if there is only one region. */
export const regionHeading = (rows: readonly Shown[]) => (rows.some(({ region }) => region) ? ['REGION'] : [])
export const regionCell = ({ region }: Shown) => (region ? [shownRegion(region)] : [])
export const regionMember = ({ region }: Shown) => region && { region: region.digit }

/** The region that `--region` names, by its digit or its binding. Without the option, the default region. */
export function regionNamed({ regions }: OpenRegions, name: string | undefined): OperatorRegion {
  if (name === undefined) return regions[0]
  const found = regions.find(({ digit }) => digit === name) ?? regions.find(({ binding }) => binding === name)
  if (found) return found
  throw new UsageError(`--region must be one of ${regions.map(shownRegion).join(', ')}.`)
}

/** The region and database that an ID belongs to, by its digit. Null if there is no region with that digit. */
export async function databaseOfId(open: OpenRegions, id: string): Promise<Place | null> {
  const region = open.regions.find(({ digit }) => digit === regionOfId(id))
  return region ? { database: await region.open(), region: ifSeveral(open, region) } : null
}

/** The answers of the regions, and a sentence for each region that did not answer. */
export interface Answers<T> {
  readonly answers: readonly T[]
  readonly problems: readonly string[]
}

/**
 * Queries all regions at the same time. If one of several regions fails, the result has a problem for it. If the only
 * region fails, this function throws.
 */
export async function askRegions<T>(
  { regions, explain }: OpenRegions,
  ask: (database: Database, region: OperatorRegion) => Promise<T>,
): Promise<Answers<T>> {
  const askRegion = async (region: OperatorRegion) => ask(await region.open(), region)
  if (regions.length === 1) return { answers: [await askRegion(regions[0])], problems: [] }
  const settled = await Promise.allSettled(regions.map(askRegion))
  const reasonOf = (error: Error) =>
    (explain && error instanceof StorageUnavailable ? explain(error) : error.message).replace(/\.?$/, '.')
  return {
    answers: settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])),
    problems: settled.flatMap((each, i) =>
      each.status === 'rejected' && regions[i] ? [`Region ${shownRegion(regions[i])}: ${reasonOf(each.reason)}`] : [],
    ),
  }
}

/** Throws Failure if a region did not respond. Call this after the answers of the other regions are shown. */
export function requireAllAnswered({ problems }: Answers<unknown>): void {
  if (problems.length > 0) throw new Failure(problems.join('\n'))
}

export type FoundEnvironment = Environment & Place

/** The environments of all regions, oldest first in each. */
export async function findEnvironments(open: OpenRegions): Promise<Answers<FoundEnvironment>> {
  const { answers, problems } = await askRegions(open, async (database, region) =>
    (await listEnvironments(database)).map((environment) => ({
      ...environment,
      database,
      region: ifSeveral(open, region),
    })),
  )
  return { answers: answers.flat(), problems }
}

/** A region as results show it: null when it is the only one. */
export function ifSeveral({ regions }: OpenRegions, region: Region): Region | null {
  return regions.length > 1 ? region : null
}

/** Finds an environment by its exact name, or by its ID. */
export async function environmentNamed(open: OpenRegions, name: string): Promise<FoundEnvironment> {
  const { answers, problems } = await findEnvironments(open)
  const [found, other] = answers.filter((environment) => environment.name === name || environment.id === name)
  if (found && other) {
    const ids = `${found.id} and ${other.id}`
    throw new Failure(`Two environments have the name ${shellWord(name)}: ${ids}. Nothing was changed. Give the ID.`)
  }
  if (found) return found
  if (problems.length > 0) {
    throw new Failure(
      `Environment ${shellWord(name)} was not found in the regions that responded. Nothing was changed. Try again when all regions respond.\n${problems.join('\n')}`,
    )
  }
  const names = answers.map((environment) => shellWord(environment.name)).join(', ')
  const next = names
    ? `The environments are: ${names}.`
    : `Create it: npm run environment -- create --name ${shellWord(name)}${open.choice ?? ''}`
  throw new Failure(`Environment ${shellWord(name)} was not found. Nothing was changed. ${next}`)
}

/** The items of the environment with this name or ID, or of all environments if `name` is undefined. */
export async function listInEnvironments<T>(
  open: OpenRegions,
  name: string | undefined,
  list: (database: Database, environmentId: string) => Promise<T[]>,
): Promise<Answers<readonly [environment: FoundEnvironment, item: T]>> {
  const listOf = async (environment: FoundEnvironment) =>
    (await list(environment.database, environment.id)).map((item) => [environment, item] as const)
  if (name !== undefined) return { answers: await listOf(await environmentNamed(open, name)), problems: [] }
  const { answers, problems } = await askRegions(open, async (database, region) => {
    const found = { database, region: ifSeveral(open, region) }
    const environments = await listEnvironments(database)
    return (await Promise.all(environments.map((environment) => listOf({ ...environment, ...found })))).flat()
  })
  return { answers: answers.flat(), problems }
}

/**
 * Throws Failure if the database of a region has environments of another region. Their IDs and credentials have the
 * digit of the other region, so no request would find them.
 */
export async function requireOwnEnvironments(database: Database, region: Region): Promise<void> {
  const others = (await listEnvironments(database)).filter(({ id }) => regionOfId(id) !== region.digit)
  if (others.length === 0) return
  throw new Failure(
    `REGIONS gives the database ${region.binding} the digit ${region.digit}, but the database has environments of another region: ${namesOf(others)}. Nothing was changed. Correct REGIONS in wrangler.toml.`,
  )
}

/** A region, and the ID of its database, on the account or in a state folder. */
export interface IdentifiedRegion extends Region {
  readonly id: string
}

/**
 * Throws Failure if the configuration no longer has a region with environments. `before` has the earlier regions. A
 * region is removed if `now` lacks it, or gives its digit to another database. `list` returns the environments of a
 * region.
 */
export async function requireKeptRegions<T extends IdentifiedRegion>(
  before: readonly T[],
  now: readonly Pick<IdentifiedRegion, 'digit' | 'id'>[],
  list: (region: T) => Promise<readonly Environment[]>,
): Promise<void> {
  const removed = before.filter(({ digit, id }) => !now.some((region) => region.digit === digit && region.id === id))
  const environments = await Promise.all(removed.map(list))
  const problems = removed.flatMap(({ digit, binding }, i) =>
    environments[i]?.length
      ? [`REGIONS no longer has ${digit}=${binding}, and that region has environments: ${namesOf(environments[i])}.`]
      : [],
  )
  if (problems.length === 0) return
  const next =
    'Their API keys, secrets and IDs would stop working. Nothing was changed. Put the region back into wrangler.toml.'
  throw new Failure(`${problems.join('\n')}\n${next}`)
}

function namesOf(environments: readonly Environment[]): string {
  return environments.map(({ name, id }) => `${name} (${id.slice(0, 40)})`).join(', ')
}
