import { Agent, request } from 'node:http'
import { quantile } from '../bench/statistics.ts'
import { check, newestEvent, resolve, storedOf, useSome } from '../crash/check.ts'
import { create, type History, newHistory, revoke, type Send, tryUse } from '../crash/history.ts'
import { randomFrom } from '../random.ts'
import { remoteDatabase } from '../remote-database.ts'
import { secretsOf } from '../requests.ts'
import type { Job, Phase, Tally, Target } from './run.ts'

/** The process that sends load. It remembers what was acknowledged, and compares it with the database at the end. */

const APPLICATIONS = 50
/** Active secrets of an application, of the 100 that it may have. Above it, secrets are revoked instead of created. */
const MAX_ACTIVE = 90
/** A request without a response after this long hangs: the Worker itself answers after 5 s. */
const TIMEOUT_MS = 20_000

const agent = new Agent({ keepAlive: true, maxSockets: 20_000 })
let target: Target
let send: Send
let random: () => number
let newest = 0
const histories: History[] = []

process.on('message', async (job: Job) => {
  process.send?.(await (job.kind === 'prepare' ? prepare(job) : job.kind === 'send' ? run(job) : compare()))
})

async function prepare(job: Target): Promise<true> {
  target = job
  random = randomFrom(job.seed)
  newest = await newestEvent(remoteDatabase(new URL(job.databaseUrl)))
  const phase = newTally()
  send = senderOf(phase)
  for (let i = 0; i < APPLICATIONS; i++) {
    const history = await newHistory(send)
    // The first secret is used, and is never revoked: a use is then never refused.
    await create(history, secretsOf(history.application.id), null, send)
    histories.push(history)
  }
  return true
}

/** Sends requests at a fixed rate, whether or not earlier ones were answered, as strangers to each other do. */
async function run({ rate, seconds }: { rate: number; seconds: number }): Promise<Phase> {
  const tally = newTally()
  const begun = performance.now()
  const pending = new Set<Promise<void>>()
  const count = Math.ceil(rate * seconds)
  let mostPending = 0
  for (let i = 0; i < count; i++) {
    const due = begun + (i * 1000) / rate
    const early = due - performance.now()
    if (early > 0) await new Promise((done) => setTimeout(done, early))
    const one = operation(tally, due)
      .catch((error: Error) => add(tally.problems, error.message))
      .finally(() => pending.delete(one))
    pending.add(one)
    mostPending = Math.max(mostPending, pending.size)
  }
  const lasted = (performance.now() - begun) / 1000
  await Promise.all(pending)
  const latencies = tally.latencies.sort((a, b) => a - b)
  return {
    rate: count / lasted,
    succeeded: latencies.length / ((performance.now() - begun) / 1000),
    statuses: tally.statuses,
    problems: tally.problems,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    refusedP99: quantile(
      tally.refusals.sort((a, b) => a - b),
      0.99,
    ),
    mostPending,
  }
}

/** 60 % tokens, 15 % lists, 25 % creations and revocations. */
async function operation(tally: Tally, due: number): Promise<void> {
  const history = histories[Math.floor(random() * histories.length)] as History
  const sendNow = senderOf(tally, due)
  const choice = random()
  const path = secretsOf(history.application.id)
  const [first, ...others] = history.secrets
  if (choice < 0.6 && first)
    return tryUse(history, first, (clientId, plaintext) => useOf(tally, due)(clientId, plaintext))
  if (choice < 0.75) {
    await sendNow('GET', path)
    return
  }
  const active = others.filter(({ state }) => state === 'active')
  const chosen = active[Math.floor(random() * active.length)]
  if (chosen && (choice < 0.85 || active.length + history.unknown.length > MAX_ACTIVE)) {
    // Another request must not choose it too.
    chosen.state = 'unknown'
    return revoke(history, chosen, sendNow)
  }
  return create(history, path, choice < 0.93 ? crypto.randomUUID() : null, sendNow)
}

async function compare(): Promise<{ problems: string[]; totals: Record<string, number> }> {
  const database = remoteDatabase(new URL(target.databaseUrl))
  const totals = { creates: 0, revocations: 0, uses: 0, 'unknown outcomes': 0 }
  const problems: string[] = []
  const use = useOf(newTally(), performance.now())
  for (const history of histories) {
    totals['unknown outcomes'] += history.unknown.length
    totals['unknown outcomes'] += history.secrets.filter(({ state }) => state === 'unknown').length
    for (const kind of ['creates', 'revocations', 'uses'] as const) totals[kind] += history.acknowledged[kind]
    const unknownCreates = await resolve(history, { send })
    problems.push(...(await check(history, await storedOf(database, history, newest), unknownCreates)))
    problems.push(...(await useSome(history, { use })))
  }
  return { problems, totals }
}

function newTally(): Tally {
  return { statuses: {}, problems: {}, latencies: [], refusals: [] }
}

function add(counts: Record<string, number>, name: string | number): void {
  counts[name] = (counts[name] ?? 0) + 1
}

function senderOf(tally: Tally, due = performance.now()): Send {
  return async (method, path, headers = {}, body) => {
    const all = { Authorization: `Bearer ${target.apiKey}`, 'Content-Type': 'application/json', ...headers }
    return exchange(tally, due, method, path, all, body && JSON.stringify(body))
  }
}

function useOf(tally: Tally, due: number) {
  return async (clientId: string, plaintext: string) => {
    const headers = {
      Authorization: `Basic ${btoa(`${clientId}:${plaintext}`)}`,
      'Content-Type': 'application/x-www-form-urlencoded',
    }
    return (await exchange(tally, due, 'POST', '/oauth2/token', headers, 'grant_type=client_credentials')).status
  }
}

/** Sends one request, and counts the response. Latency begins when the request was due, not when it was sent. */
function exchange(
  tally: Tally,
  due: number,
  method: string,
  path: string,
  headers: Record<string, string>,
  body = '',
): Promise<{ status: number; json: unknown }> {
  return new Promise((done, fail) => {
    const framed = { ...headers, 'Content-Length': String(Buffer.byteLength(body)) }
    const giveUp = (error: NodeJS.ErrnoException) => {
      // The server may close a connection that was idle. What was sent on it then has an unknown outcome.
      const isStale = sent.reusedSocket && error.code === 'ECONNRESET'
      if (!isStale) add(tally.problems, `no response: ${error.code ?? error.message}`)
      fail(error)
    }
    const sent = request(target.url + path, { agent, method, headers: framed, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', giveUp)
      response.on('end', () => {
        const status = response.statusCode ?? 0
        const text = Buffer.concat(chunks).toString()
        const elapsed = performance.now() - due
        add(tally.statuses, status)
        if (status < 300) tally.latencies.push(elapsed)
        else {
          tally.refusals.push(elapsed)
          if (status !== 503 && status !== 429) add(tally.problems, `status ${status}`)
          if (!/^[1-9]\d*$/.test(response.headers['retry-after'] ?? ''))
            add(tally.problems, `${status} has no Retry-After`)
        }
        try {
          done({ status, json: text === '' ? null : JSON.parse(text) })
        } catch {
          add(tally.problems, `${status} is not JSON`)
          fail(new Error('not JSON'))
        }
      })
    })
    sent.on('timeout', () => sent.destroy(new Error('it hangs')))
    sent.on('error', giveUp)
    sent.end(body)
  })
}
