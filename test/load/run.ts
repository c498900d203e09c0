import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { Runtime } from '../bench/runtime.ts'
import { newApiKey } from '../operator.ts'
import { distantDatabase } from './distant.ts'

/** Where a sender sends its load. */
export interface Target {
  readonly url: string
  readonly databaseUrl: string
  readonly apiKey: string
  readonly seed: number
}

export type Job =
  | ({ readonly kind: 'prepare' } & Target)
  | { readonly kind: 'send'; readonly rate: number; readonly seconds: number }
  | { readonly kind: 'compare' }

/** The counts of a sender. */
export interface Tally {
  readonly statuses: Record<string, number>
  readonly problems: Record<string, number>
  /** Of successes, in milliseconds. */
  readonly latencies: number[]
  /** Of refusals, in milliseconds. */
  readonly refusals: number[]
}

/** One phase of a run, as its clients saw it. */
export interface Phase {
  /** Requests that were sent, and that succeeded, per second. */
  readonly rate: number
  readonly succeeded: number
  readonly statuses: Readonly<Record<string, number>>
  readonly problems: Readonly<Record<string, number>>
  /** Latencies of successes, and of refusals, in milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly refusedP99: number
  /** How many requests waited for a response at the same time. */
  readonly mostPending: number
}

interface Options {
  readonly script: string
  /** The rate that is held; by default the highest one. */
  readonly rate?: number
  /** How long the load is held, and how long it is doubled. */
  readonly seconds: number
  readonly seed: number
  /** How long the database takes for each batch. */
  readonly batchMs: number
  readonly onProgress?: (text: string) => void
}

export interface LoadReport {
  /** Requests per second. */
  readonly heldRate: number
  readonly hold: Phase
  readonly overload: Phase
  /** At the held rate again. */
  readonly recovery: Phase
  /** Resident memory of workerd in MiB: after the hold, at the peak of the overload, and after the recovery. */
  readonly memory: { readonly before: number; readonly peak: number; readonly after: number }
  readonly totals: Readonly<Record<string, number>>
  /** A sentence for each broken promise. */
  readonly problems: readonly string[]
}

const DATABASE = 'load'
const WORKER = 'product'
const NOTHING = 'export default {}'
/** A rate holds if every request succeeds, and 99 of 100 within this time. */
const HELD_P99_MS = 500
/** The Worker answers after 5 s at most (`REQUEST_BUDGET_MS`). The rest is for the sockets and for other work on the machine. */
const OVERLOAD_P99_MS = 6_000
/** Memory that may remain: V8 and SQLite keep some for later, and the database has grown. */
const KEPT_MIB = 64
const FIRST_RATE = 20

/** Finds the highest rate that holds, holds it, sends twice as much, and compares what was acknowledged with what is stored. */
export async function runLoad({
  script,
  rate,
  seconds,
  seed,
  batchMs,
  onProgress = () => {},
}: Options): Promise<LoadReport> {
  const bindings = {
    ISSUER: 'http://127.0.0.1:8787',
    SIGNING_KEY: JSON.stringify(await newSigningKey('ES256')),
    MAX_SECRETS_PER_APPLICATION: 100,
  }
  const storage = await Runtime.start([{ name: 'storage', script: NOTHING, database: DATABASE }])
  const databaseUrl = storage.url(`database-${DATABASE}`)
  const wrapper = { 'test/load/distant.js': distantDatabase(databaseUrl, batchMs) }
  const runtime = await Runtime.start([{ name: WORKER, script, wrapper, bindings }])
  const sender = fork(join(import.meta.dirname, 'sender.ts'), { serialization: 'advanced' })
  const ask = async <T>(job: Job): Promise<T> => {
    sender.send(job)
    return (await once(sender, 'message'))[0] as T
  }
  const send = async (what: string, rate: number, duration: number) => {
    onProgress(`${what}: ${rate} requests a second for ${duration} s`)
    return ask<Phase>({ kind: 'send', rate, seconds: duration })
  }
  try {
    const { apiKey } = await newApiKey(storage.database(DATABASE))
    await ask({ kind: 'prepare', url: runtime.url(WORKER), databaseUrl, apiKey, seed })
    const probeSeconds = Math.min(10, Math.max(1, seconds / 6))
    const holds = async (rate: number) => isHeld(await send('Searching', rate, probeSeconds))
    let heldRate = rate ?? (await highest(holds))
    let hold = await send('Holding', heldRate, seconds)
    while (rate === undefined && !isHeld(hold) && heldRate > FIRST_RATE) {
      heldRate = Math.floor(heldRate * 0.9)
      hold = await send('Holding', heldRate, seconds)
    }
    const before = residentMiB(runtime.pid)
    let peak = before
    const watch = setInterval(() => {
      peak = Math.max(peak, residentMiB(runtime.pid))
    }, 250)
    const overload = await send('Overloading', 2 * heldRate, seconds)
    clearInterval(watch)
    const recovery = await send('Recovering', heldRate, Math.max(2, probeSeconds))
    const memory = { before, peak, after: await settled(runtime.pid, before + KEPT_MIB) }
    onProgress('Comparing what was acknowledged with the database')
    const { problems, totals } = await ask<Pick<LoadReport, 'problems' | 'totals'>>({ kind: 'compare' })
    const report = { heldRate, hold, overload, recovery, memory, totals }
    return { ...report, problems: [...problems, ...problemsOf(report)] }
  } finally {
    sender.kill()
    await runtime.stop()
    await storage.stop()
  }
}

/** The highest rate that holds: doubles it until one does not hold, and bisects the last step. */
async function highest(holds: (rate: number) => Promise<boolean>): Promise<number> {
  let low = FIRST_RATE
  while (await holds(low * 2)) low *= 2
  let high = low * 2
  while (high - low > low / 8) {
    const middle = Math.round((low + high) / 2)
    if (await holds(middle)) low = middle
    else high = middle
  }
  return low
}

function isHeld({ statuses, p99 }: Phase): boolean {
  return Object.keys(statuses).every((status) => Number(status) < 300) && p99 <= HELD_P99_MS
}

/** A sentence for each promise that a run broke, apart from lost and doubled changes. */
export function problemsOf({ hold, overload, recovery, memory }: Omit<LoadReport, 'problems'>): string[] {
  const problems = Object.entries({ hold, overload, recovery }).flatMap(([phase, { problems }]) =>
    Object.entries(problems).map(([problem, count]) => `${phase}: ${count} × ${problem}`),
  )
  if (!(overload.p99 <= OVERLOAD_P99_MS)) problems.push(`overload: p99 of successes is ${Math.round(overload.p99)} ms`)
  if (overload.succeeded < hold.succeeded / 2)
    problems.push(`overload: ${Math.round(overload.succeeded)} successes a second, of ${Math.round(hold.succeeded)}`)
  if (memory.after > memory.before + KEPT_MIB)
    problems.push(`memory: ${Math.round(memory.after)} MiB afterwards, ${Math.round(memory.before)} MiB before`)
  return problems
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** Resident memory, as soon as it is at most `limit`, or after ten seconds. */
async function settled(pid: number, limit: number): Promise<number> {
  for (let i = 0; i < 40 && residentMiB(pid) > limit; i++) await sleep(250)
  return residentMiB(pid)
}
