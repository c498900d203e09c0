import { Agent, request as httpRequest } from 'node:http'
import fc from 'fast-check'
import { issueCredential } from '../../src/credential/credential.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { Runtime } from '../bench/runtime.ts'
import { newApiKey } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { type FuzzRequest, fuzzRequest, type Placeholder } from './grammar.ts'
import { type FuzzResponse, judge } from './oracle.ts'

interface RunOptions {
  readonly script: string
  readonly requests: number
  readonly seed: number
  /** The path that a failure printed beside its seed: sends those requests again. */
  readonly path?: string
  readonly onProgress?: (requests: number) => void
}

export interface FuzzReport {
  readonly requests: number
  /** How many responses had each status. */
  readonly statuses: ReadonlyMap<number, number>
  /** The smallest requests that break a rule, with the rule; null if there is none. */
  readonly failure: string | null
}

const DATABASE = 'fuzz'
const RUNS_PER_WORLD = 10
/** Requests that are sent at once, after which the rows are compared. */
const AT_ONCE = 10
/** Of the two environments that the requests know: a count of all rows would take longer with each environment. */
const COUNTS = `SELECT (SELECT count(*) FROM applications WHERE environment_id IN (?1, ?2)) AS applications,
  count(*) AS secrets, sum(revoked_at IS NOT NULL) AS revoked FROM client_secrets WHERE environment_id IN (?1, ?2)`

/** Sends random requests, and judges every response. A failure is reduced to the requests that it needs. */
export async function fuzz({ script, requests, seed, path, onProgress }: RunOptions): Promise<FuzzReport> {
  const bindings = { ISSUER: 'http://127.0.0.1:8787', SIGNING_KEY: JSON.stringify(await newSigningKey('ES256')) }
  const runtime = await Runtime.start([{ name: 'product', script, database: DATABASE, bindings }])
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const statuses = new Map<number, number>()
  let sent = 0
  try {
    let world = await newWorld(runtime)
    let runs = 0
    const counts = async () =>
      JSON.stringify(
        await runtime
          .database(DATABASE)
          .prepare(COUNTS)
          .bind(...world.environments)
          .first(),
      )
    const property = fc.asyncProperty(
      fc.array(fuzzRequest, { minLength: 1, maxLength: AT_ONCE, size: 'max' }),
      async (batch) => {
        // Earlier requests may have deleted the application, or ended the session.
        if (++runs % RUNS_PER_WORLD === 0) world = await newWorld(runtime)
        const before = await counts()
        const replies = await Promise.all(
          batch.map(async (template) => {
            const canary = (await issueCredential('cs', '0')).plaintext
            const request = withValues(template, world, canary)
            const response = await send(agent, runtime.url('product'), request)
            statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
            const problems = judge(request.path, response, { known: world.known, canary })
            if (problems.length > 0)
              throw new Error(
                `${problems.join(', ')}: ${JSON.stringify(request)} → ${response.status} ${response.text.slice(0, 500)}`,
              )
            return response
          }),
        )
        if (replies.every(({ status }) => status >= 400)) {
          const after = await counts()
          if (after !== before) throw new Error(`all were refused, and something changed: ${before} → ${after}`)
        }
        sent += batch.length
        onProgress?.(sent)
      },
    )
    const numRuns = Math.ceil(requests / (AT_ONCE / 2))
    const result = await fc.check(property, { seed, numRuns, ...(path !== undefined && { path }) })
    return {
      requests: sent,
      statuses,
      failure: result.failed ? `${result.errorInstance}\n${fc.defaultReportMessage(result)}` : null,
    }
  } finally {
    agent.destroy()
    await runtime.stop()
  }
}

export type World = Readonly<
  Record<Placeholder | 'bearer' | 'reader' | 'basic' | 'wrongBasic' | 'cookie' | 'origin', string>
> & {
  readonly known: readonly string[]
  readonly environments: readonly [string, string]
}

/** An environment with an application, its secrets and a session, and another environment with the same. */
export async function newWorld(runtime: Runtime): Promise<World> {
  const database = runtime.database(DATABASE)
  const url = runtime.url('product')
  const mine = await newTenant(database, url)
  const other = await newTenant(database, url)
  const reader = (await newApiKey(database, { access: 'read', environmentId: mine.environmentId })).apiKey
  const signedIn = await fetch(`${url}/dashboard/sign-in`, {
    method: 'POST',
    headers: { Origin: url, 'Sec-Fetch-Site': 'same-origin' },
    body: new URLSearchParams({ api_key: mine.apiKey, to: '' }),
    redirect: 'manual',
  })
  const cookie = signedIn.headers.get('Set-Cookie')?.split(';')[0] ?? ''
  const [event] = (await database.prepare('SELECT id FROM events LIMIT 1').all<{ id: string }>()).results
  return {
    application: mine.application.id,
    client: mine.application.client_id,
    secret: mine.secret.id,
    event: event?.id ?? '',
    foreignApplication: other.application.id,
    foreignSecret: other.secret.id,
    unknownApplication: 'conn_app_01ARZ3NDEK0TSV4RRFFQ69G5FAV',
    unknownSecret: 'secret_01ARZ3NDEK0TSV4RRFFQ69G5FAV',
    otherRegion: 'secret_01ARZ3NDEK9TSV4RRFFQ69G5FAV',
    plaintext: mine.secret.secret,
    canary: '',
    bearer: `Bearer ${mine.apiKey}`,
    reader: `Bearer ${reader}`,
    basic: `Basic ${btoa(`${mine.application.client_id}:${mine.secret.secret}`)}`,
    wrongBasic: `Basic ${btoa(`${mine.application.client_id}:${other.secret.secret}`)}`,
    cookie,
    origin: url,
    environments: [mine.environmentId, other.environmentId],
    known: [mine.apiKey, other.apiKey, reader, cookie.split('=')[1] ?? '', mine.secret.secret, other.secret.secret],
  }
}

async function newTenant(database: D1Database, url: string) {
  const { apiKey, environmentId } = await newApiKey(database)
  const post = async (path: string, body: object) => {
    const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
    return (await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })).json()
  }
  const application = (await post('/connect/applications', m2mApplication)) as { id: string; client_id: string }
  const secret = (await post(secretsOf(application.id), {})) as { id: string; secret: string }
  return { apiKey, environmentId, application, secret }
}

/** The request with the values of the run in place of `{…}`. */
function withValues({ method, path, query, headers, body }: FuzzRequest, world: World, canary: string): FuzzRequest {
  const { known: _, environments: __, ...named } = world
  const values = new Map<string, string>(Object.entries({ ...named, canary }))
  const fill = (value: string) => value.replace(/\{(\w+)\}/g, (whole, name: string) => values.get(name) ?? whole)
  const search = new URLSearchParams(query.map(([name, value]) => [name, fill(value).toWellFormed()])).toString()
  return {
    method,
    path: fill(path) + (search && `?${search}`),
    query: [],
    headers: {
      ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, fill(value)])),
      ...address(),
    },
    body: body === null ? null : fill(body).replaceAll(encodeURIComponent('{canary}'), canary),
  }
}

/** An address of its own, so that the limit on failures does not answer in place of the route. */
function address(): Record<string, string> {
  const [a = 0, b = 0, c = 0] = crypto.getRandomValues(new Uint8Array(3))
  return { 'CF-Connecting-IP': `10.${a}.${b}.${c}` }
}

function send(agent: Agent, url: string, { method, path, headers, body }: FuzzRequest): Promise<FuzzResponse> {
  return new Promise((resolve, reject) => {
    // Node frames the body of a GET only if its length is given.
    const framed = body === null ? headers : { ...headers, 'Content-Length': String(Buffer.byteLength(body)) }
    const request = httpRequest(url + path, { agent, method, headers: framed }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const pairs = Object.entries(response.headersDistinct).flatMap(([name, values = []]) =>
          values.map((value): [string, string] => [name, value]),
        )
        resolve({
          status: response.statusCode ?? 0,
          headers: new Headers(pairs),
          text: Buffer.concat(chunks).toString(),
        })
      })
    })
    request.on('error', reject)
    request.end(body ?? undefined)
  })
}
