import { once } from 'node:events'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { bundleWorker } from '../bundle-worker.ts'
import { newApiKey } from '../operator.ts'
import { randomFrom } from '../random.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { bindings } from './floors.ts'
import { describeMachine } from './machine.ts'
import { clearProgress, progress } from './progress.ts'
import { Runtime } from './runtime.ts'
import { quantile } from './statistics.ts'
import { number, table } from './table.ts'
import { MAX_T, welch } from './welch.ts'

/**
 * `npm run bench:timing`: measures how long the token endpoint takes to refuse a client, by the reason that the response
 * does not tell. The requests take turns in random order, over one connection, without a network between.
 */
const { values } = parseArgs({
  options: { samples: { type: 'string', default: '20000' }, seed: { type: 'string', default: '1' } },
})
const samples = Number(values.samples)
const seed = Number(values.seed)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const DATABASE = 'timing'
/** Slower responses met other work of the machine, and are left out. */
const KEPT_SHARE = 0.9
/** Jitter of a network between continents, and how many failures an address has a minute. */
const JITTER_US = 1_000
const FAILURES_PER_MINUTE = 100

/** More than the failures that an address may have. */
const WARM_UP_ROUNDS = 300

let addresses = 0

interface Client {
  readonly clientId: string
  readonly secret: string
}

interface Case {
  readonly name: string
  /** The case that it is compared with. */
  readonly reference: string
  readonly status: number
  readonly client: Client
  /** Every request is from this address; by default each is from another one. */
  readonly address?: string
}

progress('Bundling the Worker…')
const runtime = await Runtime.start([
  {
    name: 'product',
    script: await bundleWorker(),
    database: DATABASE,
    bindings: await bindings('ES256'),
    hasRateLimits: true,
  },
])
try {
  const origin = runtime.url('product')
  const cases = await newCases(runtime.database(DATABASE), origin)
  const times = await measure(origin, cases)
  clearProgress()
  report(cases, times)
} finally {
  await runtime.stop()
}

async function newCases(database: D1Database, origin: string): Promise<Case[]> {
  const { apiKey } = await newApiKey(database)
  const send = async (method: string, path: string, body?: object) => {
    const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
    const response = await fetch(origin + path, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    const text = await response.text()
    return (text === '' ? {} : JSON.parse(text)) as { id: string; client_id: string; secret: string }
  }
  const newClient = async () => {
    const application = await send('POST', '/connect/applications', m2mApplication)
    const { id, secret } = await send('POST', secretsOf(application.id), {})
    return { id, secret, clientId: application.client_id, applicationId: application.id }
  }
  const known = await newClient()
  // The same in each request, like the others: a new ID or secret has costs of its own.
  const madeUp = (await issueCredential('cs', '0')).plaintext
  const wrong = { clientId: known.clientId, secret: madeUp }
  const unknown = { clientId: newId('client', Date.now(), '0'), secret: madeUp }
  const [revoked, deleted, expired, disabled] = [
    await newClient(),
    await newClient(),
    await newClient(),
    await newClient(),
  ]
  await send('DELETE', `/connect/client_secrets/${revoked.id}`)
  await send('DELETE', `/connect/applications/${deleted.applicationId}`)
  await send('PATCH', `/connect/client_secrets/${disabled.id}`, { disabled: true })
  await database.prepare('UPDATE client_secrets SET expires_at = 1 WHERE id = ?').bind(expired.id).run()
  const refused = { reference: 'wrong secret', status: 401 }
  const limited = { reference: 'over the limit, wrong secret', status: 429 }
  return [
    { ...refused, name: 'wrong secret', client: wrong },
    { ...refused, name: 'wrong secret again (A/A control)', client: wrong },
    { ...refused, name: 'unknown client', client: unknown },
    { ...refused, name: 'revoked secret', client: revoked },
    { ...refused, name: 'secret of a deleted application', client: deleted },
    { ...refused, name: 'expired secret', client: expired },
    { ...refused, name: 'disabled secret', client: disabled },
    { ...limited, name: 'over the limit, wrong secret', client: wrong, address: '2001:db8:ffff:ffff::1' },
    { ...limited, name: 'over the limit, unknown client', client: unknown, address: '2001:db8:ffff:ffff::1' },
    { ...limited, name: 'over the limit, revoked secret', client: revoked, address: '2001:db8:ffff:ffff::1' },
  ]
}

/** Microseconds of each response, by the name of its case. */
async function measure(origin: string, cases: readonly Case[]): Promise<Map<string, number[]>> {
  const exchange = await newConnection(origin)
  const random = randomFrom(seed)
  const times = new Map(cases.map(({ name }) => [name, [] as number[]]))
  for (let round = -WARM_UP_ROUNDS; round < samples; round++) {
    for (const one of shuffled(cases, random)) {
      const text = tokenRequest(one.client, one.address ?? newAddress())
      const begun = process.hrtime.bigint()
      const status = await exchange(text)
      const elapsed = Number(process.hrtime.bigint() - begun) / 1000
      if (round < 0) continue
      // A limit lasts for a minute, after which the address has a hundred failures more.
      if (status !== one.status && one.status === 429) continue
      if (status !== one.status) throw new Error(`${one.name}: ${status}`)
      times.get(one.name)?.push(elapsed)
    }
    if (round % 100 === 0) progress(`${number(Math.max(0, round))} of ${number(samples)} samples of each case`)
  }
  return times
}

function shuffled(cases: readonly Case[], random: () => number): Case[] {
  return cases
    .map((one) => ({ one, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one)
}

/** An address from which nothing came before: another failure there would count. */
function newAddress(): string {
  const number = addresses++
  return `2001:db8:${(number >> 16).toString(16).padStart(4, '0')}:${(number & 0xffff).toString(16).padStart(4, '0')}::1`
}

function tokenRequest({ clientId, secret }: Client, address: string): string {
  const body = 'grant_type=client_credentials'
  return [
    'POST /oauth2/token HTTP/1.1',
    'Host: 127.0.0.1',
    `CF-Connecting-IP: ${address}`,
    `Authorization: Basic ${btoa(`${clientId}:${secret}`)}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

/** One connection, on which a request is sent when the response before it has arrived. Gives the status. */
async function newConnection(origin: string): Promise<(request: string) => Promise<number>> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(origin).port), noDelay: true })
  await once(socket, 'connect')
  let received = ''
  let onResponse = (_status: number) => {}
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
    const end = received.indexOf('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? Number.NaN)
    if (end < 0 || received.length < end + 4 + length) return
    const status = Number(received.slice(9, 12))
    received = ''
    onResponse(status)
  })
  return (request) =>
    new Promise((resolve) => {
      onResponse = resolve
      socket.write(request)
    })
}

function report(cases: readonly Case[], times: ReadonlyMap<string, number[]>): void {
  const keptOf = (one: Case) => {
    const pooled = [one.name, one.reference].flatMap((name) => times.get(name) as number[])
    const limit = quantile(
      pooled.sort((a, b) => a - b),
      KEPT_SHARE,
    )
    return [one.name, one.reference].map((name) => (times.get(name) as number[]).filter((time) => time <= limit))
  }
  const rows = cases
    .filter(({ name, reference }) => name !== reference)
    .map((one) => {
      const [own, other] = keptOf(one) as [number[], number[]]
      const { t, difference, halfInterval } = welch(own, other)
      const needed = 2 * ((MAX_T * JITTER_US) / difference) ** 2
      return {
        name: one.name,
        t,
        cells: [
          one.name,
          number(
            quantile(
              (times.get(one.name) as number[]).toSorted((a, b) => a - b),
              0.5,
            ),
          ),
          `${number(difference, 1)} ± ${number(halfInterval, 1)}`,
          number(t, 1),
          Math.abs(t) < MAX_T ? 'no' : 'yes',
          Math.abs(t) < MAX_T ? '–' : `${number(needed)} (${number(needed / FAILURES_PER_MINUTE / 60)} h)`,
        ],
      }
    })
  const head = ['refused because of', 'median µs', 'difference µs', 't', 'differs', 'requests to see it']
  const isControlled = rows.every(({ name, t }) => !name.includes('A/A') || Math.abs(t) < MAX_T)
  console.log(`npm run bench:timing -- --samples ${samples} --seed ${seed}
${describeMachine()}
${new Date().toISOString().slice(0, 10)}

${table(
  head,
  rows.map(({ cells }) => cells),
)}

Each case is compared with a wrong secret: 401 with 401, and 429 with 429. ${number(samples)} samples of each; the slowest
${number(100 - KEPT_SHARE * 100)} % of each pair are left out. The last column is for a network with ${number(JITTER_US)} µs of jitter, and the hours for one address.
${isControlled ? 'The A/A control finds no difference.' : 'The A/A control differs from itself: the run was disturbed, and proves nothing.'}`)
  process.exitCode = isControlled ? 0 : 1
}
