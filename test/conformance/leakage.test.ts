import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { sha256 } from '../../src/credential/digest.ts'
import { newApiKey } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { size } from '../sizes.ts'
import { contentsOf, FORMS, LeakScanner } from './leak-scanner.ts'

const APPLICATIONS = size(10, 100)
const SECRETS_PER_APPLICATION = size(20, 100)
/** Applications of which one secret is used, and sent where it does not belong. */
const USED = size(2, 10)

const served = await serve({
  vars: { MAX_SECRETS_PER_APPLICATION: SECRETS_PER_APPLICATION, REQUEST_BUDGET_MS: 30_000 },
  tokens: 'RS256',
  rateLimits: false,
})
const { origins, database } = served
const { apiKey } = await newApiKey(database)

const JSON_TYPE = { 'Content-Type': 'application/json' }
const FORM_TYPE = { 'Content-Type': 'application/x-www-form-urlencoded' }

const issued = new Set<string>()
/** Request IDs that the log must contain. */
const requestIds = new Set<string>()

interface Application {
  readonly clientId: string
  /** Of its secrets. */
  readonly path: string
}

async function call(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
  const response = await served.fetch(`${origins[0]}${path}`, {
    method,
    headers: { ...(!path.startsWith('/oauth2/') && { Authorization: `Bearer ${apiKey}` }), ...JSON_TYPE, ...headers },
    ...(body !== undefined && { body }),
  })
  requestIds.add(response.headers.get('X-Request-ID') ?? '')
  return { status: response.status, text: await response.text() }
}

async function newApplication(headers: Record<string, string> = {}, name = 'Nightly'): Promise<Application> {
  const body = JSON.stringify({ ...m2mApplication, name })
  const { id, client_id } = JSON.parse((await call('POST', '/connect/applications', headers, body)).text)
  return { clientId: client_id, path: secretsOf(id) }
}

/** Creates as many secrets as an application may have, every other one with an Idempotency-Key, some of those twice. */
async function fill({ path }: Application): Promise<string> {
  let last = ''
  for (let i = 0; i < SECRETS_PER_APPLICATION; i++) {
    const headers: Record<string, string> = i % 2 ? { 'Idempotency-Key': crypto.randomUUID() } : {}
    const { status, text } = await call('POST', path, headers, '{}')
    expect(status, text).toBe(201)
    last = JSON.parse(text).secret
    issued.add(last)
    if (i % 20 === 1) expect((await call('POST', path, headers, '{}')).text).toBe(text)
  }
  expect((await call('POST', path, {}, '{}')).status).toBe(422)
  return last
}

/** Uses a secret, and sends it wherever a caller may send it by mistake. */
async function use(secret: string, { path, clientId }: Application): Promise<void> {
  const basic = { Authorization: `Basic ${btoa(`${clientId}:${secret}`)}` }
  const verification = JSON.stringify({ client_secret: secret })
  const misplaced = JSON.stringify({
    name: secret,
    organization_id: secret,
    application_type: secret,
    scopes: [secret],
  })
  const inForm = `grant_type=client_credentials&client_id=${clientId}&client_secret=${secret}`
  const requests: [number, ...Parameters<typeof call>][] = [
    [200, 'POST', '/connect/client_secrets/verify', {}, verification],
    [200, 'POST', '/oauth2/token', { ...basic, ...FORM_TYPE }, 'grant_type=client_credentials'],
    [200, 'POST', '/oauth2/token', FORM_TYPE, inForm],
    [200, 'POST', '/oauth2/introspection', { ...basic, ...FORM_TYPE }, `token=${secret}`],
    [400, 'POST', '/oauth2/token', { ...basic, ...FORM_TYPE }, inForm],
    [401, 'POST', '/oauth2/token', FORM_TYPE, `${inForm}x`],
    [401, 'POST', `/oauth2/token?${inForm}`, FORM_TYPE, 'grant_type=client_credentials'],
    [400, 'POST', '/oauth2/token', {}, misplaced],
    [405, 'GET', `/oauth2/token?${inForm}`],
    [401, 'GET', path, { Authorization: `Bearer ${secret}` }],
    [401, 'GET', path, basic],
    [404, 'GET', `/connect/applications/${secret}`],
    [404, 'DELETE', `/connect/client_secrets/${secret.replace('_', '%5F')}`],
    [404, 'GET', `/no/such/route/${secret}?client_secret=${secret}`],
    [200, 'GET', `${path}?client_secret=${secret}`, { 'X-Request-ID': secret }],
    [405, 'PUT', `${path}?client_secret=${secret}`, {}, misplaced],
    [422, 'GET', `/connect/applications?after=${secret}`],
    [422, 'POST', '/connect/applications', {}, misplaced],
    [400, 'POST', '/connect/applications', {}, misplaced.slice(1)],
    [415, 'POST', '/connect/applications', { 'Content-Type': 'text/plain' }, misplaced],
    [422, 'POST', path, { 'Idempotency-Key': secret }, '{}'],
    [422, 'POST', path, { 'Idempotency-Key': `${secret} ${secret}` }, '{}'],
  ]
  for (const [status, ...request] of requests) {
    const reply = await call(...request)
    expect(reply.status, `${request.join(' ')} → ${reply.text}`).toBe(status)
  }
}

/** Every file at rest by its name, and the output of the runtime. */
async function readPlaces(): Promise<Record<string, Buffer>> {
  const names = await readdir(served.directory, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const places = await Promise.all(files.map(async (file) => [file, await readFile(file)] as const))
  return { ...Object.fromEntries(places), output: served.output() }
}

/** The files of the application's own database. */
function databaseFiles(places: Record<string, Buffer>): { main: string; all: string[] } {
  const main = Object.keys(places).find((name) => /D1DatabaseObject.[0-9a-f]{64}\.sqlite$/.test(name)) ?? ''
  return {
    main,
    all: Object.keys(places)
      .filter((name) => main && name.startsWith(main))
      .sort(),
  }
}

/** Finds the digest of each secret and the ID of each request: proof that the scanner reads what the Worker writes. */
async function expectRows(places: Record<string, Buffer>, files: string[]): Promise<void> {
  const digests = new LeakScanner()
  for (const secret of issued) digests.addBytes(Buffer.from(await sha256(secret)), secret)
  const stored = files.flatMap((name) => [...digests.scan(places[name] as Buffer)])
  expect(new Set(stored)).toEqual(issued)
  const requests = new LeakScanner()
  for (const id of requestIds) requests.addBytes(Buffer.from(id), id)
  expect(requests.scan(places.output as Buffer)).toEqual(requestIds)
}

/** One canary for each form of each content, and the bytes that would reveal it. */
async function plant(scanner: LeakScanner): Promise<Map<string, Buffer>> {
  const canaries = new Map<string, Buffer>()
  for (const content of ['text', 'entropy'] as const) {
    for (const [form, encode] of Object.entries(FORMS)) {
      const { plaintext } = await issueCredential('cs', '0')
      const label = `${content} in ${form}`
      scanner.addCredential(plaintext, label)
      const bytes = contentsOf(plaintext)[content]
      const [, encoding, shift = '0'] = /^(base64|base64url) (\d)$/.exec(form) ?? []
      const around = Buffer.concat([randomBytes(Number(shift)), bytes, randomBytes(7)])
      canaries.set(label, encoding ? Buffer.from(around.toString(encoding as 'base64')) : encode(bytes))
    }
  }
  return canaries
}

test(`no database file and no log has one of ${APPLICATIONS * SECRETS_PER_APPLICATION} secrets or their API key, in any common encoding`, async () => {
  await Promise.all(
    Array.from({ length: APPLICATIONS }, async (_, i) => {
      const application = await newApplication()
      const secret = await fill(application)
      if (i < USED) await use(secret, application)
    }),
  )
  expect(issued.size).toBe(APPLICATIONS * SECRETS_PER_APPLICATION)
  // The scan must find a canary in the log and in the database: the caller's request ID and the name, here without the prefix.
  const canary = (await issueCredential('cs', '0')).plaintext
  const entropy = contentsOf(canary).entropy.toString('base64url')
  await newApplication({ 'X-Request-ID': entropy.slice(0, 39) }, entropy)

  const scanner = new LeakScanner()
  for (const secret of issued) scanner.addCredential(secret)
  scanner.addCredential(apiKey, 'API key')
  scanner.addCredential(canary, 'canary')
  const canaries = await plant(scanner)

  const running = await readPlaces()
  const { main, all } = databaseFiles(running)
  expect(all).toEqual([main, `${main}-shm`, `${main}-wal`])
  await expectRows(running, all)
  await served.stop()
  const checkpointed = new DatabaseSync(main)
  checkpointed.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  checkpointed.close()
  const stopped = await readPlaces()
  await expectRows(stopped, [main])

  for (const [places, files] of [
    [running, all],
    [stopped, [main]],
  ] as const) {
    const found = new Map(Object.entries(places).map(([name, bytes]) => [name, [...scanner.scan(bytes)]]))
    expect(found.get('output')).toEqual(['canary'])
    expect(files.flatMap((name) => found.get(name) ?? [])).toContain('canary')
    expect(new Set([...found.values()].flat())).toEqual(new Set(['canary']))
  }
  for (const name of [...all, 'output']) {
    const planted = Buffer.from(running[name] as Buffer)
    const distance = Math.floor(planted.length / canaries.size)
    for (const [i, bytes] of [...canaries.values()].entries()) bytes.copy(planted, i * distance)
    expect([...scanner.scan(planted)], name).toEqual(expect.arrayContaining([...canaries.keys()]))
  }
})
