import { Runtime, type WorkerSpec } from '../bench/runtime.ts'
import { newApiKey } from '../operator.ts'
import { m2mApplication } from '../requests.ts'
import { check, resolve, type Stored } from './check.ts'
import { type Client, type History, keepBusy, type Send } from './history.ts'

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
/** How long the clients are busy before the kill. */
const BUSY_MS = { least: 100, most: 1_100 }
/** Active secrets of an application that are used after a restart. */
const USED_AFTERWARDS = 3

export function newRun(script: string, signingKey: string, seed: number) {
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
    const newest = await newestEvent(runtime)
    const histories = await Promise.all(Array.from({ length: CLIENTS }, () => newHistory(before.send)))
    let isOver = false
    const busy = Promise.all(histories.map((history) => keepBusy(history, before, () => isOver)))
    await new Promise((resolve) => setTimeout(resolve, BUSY_MS.least + random() * (BUSY_MS.most - BUSY_MS.least)))
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
      problems.push(...(await check(history, await storedOf(next, history, newest), unknownCreates)))
      problems.push(...(await useSome(history, after)))
      totals.unknown += history.unknown.length
      for (const kind of ['creates', 'rotations', 'revocations', 'uses'] as const)
        totals[kind] += history.acknowledged[kind]
    }
    return problems
  }

  return { totals: totals as Totals, cycle, stop: async () => running?.runtime.stop() }
}

/** Reproducible draws (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
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

async function newHistory(send: Send): Promise<History> {
  const { status, json } = await send('POST', '/connect/applications', {}, m2mApplication)
  if (status !== 201) throw new Error(`POST /connect/applications: ${status} ${JSON.stringify(json)}`)
  return {
    application: { id: json.id, clientId: json.client_id },
    secrets: [],
    unknown: [],
    acknowledged: { creates: 0, rotations: 0, revocations: 0, uses: 0 },
  }
}

async function newestEvent(runtime: Runtime): Promise<number> {
  return (await runtime.database(DATABASE).prepare('SELECT max(seq) AS seq FROM events').first<number>('seq')) ?? 0
}

async function storedOf(runtime: Runtime, { application }: History, newest: number): Promise<Stored> {
  const database = runtime.database(DATABASE)
  const [secrets, events] = await database.batch<never>([
    database
      .prepare(
        'SELECT id, hex(digest) AS digest, revoked_at IS NOT NULL AS revoked FROM client_secrets WHERE application_id = ?',
      )
      .bind(application.id),
    database
      .prepare("SELECT type, data ->> 'id' AS secret FROM events WHERE seq > ? AND data ->> 'application_id' = ?")
      .bind(newest, application.id),
  ])
  return { secrets: secrets?.results ?? [], events: events?.results ?? [] }
}

/** Asks for a token with active secrets and with revoked ones. */
async function useSome({ application, secrets }: History, { use }: Client): Promise<string[]> {
  const problems: string[] = []
  for (const [state, expected] of [
    ['active', 200],
    ['revoked', 401],
  ] as const) {
    for (const { id, plaintext } of secrets.filter((secret) => secret.state === state).slice(0, USED_AFTERWARDS)) {
      const status = await use(application.clientId, plaintext)
      if (status !== expected) problems.push(`${id} is ${state}, and gets ${status} at the token endpoint`)
    }
  }
  return problems
}
