import { type Context, Failure, UsageError } from './command.ts'
import type { RegionDatabase } from './configuration.ts'

/** All location hints of D1. */
const LOCATIONS = new Map([
  ['weur', 'Western Europe'],
  ['eeur', 'Eastern Europe'],
  ['apac', 'Asia-Pacific'],
  ['oc', 'Oceania'],
  ['wnam', 'Western North America'],
  ['enam', 'Eastern North America'],
])

/** Jurisdictions of D1: where a database is stored and runs. */
const JURISDICTIONS = new Map([
  ['eu', 'European Union'],
  ['us', 'United States'],
  ['fedramp', 'FedRAMP-compliant data centers'],
])

/** Where D1 creates a database. Without a location or a jurisdiction, this is near the machine that requests it. */
export interface DatabaseLocation {
  readonly location?: string
  readonly jurisdiction?: string
}

export interface LocationOptions {
  /** The locations, by region digit. With only one region, the digit may be ''. */
  readonly locations: ReadonlyMap<string, DatabaseLocation>
  /** True if a database without a location may be created near this machine. */
  readonly isAnywhere: boolean
}

const ANYWHERE = 'anywhere'
const list = (names: Iterable<string>) => [...names].join(', ')

/** Parses `--location` and `--jurisdiction`. Each value is LOCATION or DIGIT=LOCATION. */
export function locationOptions(
  options: {
    readonly location?: readonly string[] | undefined
    readonly jurisdiction?: readonly string[] | undefined
    readonly anywhere?: true | undefined
  },
  regions: readonly RegionDatabase[],
): LocationOptions {
  const locations = new Map<string, DatabaseLocation>()
  const add = (option: 'location' | 'jurisdiction', known: ReadonlyMap<string, string>) => {
    for (const value of options[option] ?? []) {
      const [, digit = '', name = ''] = /^(?:(\w)=)?(\w+)$/.exec(value) ?? []
      if (!known.has(name)) {
        throw new UsageError(`--${option} must be one of ${list(known.keys())}, or DIGIT=LOCATION for one region.`)
      }
      if (digit !== '' && !regions.some((region) => region.digit === digit)) {
        throw new UsageError(`--${option} ${value} names a region that REGIONS in wrangler.toml does not have.`)
      }
      if (locations.has(digit))
        throw new UsageError(`--${option} ${value} names a second location for the same database.`)
      locations.set(digit, { [option]: name })
    }
  }
  add('location', LOCATIONS)
  add('jurisdiction', JURISDICTIONS)
  return { locations, isAnywhere: options.anywhere ?? false }
}

/** The location that the options name for a region. A location without a digit is for the only region. */
export function locationOf(
  { digit }: RegionDatabase,
  regions: readonly RegionDatabase[],
  { locations }: LocationOptions,
): DatabaseLocation | undefined {
  return locations.get(digit) ?? (regions.length === 1 ? locations.get('') : undefined)
}

/**
 * Chooses a location for each new database, from the options or from the operator's answers. Throws Failure if a
 * database has none.
 */
export async function chooseLocations(
  missing: readonly RegionDatabase[],
  options: LocationOptions,
  { ask }: Pick<Context, 'ask'>,
): Promise<Map<string, DatabaseLocation>> {
  const chosen = new Map<string, DatabaseLocation>()
  for (const region of missing) {
    const given = locationOf(region, missing, options) ?? (options.isAnywhere ? {} : undefined)
    const chosenLocation = given ?? (ask && (await askLocation(region, ask)))
    if (!chosenLocation) throw new Failure(refusal(missing))
    chosen.set(region.digit, chosenLocation)
  }
  return chosen
}

function refusal(missing: readonly RegionDatabase[]): string {
  const [first, ...others] = missing
  const names = missing.map(({ databaseName }) => databaseName).join(' and ')
  const option =
    others.length > 0 ? `--location ${missing.map(({ digit }) => `${digit}=LOCATION`).join(' --location ')}` : ''
  const only = first && others.length === 0 ? '--location LOCATION' : option
  return `Choose where D1 creates ${names}, because the location of a database can't be changed later. Nothing was created. Run: npm run deploy -- ${only}
LOCATION is one of ${list(LOCATIONS.keys())}. \`--jurisdiction\` takes ${list(JURISDICTIONS.keys())}. \`--anywhere\` means near the machine that runs this command.`
}

async function askLocation(
  { databaseName }: RegionDatabase,
  ask: NonNullable<Context['ask']>,
): Promise<DatabaseLocation> {
  const rows = [...LOCATIONS, ...JURISDICTIONS, [ANYWHERE, 'near this machine'] as const]
  const menu = rows.map(([name, words]) => `  ${name.padEnd(9)} ${words}`).join('\n')
  for (
    let question = `Where should the database ${databaseName} be? Its location can't be changed later.\n${menu}\n`;
    ;
  ) {
    const answer = (await ask(`${question}Location: `)).trim().toLowerCase()
    if (LOCATIONS.has(answer)) return { location: answer }
    if (JURISDICTIONS.has(answer)) return { jurisdiction: answer }
    if (answer === ANYWHERE) return {}
    if (answer === '') throw new Failure('No location was chosen. Nothing was created.')
    question = `${answer} is not a location in this list.\n`
  }
}
