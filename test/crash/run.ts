import { setTimeout } from 'node:timers/promises'
import { Runtime, type WorkerSpec } from '../bench/runtime.ts'
import { newApiKey } from '../operator.ts'
import { randomFrom } from '../random.ts'
import { check, newestEvent, resolve, storedOf, useSome } from './check.ts'
import { type Client, type History, keepBusy, newHistory } from './history.ts'

export interface Totals {
  readonly kills: number
  readonly creates: number
  readonly rotations: number
  readonly revocations: number
  readonly uses: number
  readonly unknown: number
}

const CLIENTS = 8
const DATABASE = 'crash'
const WORKER = 'product'
/** Acknowledged creates before the kill, at most. A count, so that a slow machine has as many as a fast one. */
const MOST_CREATES = 500
/** From the last of them to the kill, at most. */
const MOST_MS_AFTER = 20

export function newRun(script: string, signingKey: string, seed: number, mostCreates = MOST_CREATES) {
  const random = randomFrom(seed)
  const bindings = {
    ISSUER: 'http://127.0.0.1:8787',
    SIGNING_KEY: signingKey,
    MAX_SECRETS_PER_APPLICATION: 100,
    REQUEST_BUDGET_MS: 30_000,
  }
  const workers: readonly WorkerSpec[] = [{ name: WORKER, script, database: DATABASE, bindings }]
  const totals = { kills: 0, creates: 0, rotations: 0, revocations: 0, uses: 0, unknown: 0 }
  let running: { runtime: Runtime; apiKey: string } | undefined

  async function start() {
    const runtime = await Runtime.start(workers)
    return { runtime, apiKey: (await newApiKey(runtime.database(DATABASE))).apiKey }
  }

  /** One kill. Gives a sentence for everything that is not as it was acknowledged. */
  async function cycle(): Promise<string[]> {
    running ??= await start()
    const { runtime, apiKey } = running
    const before = clientOf(runtime.url(WORKER), apiKey, random)
    const newest = await newestEvent(runtime.database(DATABASE))
    const histories = await Promise.all(Array.from({ length: CLIENTS }, () => newHistory(before.send)))
    let isOver = false
    const busy = Promise.all(histories.map((history) => keepBusy(history, before, () => isOver)))
    const creates = random() * mostCreates
    while (sumOf(histories) < creates) await setTimeout(1)
    await setTimeout(random() * MOST_MS_AFTER)
    isOver = true
    const { directory } = await runtime.kill()
    await busy
    totals.kills++

    const next = await Runtime.start(workers, { directory })
    running = { runtime: next, apiKey }
    const after = clientOf(next.url(WORKER), apiKey, random)
    const problems: string[] = []
    for (const history of histories) {
      const unknownCreates = await resolve(history, after)
      problems.push(...(await check(history, await storedOf(next.database(DATABASE), history, newest), unknownCreates)))
      problems.push(...(await useSome(history, after)))
      totals.unknown += history.unknown.length
      for (const kind of ['creates', 'rotations', 'revocations', 'uses'] as const)
        totals[kind] += history.acknowledged[kind]
    }
    return problems
  }

  return { totals: totals as Totals, cycle, stop: async () => running?.runtime.stop() }
}

/** The creates that were acknowledged. */
function sumOf(histories: readonly History[]): number {
  return histories.reduce((sum, { acknowledged }) => sum + acknowledged.creates, 0)
}

function clientOf(url: string, apiKey: string, random: () => number): Client {
  return {
    random,
    send: async (method, path, headers = {}, body) => {
      const response = await fetch(url + path, {
        method,
        headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json', ...headers },
        ...(body && { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return { status: response.status, json: text === '' ? null : JSON.parse(text) }
    },
    use: async (clientId, plaintext) => {
      const body = new URLSearchParams({ grant_type: 'client_credentials' })
      const headers = { Authorization: `Basic ${btoa(`${clientId}:${plaintext}`)}` }
      const response = await fetch(`${url}/oauth2/token`, { method: 'POST', headers, body })
      await response.text()
      return response.status
    },
  }
}
