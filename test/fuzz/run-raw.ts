import fc from 'fast-check'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { Runtime } from '../bench/runtime.ts'
import { secretsOf } from '../requests.ts'
import { judge } from './oracle.ts'
import { exchange, type RawRequest, responsesIn } from './raw.ts'
import { mutated, record } from './recorded.ts'
import { newWorld, type World } from './run.ts'
import { malformed, type RawWorld, wellFormed } from './sockets.ts'

interface RawOptions {
  readonly script: string
  /** A module in front of the Worker, which imports it as `../../src/index.ts`, with a planted fault. */
  readonly wrapper?: string
  /** How many malformed requests, and how many changed requests of real clients. */
  readonly sockets: number
  readonly recorded: number
  readonly seed: number
  readonly onProgress?: (requests: number) => void
}

export interface RawReport {
  readonly requests: number
  /** How many responses of the Worker had each status. `server` counts those of the HTTP server in front of it. */
  readonly statuses: ReadonlyMap<number | 'server' | 'closed', number>
  readonly failures: readonly string[]
}

const DATABASE = 'fuzz'
const AT_ONCE = 8
const COUNTS = `SELECT (SELECT count(*) FROM client_secrets) AS secrets, (SELECT count(*) FROM applications) AS applications,
  (SELECT count(*) FROM events WHERE actor_type <> 'system') AS events`

/** Writes malformed HTTP, and changed requests of real clients, to sockets, and judges what comes back. */
export async function fuzzRaw({
  script,
  wrapper,
  sockets,
  recorded,
  seed,
  onProgress,
}: RawOptions): Promise<RawReport> {
  const bindings = {
    ISSUER: 'http://127.0.0.1:8787',
    SIGNING_KEY: JSON.stringify(await newSigningKey('ES256')),
    MAX_SECRETS_PER_APPLICATION: 100,
  }
  const runtime = await Runtime.start([
    {
      name: 'product',
      script,
      ...(wrapper !== undefined && { wrapper: { 'test/fuzz/planted.js': wrapper } }),
      database: DATABASE,
      bindings,
    },
  ])
  const statuses: Map<number | 'server' | 'closed', number> = new Map()
  const failures: string[] = []
  let sent = 0
  const origin = runtime.url('product')
  const count = (status: number | 'server' | 'closed') => statuses.set(status, (statuses.get(status) ?? 0) + 1)
  const counts = async () => (await runtime.database(DATABASE).prepare(COUNTS).first<Counts>()) as Counts
  const send = async (request: RawRequest, { known, path }: { known: readonly string[]; path: string }) => {
    const bytes = await exchange(origin, request)
    sent++
    onProgress?.(sent)
    const problems = known.filter((one) => bytes.includes(one.slice(4, 40))).map(() => 'it repeats a credential')
    const responses = responsesIn(bytes)
    if (responses.length === 0) count('closed')
    for (const [i, response] of responses.entries()) {
      // The HTTP server refuses some bytes by itself. It adds none of Oncekey's headers.
      const isOwn = response.headers.has('X-Request-ID')
      count(isOwn ? response.status : 'server')
      if (isOwn) problems.push(...judge(i === 0 ? path : '', response, { known, canary: NO_CANARY }))
    }
    if (problems.length > 0)
      throw new Error(`${problems.join(', ')}: ${shown(request)} → ${bytes.toString('latin1').slice(0, 500)}`)
    return responses
  }
  // A planted fault needs no smallest form.
  const endOnFailure = wrapper !== undefined
  const check = async <T>(numRuns: number, arbitrary: fc.Arbitrary<T>, predicate: (value: T) => Promise<void>) => {
    const result = await fc.check(fc.asyncProperty(arbitrary, predicate), { seed, numRuns, endOnFailure })
    if (result.failed) failures.push(`${result.errorInstance} { seed: ${seed}, path: "${result.counterexamplePath}" }`)
  }
  try {
    const world = await newWorld(runtime)
    const raw = rawWorldOf(world)
    const judged = { known: world.known, path: raw.path }
    const batches = Math.ceil(sockets / AT_ONCE)
    await check(batches, fc.array(malformed(raw), { minLength: AT_ONCE, maxLength: AT_ONCE }), async (batch) => {
      const before = await counts()
      await Promise.all(batch.map((request) => send(request, judged)))
      const after = await counts()
      if (JSON.stringify(after) !== JSON.stringify(before))
        throw new Error(`malformed requests changed something: ${JSON.stringify([before, after])} ${batch.map(shown)}`)
    })
    await check(Math.min(90, Math.ceil(sockets / 20)), wellFormed(raw), async (request) => {
      const before = await counts()
      const [created, ...others] = await send(request, judged)
      if (created?.status !== 201 || others.length > 0) throw new Error(`a good request got ${created?.status}`)
      if ((await counts()).secrets !== before.secrets + 1) throw new Error('a good request created no secret')
    })
    const requests = await record({ origin, apiKey: world.bearer.replace('Bearer ', '') })
    // Keys and sessions are in the requests, and must not come back. The sign-in answers with a new session.
    await check(
      recorded / AT_ONCE,
      fc.array(mutated(requests), { minLength: AT_ONCE, maxLength: AT_ONCE }),
      async (batch) => {
        const before = await counts()
        const replies = await Promise.all(
          batch.map((request) => send(request, { known: world.known, path: pathOf(request) })),
        )
        const isRefused = replies.flat().every(({ status }) => status >= 400)
        const after = await counts()
        if (isRefused && JSON.stringify(after) !== JSON.stringify(before))
          throw new Error(
            `all were refused, and something changed: ${JSON.stringify([before, after])} ${batch.map(shown)}`,
          )
      },
    )
    return { requests: sent, statuses, failures }
  } finally {
    await runtime.stop()
  }
}

interface Counts {
  readonly secrets: number
  readonly applications: number
  readonly events: number
}

const NO_CANARY = `cs_0${'\0'.repeat(49)}`

function rawWorldOf({ origin, bearer, application, secret }: World): RawWorld {
  return { origin, bearer, path: secretsOf(application), victim: secret }
}

/** The path of the request; empty if its Host header is no host, whose text becomes a part of the path. */
function pathOf({ chunks: [bytes] }: RawRequest): string {
  const text = bytes?.toString('latin1') ?? ''
  const host = /^host:\s*(.*?)\s*$/im.exec(text)?.[1] ?? ''
  const target = /^\S+ (\S*)/.exec(text)?.[1] ?? ''
  return /^[\w.:[\]-]*$/.test(host) ? (URL.parse(`http://${host}${target}`)?.pathname ?? '') : ''
}

function shown({ chunks }: RawRequest): string {
  return JSON.stringify(Buffer.concat(chunks).toString('latin1').slice(0, 600))
}
