import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { newSigningKey } from '../../src/credential/signing-key.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { Runtime } from '../bench/runtime.ts'
import { contentsOf, FORMS, LeakScanner } from '../conformance/leak-scanner.ts'
import { newApiKey, operatorDatabase } from '../operator.ts'
import { randomFrom } from '../random.ts'
import { m2mApplication, secretsOf } from '../requests.ts'

interface Options {
  readonly script: string
  readonly secrets: number
  readonly seed: number
  readonly onProgress?: (issued: number) => void
}

interface PlaintextReport {
  /** How many secrets each way of creating one has issued. */
  readonly issued: Readonly<Record<Way, number>>
  /** The size of each medium in bytes. */
  readonly media: Readonly<Record<string, number>>
  /** A sentence for each plaintext that was found, and for each planted one that was not. */
  readonly problems: readonly string[]
}

type Way = 'create' | 'create with Idempotency-Key' | 'rotation' | 'dashboard'

const DATABASE = 'plaintext'
const SECRETS_PER_APPLICATION = 100
const AT_ONCE = 8
/** An application in this many has a webhook endpoint, whose deliveries cost as much as the creation. */
const WITH_WEBHOOKS = 20
/** Pages and exports of an environment are read after each application, so that a large one would take most of the time. */
const APPLICATIONS_PER_ENVIRONMENT = 20
/** Bytes of each form that are looked for, from its middle: 64 random bits or more, but for UTF-16 (47). */
const WINDOW = 16

/** Issues client secrets in every way, and looks for their plaintexts in every medium. */
export async function findPlaintexts({ script, secrets, seed, onProgress }: Options): Promise<PlaintextReport> {
  const media = new Map<string, Buffer[]>()
  const add = (medium: string, bytes: Buffer) => {
    const parts = media.get(medium)
    if (parts) parts.push(bytes)
    else media.set(medium, [bytes])
  }
  const receiver = createServer(async (request, response) => {
    add('webhooks', Buffer.concat([Buffer.from(request.rawHeaders.join('\n')), await buffer(request)]))
    response.end()
  })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const bindings = {
    ISSUER: 'http://127.0.0.1:8787',
    SIGNING_KEY: JSON.stringify(await newSigningKey('ES256')),
    MAX_SECRETS_PER_APPLICATION: SECRETS_PER_APPLICATION,
    REQUEST_BUDGET_MS: 30_000,
    WEBHOOKS_TO_LOCALHOST: 'true',
  }
  const runtime = await Runtime.start([{ name: 'product', script, database: DATABASE, bindings }], {
    onOutput: (chunk) => add('log', chunk),
  })
  try {
    const database = runtime.database(DATABASE)
    const applications = Math.ceil(secrets / SECRETS_PER_APPLICATION)
    const watched = await newOwner(database, runtime.url('product'))
    const owners: Owner[] = []
    for (let i = 0; i < applications; i += APPLICATIONS_PER_ENVIRONMENT)
      owners.push(await newOwner(database, runtime.url('product')))
    await createWebhookEndpoint(operatorDatabase(database), {
      id: newId('we', Date.now(), '0'),
      environmentId: watched.environmentId,
      url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
      events: [],
      secret: 'whsec',
      createdAt: Date.now(),
    })
    const random = randomFrom(seed)
    const issued: Record<Way, number> = { create: 0, 'create with Idempotency-Key': 0, rotation: 0, dashboard: 0 }
    const plaintexts: string[] = [watched, ...owners].map(({ apiKey }) => apiKey)
    let next = 0
    const work = async () => {
      for (let i = next++; i < applications; i = next++) {
        const caller = i % WITH_WEBHOOKS === 0 ? watched : (owners[i % owners.length] as Owner)
        const count = Math.min(SECRETS_PER_APPLICATION, secrets - i * SECRETS_PER_APPLICATION)
        for (const body of await fill(caller, count, random, (way, plaintext) => {
          issued[way]++
          plaintexts.push(plaintext)
        }))
          add('responses', body)
        onProgress?.(plaintexts.length)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))

    // A plaintext that is not refused as one: in base64 as a name, and in the request ID of a client.
    const { plaintext: canary } = await issueCredential('cs', '0')
    const hidden = Buffer.from(canary).toString('base64').slice(24, 46)
    for (const caller of [watched, ...owners]) {
      const { json } = await caller.send('POST', '/connect/applications', { ...m2mApplication, name: hidden }, hidden)
      add('responses', Buffer.from(JSON.stringify(json)))
      // A removed row stays in free pages.
      await caller.send('DELETE', `/connect/applications/${json.id}`)
    }
    await runtime.runSchedule('product')
    for (const caller of [watched, ...owners]) for (const body of await caller.readEvents()) add('events', body)
    for (const [name, bytes] of await runtime.files()) add(mediumOf(name), bytes)

    const problems = search(media, plaintexts, canary, (await issueCredential('cs', '0')).plaintext)
    const sizes = [...media].map(([name, parts]) => [name, parts.reduce((sum, { length }) => sum + length, 0)])
    return { issued, media: Object.fromEntries(sizes), problems }
  } finally {
    receiver.closeAllConnections()
    receiver.close()
    await runtime.stop()
  }
}

/** The media that have what the Worker writes, so that the canary must be in them. */
const CARRIERS = ['responses', 'events', 'webhooks', 'log', 'database']

/** The medium of a file: the database with its write-ahead log, or another file, such as those of the cache. */
function mediumOf(file: string): string {
  return /D1DatabaseObject\/[0-9a-f]{64}\.sqlite(-wal)?$/.test(file) ? 'database' : 'other files'
}

/** A sentence for each plaintext that a medium has, and for each planted one that was not found. */
function search(media: ReadonlyMap<string, Buffer[]>, plaintexts: readonly string[], canary: string, planted: string) {
  const scanner = new LeakScanner()
  for (const credential of [...plaintexts, canary, planted]) {
    const { text } = contentsOf(credential)
    for (const form of Object.values(FORMS)) scanner.addBytes(middle(form(text)), credential)
  }
  const problems: string[] = []
  for (const name of new Set([...CARRIERS, ...media.keys()])) {
    const bytes = Buffer.concat(media.get(name) ?? [])
    const found = scanner.scan(bytes)
    if (found.delete(canary) !== CARRIERS.includes(name))
      problems.push(`${name}: the canary is ${CARRIERS.includes(name) ? 'missing' : 'there'}`)
    for (const credential of found) problems.push(`${name} contains ${credential.slice(0, 12)}…`)
    // In a copy of the end of each medium.
    for (const [form, encode] of Object.entries(FORMS)) {
      const copy = Buffer.concat([bytes.subarray(-1000), encode(contentsOf(planted).text), bytes.subarray(-1000)])
      if (!scanner.scan(copy).has(planted)) problems.push(`${name}: the planted plaintext is not found as ${form}`)
    }
  }
  return problems
}

function middle(bytes: Buffer): Buffer {
  const start = (bytes.length - WINDOW) >> 1
  return bytes.subarray(start, start + WINDOW)
}

interface Answer {
  readonly bytes: Buffer
  // biome-ignore lint/suspicious/noExplicitAny: bodies of different routes.
  readonly json: any
}

interface Owner {
  readonly apiKey: string
  readonly environmentId: string
  readonly send: (method: string, path: string, body?: object, idOrKey?: string) => Promise<Answer>
  readonly page: (path: string, fields?: Record<string, string>) => Promise<string>
  readonly readEvents: () => Promise<Buffer[]>
}

async function newOwner(database: D1Database, url: string): Promise<Owner> {
  const { apiKey, environmentId } = await newApiKey(database)
  const expectOk = async (response: Response) => {
    const bytes = Buffer.from(await response.arrayBuffer())
    if (!response.ok && response.status !== 303) throw new Error(`${response.url}: ${response.status} ${bytes}`)
    return bytes
  }
  const send: Owner['send'] = async (method, path, body, idOrKey) => {
    const bytes = await expectOk(
      await fetch(url + path, {
        method,
        headers: {
          Authorization: `Bearer ${apiKey}`,
          'Content-Type': 'application/json',
          ...(idOrKey && { 'Idempotency-Key': idOrKey, 'X-Request-ID': idOrKey }),
        },
        ...(body && { body: JSON.stringify(body) }),
      }),
    )
    return { bytes, json: bytes.length > 0 && bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : null }
  }
  const browser = { Origin: url, 'Sec-Fetch-Site': 'same-origin', Accept: 'text/html,application/xhtml+xml' }
  const signedIn = await fetch(`${url}/dashboard/sign-in`, {
    method: 'POST',
    headers: browser,
    body: new URLSearchParams({ api_key: apiKey, to: '' }),
    redirect: 'manual',
  })
  const Cookie = signedIn.headers.get('Set-Cookie')?.split(';')[0] ?? ''
  const page: Owner['page'] = async (path, fields) => {
    const response = await fetch(url + path, {
      headers: { ...browser, Cookie },
      redirect: 'manual',
      ...(fields && { method: 'POST', body: new URLSearchParams(fields) }),
    })
    return (await expectOk(response)).toString()
  }
  const readEvents = async () => {
    const pages: Buffer[] = []
    for (let after: string | null = ''; after !== null; ) {
      const { bytes, json } = await send('GET', `/events?limit=100${after && `&after=${after}`}`)
      pages.push(bytes)
      after = json.list_metadata.after
    }
    pages.push(Buffer.from(await page('/dashboard/events')), Buffer.from(await page('/dashboard/events/export-csv')))
    return pages
  }
  return { apiKey, environmentId, send, page, readEvents }
}

/** Creates secrets in every way, uses some, and gives every response that must not have a plaintext. */
async function fill(
  { send, page }: Owner,
  count: number,
  random: () => number,
  onIssued: (way: Way, plaintext: string) => void,
): Promise<Buffer[]> {
  const { json: application } = await send('POST', '/connect/applications', m2mApplication)
  const path = secretsOf(application.id)
  const inDashboard = `/dashboard/applications/${application.id}`
  let last = ''
  let lastId = ''
  for (let i = 0; i < count; i++) {
    const choice = random()
    if (choice < 0.1) {
      const form = await page(`${inDashboard}/new-secret`)
      const hidden = [...form.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g)]
      const fields = Object.fromEntries(hidden.map(([, name, value]) => [name, value]))
      const shown = await page(`${inDashboard}/new-secret`, { ...fields, name: '', lifetime: '0' })
      last = /cs_0[0-9A-Za-z]{49}/.exec(shown)?.[0] ?? ''
      if (!last) throw new Error(`no secret in ${shown.slice(0, 500)}`)
      onIssued('dashboard', last)
      continue
    }
    const isRotation = choice < 0.15
    const key = choice < 0.55 ? crypto.randomUUID() : undefined
    const body = isRotation ? { grace_period_seconds: 0 } : {}
    const { json } = await send('POST', isRotation ? `${path}/rotate` : path, body, key)
    last = json.secret
    lastId = json.id
    onIssued(isRotation ? 'rotation' : key ? 'create with Idempotency-Key' : 'create', last)
  }
  const others: Buffer[] = []
  const read = async (at: string) => others.push((await send('GET', at)).bytes)
  await read(path)
  if (lastId) await read(`/connect/client_secrets/${lastId}`)
  await read(`/connect/client_secrets?application_id=${application.id}&limit=100`)
  await read(`/connect/client_secrets?hint=${last.slice(-6)}`)
  others.push((await send('POST', '/connect/client_secrets/verify', { client_secret: last })).bytes)
  for (const at of [inDashboard, '/dashboard', '/dashboard/secrets', '/dashboard/events', '/dashboard/secrets/export'])
    others.push(Buffer.from(await page(at)))
  return others
}
