import type { Load, LoadRequest, LoadResult } from './load.ts'
import { busySeconds, cpuSeconds } from './machine.ts'
import { type Spread, spreadOf } from './statistics.ts'

/** A server that is measured. */
export interface Contestant {
  readonly name: string
  readonly url: string
  /** Its process. */
  readonly pid: number
  /** The status of every answer, and a text that its body has in it. */
  readonly status: number
  readonly body?: string | undefined
  /** How many requests one turn may send. */
  readonly mostRequests: number
  /** Prepares a turn, and makes its requests. */
  readonly requests: (count: number) => Promise<readonly LoadRequest[]>
}

export interface RoundOptions {
  readonly connections: number
  /** How often each contestant has its turn. */
  readonly rounds: number
  /** How long a turn lasts, roughly. */
  readonly seconds: number
  /** How many rounds may be repeated because others disturbed them. */
  readonly repeats: number
}

/** One turn. */
interface Turn extends LoadResult {
  readonly requestsPerSecond: number
  /** CPU time of the server per request, in microseconds. NaN where the system does not tell. */
  readonly cpu: number
}

/** The result of all turns of a contestant. */
interface Measured {
  readonly requestsPerSecond: Spread
  /** Milliseconds. */
  readonly p50: Spread
  readonly p99: Spread
  /** Microseconds of CPU per request. */
  readonly cpu: Spread
  /** How many times as fast as the last contestant, turn by turn, and by CPU time. */
  readonly ratio: Spread
  readonly cpuRatio: Spread
}

export interface Result {
  readonly measured: ReadonlyMap<string, Measured>
  /** How many rounds others disturbed, of all that were kept. */
  readonly noisyRounds: number
  /** How much of a core the load needs. Near 1 it is the load that is measured. */
  readonly loadShare: number
}

/** More of a core than this, used by others, makes a round noisy. */
const NOISE = 0.15
const SETTLE_MS = 60
const WARM_UP_REQUESTS = 200

/**
 * Lets contestants take turns, in alternating order, so that whatever else the machine does meets them alike. Ratios are
 * between turns of one round. Noisy rounds are repeated, within bounds, and the quietest count.
 */
export async function measure(load: Load, contestants: readonly Contestant[], options: RoundOptions): Promise<Result> {
  const counts = new Map<Contestant, number>()
  for (const contestant of contestants) {
    const first = await turn(load, contestant, { ...options, count: roundTo(options, WARM_UP_REQUESTS) })
    const wanted = Math.round(first.requestsPerSecond * options.seconds)
    counts.set(contestant, roundTo(options, Math.min(wanted, contestant.mostRequests)))
  }
  const rounds: { turns: Map<Contestant, Turn>; noise: number }[] = []
  let loadShare = 0
  const isNoisy = ({ noise }: { noise: number }) => noise > NOISE
  const quietRounds = () => rounds.filter((round) => !isNoisy(round)).length
  for (let i = 0; i < options.rounds + options.repeats && quietRounds() < options.rounds; i++) {
    const turns = new Map<Contestant, Turn>()
    const noises: number[] = []
    for (const contestant of i % 2 === 0 ? contestants : contestants.toReversed()) {
      const count = counts.get(contestant) as number
      const { noise, share, ...taken } = await turn(load, contestant, { ...options, count })
      turns.set(contestant, taken)
      noises.push(noise)
      loadShare = Math.max(loadShare, share)
    }
    rounds.push({ turns, noise: Math.max(...noises) })
  }
  const kept = rounds.sort((a, b) => a.noise - b.noise).slice(0, options.rounds)
  const reference = contestants.at(-1) as Contestant
  const measured = contestants.map((contestant) => {
    const of = (value: (turn: Turn) => number) => kept.map(({ turns }) => value(turns.get(contestant) as Turn))
    const ratio = (value: (turn: Turn) => number) =>
      spreadOf(kept.map(({ turns }) => value(turns.get(contestant) as Turn) / value(turns.get(reference) as Turn)))
    const all: Measured = {
      requestsPerSecond: spreadOf(of((one) => one.requestsPerSecond)),
      p50: spreadOf(of((one) => one.p50)),
      p99: spreadOf(of((one) => one.p99)),
      cpu: spreadOf(of((one) => one.cpu)),
      ratio: ratio((one) => one.requestsPerSecond),
      cpuRatio: ratio((one) => 1 / one.cpu),
    }
    return [contestant.name, all] as const
  })
  return { measured: new Map(measured), noisyRounds: kept.filter(isNoisy).length, loadShare }
}

async function turn(
  load: Load,
  { url, pid, status, body, requests: prepare }: Contestant,
  { connections, count }: RoundOptions & { count: number },
): Promise<Turn & { noise: number; share: number }> {
  const requests = await prepare(count)
  // Work after the responses of the last turn has ended by then.
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const before = usage(pid, load)
  const result = await load.run({ url, connections, requests, status, body })
  const after = usage(pid, load)
  const runtimeSeconds = after.runtime - before.runtime
  const loadSeconds = after.load - before.load
  const others = after.busy - before.busy - runtimeSeconds - loadSeconds - (after.own - before.own)
  const elapsed = (after.at - before.at) / 1000
  return {
    ...result,
    requestsPerSecond: count / result.seconds,
    cpu: (runtimeSeconds / count) * 1e6,
    noise: others / elapsed || 0,
    share: loadSeconds / elapsed || 0,
  }
}

function usage(pid: number, load: Load) {
  const own = process.cpuUsage()
  return {
    at: performance.now(),
    runtime: cpuSeconds(pid) ?? Number.NaN,
    load: cpuSeconds(load.pid) ?? Number.NaN,
    busy: busySeconds() ?? Number.NaN,
    own: (own.user + own.system) / 1e6,
  }
}

/** As many requests for each connection. */
function roundTo({ connections }: RoundOptions, count: number): number {
  return Math.max(1, Math.round(count / connections)) * connections
}
