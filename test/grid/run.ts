import { randomFrom } from '../random.ts'
import { type Case, casesOf } from './faults.ts'
import type { Plant } from './plants.ts'
import { FOREIGN, type Grid, type Learnt, type NamedCase, namesObject, REGIONS } from './product.ts'
import { type GridRequest, REQUESTS } from './requests.ts'

interface GridOptions {
  readonly seed: number
  /** How many cases are run, spread over all; by default each one. */
  readonly cases?: number
  /** Text that is in the name of each case that is run. */
  readonly only?: string
  /** In place of all requests, and of all regions. */
  readonly requests?: readonly GridRequest[]
  readonly regions?: readonly string[]
  /** A fault of the product, which the grid must find. */
  readonly plant?: Plant
  /** Leaves out the faults that last after the response. */
  readonly skipsBehind?: boolean
  readonly onProgress?: (done: number, all: number) => void
}

export interface GridReport {
  readonly routes: number
  /** Requests that are refused without a fault: their cases say less. */
  readonly refused: readonly string[]
  readonly all: number
  readonly cases: number
  /** Cases whose fault was not reached. */
  readonly missed: number
  /** By status of the response that met the fault. */
  readonly statuses: ReadonlyMap<number, number>
  /** Name of the case, and what is wrong. */
  readonly failures: readonly string[]
}

const LANES = 16

/** Runs the cases, and judges each. */
export async function runGrid(grid: Grid, options: GridOptions): Promise<GridReport> {
  const {
    seed,
    requests = REQUESTS,
    regions = [...REGIONS.values()],
    only = '',
    plant,
    skipsBehind,
    onProgress,
  } = options
  const chosenRegions = [...REGIONS].filter(([, region]) => regions.includes(region))
  const places = chosenRegions.flatMap(([binding, region]) => requests.map((request) => ({ binding, region, request })))
  const references = await inLanes(places, async (place) => ({
    ...place,
    reference: await grid.learn(place.binding, place.request),
  }))
  const routes = references.filter(({ reference }) => reference.report.sent.length > 0)
  const learnt = routes.flatMap(({ binding, region, request, reference }) => {
    const named = (name: string, of: Case): NamedCase => ({
      name: `${region} ${request.name}: ${name}`,
      ...{ binding, request, reference, of },
    })
    const cases = reference.report.sent.flatMap((sent, nth) =>
      casesOf(nth, sent, {
        isWhole: !sent.isBehind && region === '0',
        hasOneRow: request.auth === 'basic' && !sent.isBehind,
      }).map((of) => named(`${nth} ${of.name}`, of)),
    )
    const foreign: Case = { name: FOREIGN, plan: { binding, request: 0, faults: [] } }
    return namesObject(request) ? [named(FOREIGN, foreign), ...cases] : cases
  })
  const refused = routes
    .filter(({ reference }) => reference.reply.status >= 400)
    .map(({ region, request, reference }) => `${region} ${request.name}: ${reference.reply.status}`)
  const eligible = learnt.filter(({ of }) => !(skipsBehind && of.lastsBehind))
  const chosen = spread(eligible, seed, options.cases).filter(({ name }) => name.includes(only))
  const statuses = new Map<number, number>()
  const failures: string[] = []
  let [done, missed] = [0, 0]
  await inLanes(chosen, async (one) => {
    const run = one.of.name === FOREIGN ? grid.runForeign(one, plant) : grid.run(one, plant)
    const { problems, status, isMissed } = await run
    if (problems.length > 0) failures.push(`${one.name}\n  ${problems.join('\n  ')}`)
    if (isMissed) missed++
    else statuses.set(status, (statuses.get(status) ?? 0) + 1)
    done++
    onProgress?.(done, chosen.length)
  })
  failures.push(...(await grid.problemsOfLog()))
  return { routes: routes.length, refused, all: learnt.length, cases: done, missed, statuses, failures }
}

/** Does something for each item, several at once. Gives the results in the order of the items. */
async function inLanes<T, Result>(items: readonly T[], work: (item: T) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  let next = 0
  const lane = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as T)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return results
}

/** `count` of the cases, in an order that the seed decides, and with which each route has its share. */
function spread(all: readonly NamedCase[], seed: number, count = all.length): readonly NamedCase[] {
  const random = randomFrom(seed)
  const shuffled = all.map((one) => ({ one, order: random() })).sort((a, b) => a.order - b.order)
  const rounds = new Map<Learnt, number>()
  const withRounds = shuffled.map(({ one }) => {
    const round = rounds.get(one.reference) ?? 0
    rounds.set(one.reference, round + 1)
    return { one, round }
  })
  const inRounds = withRounds.sort((a, b) => a.round - b.round)
  return inRounds.slice(0, count).map(({ one }) => one)
}
