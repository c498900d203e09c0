import { issueCredential } from '../../src/credential/credential.ts'
import { sha256, toHex } from '../../src/credential/digest.ts'
import { type IdPrefix, newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { newApiKey, operatorDatabase } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'

/**
 * An environment with one object of each kind, made by the product once for each region. Every case has a copy, with IDs and
 * credentials of its own: copies of rows do not depend on what columns there are.
 */
export interface World {
  /** IDs, credentials and other values that requests name. */
  readonly values: Readonly<Record<string, string>>
  readonly rows: Rows
}

type Value = string | number | null | readonly number[]
export type Row = Readonly<Record<string, Value>>
/** The rows of an environment, by table. */
export type Rows = Readonly<Record<string, readonly Row[]>>

interface Place {
  readonly database: D1Database
  readonly url: string
  readonly region: string
}

/** The tables with rows of environments. `environments` comes first, because the others refer to it. */
async function tablesOf(database: D1Database): Promise<string[]> {
  const tables = await database
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%environment_id%'")
    .all<{ name: string }>()
  // Sessions refer to API keys, and deliveries to endpoints.
  return ['environments', ...tables.results.map(({ name }) => name).sort()].sort(
    (a, b) => Number(/sessions|deliveries/.test(a)) - Number(/sessions|deliveries/.test(b)),
  )
}

/** Makes a world with the product, and gives what copies it. */
export async function newTemplate(place: Place) {
  const { database, region } = place
  const tables = await tablesOf(database)
  const read = async (environment: string): Promise<Rows> => {
    const results = await database.batch<Row>(
      tables.map((table) =>
        database
          .prepare(`SELECT * FROM ${table} WHERE ${table === 'environments' ? 'id' : 'environment_id'} = ?`)
          .bind(environment),
      ),
    )
    return Object.fromEntries(tables.map((table, i) => [table, results[i]?.results ?? []]))
  }
  const values = await populate(place)
  const original = await read(values.environment as string)
  const columns = await storedColumns(database, tables)

  /** Another world with the same objects. */
  async function copy(): Promise<World> {
    const now = Date.now()
    const replaced = new Map([[`${original.environments?.[0]?.name}`, crypto.randomUUID() as string]])
    const own: Record<string, string> = { ...values }
    for (const [name, prefix] of [
      ['apiKey', 'sk'],
      ['session', 'session'],
      ['plaintext', 'cs'],
      ['disabledPlaintext', 'cs'],
    ] as const) {
      const before = values[name] as string
      const { plaintext, digest, hint } = await issueCredential(prefix, region)
      own[name] = plaintext
      replaced.set(values[`${name}Digest`] as string, toHex(digest))
      if (prefix === 'cs') replaced.set(before.slice(-6), hint)
    }
    const text = JSON.stringify(original)
    // In the same order, which is that of lists.
    const ids = [
      ...new Set(text.match(/\b(env|client|api_key|session|conn_app|secret|event|we)_[0-9A-HJKMNP-TV-Z]{26}/g)),
    ].sort((a, b) => (a.slice(-26) < b.slice(-26) ? -1 : 1))
    for (const [i, id] of ids.entries())
      replaced.set(id, newId(id.slice(0, -27) as IdPrefix, now - ids.length + i, region))
    const pattern = new RegExp([...replaced.keys()].join('|'), 'g')
    const renamed = (value: string) => value.replace(pattern, (found) => replaced.get(found) ?? found)
    for (const [name, value] of Object.entries(own)) if (value === values[name]) own[name] = renamed(value)
    own.hint = (own.plaintext as string).slice(-6)
    await database.batch(
      tables.map((table) => {
        const rows = (original[table] ?? []).map((row) =>
          Object.fromEntries(
            Object.entries(row).map(([name, value]) => [name, copiedValue(value, name, renamed, replaced)]),
          ),
        )
        const names = columns[table] ?? []
        const read = names.map((name) =>
          sourceOf(table, name, original[table]?.some((row) => Array.isArray(row[name])) ?? false),
        )
        return database
          .prepare(`INSERT INTO ${table} (${names.join(', ')}) SELECT ${read.join(', ')} FROM json_each(?)`)
          .bind(JSON.stringify(rows))
      }),
    )
    return { values: own, rows: await read(own.environment as string) }
  }
  return { copy, read: ({ values }: World) => read(values.environment as string) }
}
export type Template = Awaited<ReturnType<typeof newTemplate>>

/** The columns of each table that are not computed. */
async function storedColumns(database: D1Database, tables: readonly string[]): Promise<Record<string, string[]>> {
  const results = await database.batch<{ name: string }>(
    tables.map((table) => database.prepare('SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0').bind(table)),
  )
  return Object.fromEntries(tables.map((table, i) => [table, results[i]?.results.map(({ name }) => name) ?? []]))
}

/** SQL for a column of a copied row. Events are numbered in one order, in which a webhook endpoint is at the end. */
function sourceOf(table: string, name: string, isBlob: boolean): string {
  const newest = '(SELECT coalesce(max(seq), 0) FROM events)'
  if (table === 'events' && name === 'seq') return `${newest} + 1 + key`
  if (table === 'webhook_endpoints' && name === 'cursor') return newest
  return isBlob ? `unhex(value ->> '${name}')` : `value ->> '${name}'`
}

function copiedValue(
  value: Value,
  name: string,
  renamed: (text: string) => string,
  replaced: ReadonlyMap<string, string>,
): string | number | null {
  if (typeof value === 'string') return renamed(value)
  if (!Array.isArray(value)) return value as number | null
  const hex = toHex(new Uint8Array(value))
  // Digests are unique, also of objects that no request uses.
  return replaced.get(hex) ?? (name === 'digest' ? toHex(crypto.getRandomValues(new Uint8Array(32))) : hex)
}

/** Makes the objects, and names them. */
async function populate({ database, url, region }: Place): Promise<Record<string, string>> {
  const { apiKey, environmentId, digest } = await newApiKey(database, { region })
  const readKey = await newApiKey(database, { region, environmentId, access: 'read' })
  const post = async (path: string, body: object = {}, method = 'POST') => {
    const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
    const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? {} : JSON.parse(text)
  }
  const signIn = async () => {
    const headers = { Origin: url, 'Sec-Fetch-Site': 'same-origin' }
    const body = new URLSearchParams({ api_key: apiKey, to: '' })
    const response = await fetch(`${url}/dashboard/sign-in`, { method: 'POST', headers, body, redirect: 'manual' })
    return response.headers.get('Set-Cookie')?.split(';')[0] ?? ''
  }
  const application = await post('/connect/applications', { ...m2mApplication, scopes: ['read'] })
  const second = await post('/connect/applications', { ...m2mApplication, name: 'Second' })
  const expiring = await post(secretsOf(application.id))
  await post(`${secretsOf(application.id)}/rotate`, { grace_period_seconds: 86_400 })
  const disabled = await post(secretsOf(application.id))
  await post(`/connect/client_secrets/${disabled.id}`, { disabled: true }, 'PATCH')
  const revoked = await post(secretsOf(application.id))
  await post(`/connect/client_secrets/${revoked.id}`, {}, 'DELETE')
  const active = await post(secretsOf(application.id))
  const otherCookie = await signIn()
  const cookie = await signIn()
  const sessions = await database
    .prepare('SELECT id, lower(hex(digest)) AS digest FROM sessions WHERE environment_id = ? ORDER BY rowid')
    .bind(environmentId)
    .all<{ id: string; digest: string }>()
  const [other, own] = sessions.results
  if (!other || !own || otherCookie === cookie) throw new Error('the sessions were not made')
  const endpoint = newId('we', Date.now(), region)
  await createWebhookEndpoint(operatorDatabase(database, region), {
    id: endpoint,
    environmentId,
    url: 'https://receiver.example/hooks',
    events: ['connect_application_secret.created', 'api_key.created'],
    secret: (await issueCredential('whsec', region)).plaintext,
    createdAt: Date.now(),
  })
  const event = await database
    .prepare("SELECT id FROM events WHERE environment_id = ? AND type = 'connect_application.created'")
    .bind(environmentId)
    .first<string>('id')
  await database
    .prepare(
      `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at, created_at, settled_at)
       VALUES (?, ?, ?, 'dead', 11, 1, 1, 1)`,
    )
    .bind(endpoint, event, environmentId)
    .run()
  return {
    environment: environmentId,
    application: application.id,
    client: application.client_id,
    second: second.id,
    secret: active.id,
    hint: active.secret_hint,
    expiring: expiring.id,
    disabled: disabled.id,
    key: readKey.id,
    otherSession: other.id,
    endpoint,
    event: event ?? '',
    plaintext: active.secret,
    plaintextDigest: toHex(await sha256(active.secret)),
    disabledPlaintext: disabled.secret,
    disabledPlaintextDigest: toHex(await sha256(disabled.secret)),
    apiKey,
    apiKeyDigest: toHex(digest),
    session: cookie.split('=')[1] ?? '',
    sessionDigest: own.digest,
    cookieName: cookie.split('=')[0] ?? '',
  }
}
