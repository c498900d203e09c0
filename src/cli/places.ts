import { type Context, Failure, UsageError } from './command.ts'
import type { RegionDatabase } from './configuration.ts'

/** Location hints of D1, which has no others. */
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

/** Where a new database is created. With neither, near the machine that asks for it. */
export interface Place {
  readonly location?: string
  readonly jurisdiction?: string
}

export interface PlaceOptions {
  /** Of a region's digit; '' is for the only region that it can be meant for. */
  readonly places: ReadonlyMap<string, Place>
  /** Whether a database without a place may be created near this machine. */
  readonly isAnywhere: boolean
}

const ANYWHERE = 'anywhere'
const list = (names: Iterable<string>) => [...names].join(', ')

/** Reads `--location` and `--jurisdiction`, each PLACE or DIGIT=PLACE. */
export function placeOptions(
  options: {
    readonly location?: readonly string[] | undefined
    readonly jurisdiction?: readonly string[] | undefined
    readonly anywhere?: true | undefined
  },
  regions: readonly RegionDatabase[],
): PlaceOptions {
  const places = new Map<string, Place>()
  const add = (option: 'location' | 'jurisdiction', known: ReadonlyMap<string, string>) => {
    for (const value of options[option] ?? []) {
      const [, digit = '', name = ''] = /^(?:(\w)=)?(\w+)$/.exec(value) ?? []
      if (!known.has(name)) {
        throw new UsageError(`--${option} must be one of ${list(known.keys())}, or DIGIT=PLACE for one region.`)
      }
      if (digit !== '' && !regions.some((region) => region.digit === digit)) {
        throw new UsageError(`--${option} ${value} names a region that REGIONS in wrangler.toml does not have.`)
      }
      if (places.has(digit)) throw new UsageError(`--${option} ${value} names a second place for the same database.`)
      places.set(digit, { [option]: name })
    }
  }
  add('location', LOCATIONS)
  add('jurisdiction', JURISDICTIONS)
  return { places, isAnywhere: options.anywhere ?? false }
}

/** The place that the options name for a region. One without a digit is meant for the only region there is. */
export function placeOf(
  { digit }: RegionDatabase,
  regions: readonly RegionDatabase[],
  { places }: PlaceOptions,
): Place | undefined {
  return places.get(digit) ?? (regions.length === 1 ? places.get('') : undefined)
}

/** Chooses a place for each database that is to be created, by the options or by asking. Throws Failure without one. */
export async function choosePlaces(
  missing: readonly RegionDatabase[],
  options: PlaceOptions,
  { ask }: Pick<Context, 'ask'>,
): Promise<Map<string, Place>> {
  const chosen = new Map<string, Place>()
  for (const region of missing) {
    const given = placeOf(region, missing, options) ?? (options.isAnywhere ? {} : undefined)
    const place = given ?? (ask && (await askPlace(region, ask)))
    if (!place) throw new Failure(refusal(missing))
    chosen.set(region.digit, place)
  }
  return chosen
}

function refusal(missing: readonly RegionDatabase[]): string {
  const [first, ...others] = missing
  const names = missing.map(({ databaseName }) => databaseName).join(' and ')
  const option =
    others.length > 0 ? `--location ${missing.map(({ digit }) => `${digit}=PLACE`).join(' --location ')}` : ''
  const only = first && others.length === 0 ? '--location PLACE' : option
  return `Choose where the database ${names} is created, because its location can't be changed later. Nothing was created. Run: npm run deploy -- ${only}
PLACE is one of ${list(LOCATIONS.keys())}. \`--jurisdiction\` takes ${list(JURISDICTIONS.keys())}. \`--anywhere\` creates it near the machine that runs this command.`
}

async function askPlace({ databaseName }: RegionDatabase, ask: NonNullable<Context['ask']>): Promise<Place> {
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
    question = `${answer} is none of these.\n`
  }
}
