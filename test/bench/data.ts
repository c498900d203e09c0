import { issueCredential } from '../../src/credential/credential.ts'
import { toHex } from '../../src/credential/digest.ts'
import { newApiKey } from '../operator.ts'

/** An application that requests are about, with the one client secret that it has. */
export interface BenchApplication {
  readonly id: string
  readonly clientId: string
  readonly secretId: string
  readonly plaintext: string
}

/** The data that the requests of a run use. */
export interface Data {
  readonly apiKey: string
  readonly applications: readonly BenchApplication[]
  /** Undoes the changes of a round, so that every round finds the same rows: secrets used just now, or never. */
  readonly restore: (secrets: { readonly isFirstUse: boolean }) => Promise<void>
}

interface SeedOptions {
  /** Of the database. */
  readonly region?: string
  /** How many applications the requests have to choose from. */
  readonly applications: number
  /** How many secrets there are besides, five to an application, each with the event of its creation. */
  readonly others?: number
  readonly progress?: (done: number) => void
}

/** SQL for the rows that a template is copied for, named `each`. */
interface Each {
  readonly from: string
  readonly values: readonly string[]
}

const ROWS_PER_STATEMENT = 20_000

/**
 * Fills a database. The first application, secret and event are made by the Worker at `origin`; all others are copies of
 * these rows, so that they have whatever the schema asks for.
 */
export async function seed(database: D1Database, origin: string, options: SeedOptions): Promise<Data> {
  const { region = '0' } = options
  const { apiKey, environmentId } = await newApiKey(database, { region })
  const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
  const post = async (path: string, body: object) => {
    const response = await fetch(origin + path, { method: 'POST', headers, body: JSON.stringify(body) })
    if (response.status !== 201) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`)
    return ((await response.json()) as { id: string }).id
  }
  const application = await post('/connect/applications', {
    name: 'Nightly export',
    application_type: 'm2m',
    organization_id: 'org_01HZBENCH',
    scopes: ['reports:read', 'reports:write'],
  })
  const secret = await post(`/connect/applications/${application}/client_secrets`, {})
  const applications = await Promise.all(
    Array.from({ length: options.applications }, (_, i) => newApplication(i, region)),
  )
  const templates = { environmentId, application, secret }
  await copyApplications(database, templates, applications)
  await addOthers(database, templates, options)
  return {
    apiKey,
    applications: applications.map(({ digest: _, ...application }) => application),
    restore: await restorer(database, environmentId, secret),
  }
}

/** `restore` removes the rows that are not in the database now, and resets the changes of requests to their secrets. */
async function restorer(database: D1Database, environmentId: string, newestSecret: string): Promise<Data['restore']> {
  const columns = (await columnsOf(database, 'client_secrets')).join(', ')
  await run(
    database,
    `CREATE TABLE bench_secrets AS SELECT ${columns} FROM client_secrets WHERE application_id LIKE 'conn_app_${SEEDED}P%'`,
  )
  const newest = await database.prepare('SELECT max(seq) AS seq FROM events').first<{ seq: number }>()
  const ofEnvironment = `environment_id = '${environmentId}'`
  const restoring = [
    'DELETE FROM idempotency_records',
    `DELETE FROM events WHERE seq > ${newest?.seq}`,
    `DELETE FROM client_secrets WHERE ${ofEnvironment} AND id > '${newestSecret}'`,
    `INSERT OR REPLACE INTO client_secrets (${columns}) SELECT ${columns} FROM bench_secrets`,
  ]
  const use = `UPDATE client_secrets SET last_used_at = unixepoch() * 1000
    WHERE ${ofEnvironment} AND id IN (SELECT id FROM bench_secrets)`
  return async ({ isFirstUse }) => {
    const statements = isFirstUse ? restoring : [...restoring, use]
    await database.batch(statements.map((sql) => database.prepare(sql)))
  }
}

/** Ids of old: ten symbols of time, of which these are the first, the region, and fifteen more. */
const SEEDED = '01'

async function newApplication(number: number, region: string): Promise<BenchApplication & { digest: string }> {
  const { plaintext, digest } = await issueCredential('cs', region)
  const ulid = `${SEEDED}P${number.toString().padStart(7, '0')}${region}AAAAAAAAAAAAAAA`
  const ids = { id: `conn_app_${ulid}`, clientId: `client_${ulid}`, secretId: `secret_${ulid}` }
  return { ...ids, plaintext, digest: toHex(digest) }
}

/** The rows that are copied. */
export interface Templates {
  readonly environmentId: string
  readonly application: string
  readonly secret: string
}

async function copyApplications(database: D1Database, templates: Templates, applications: readonly BenchApplication[]) {
  const each = { from: 'json_each(?) AS each', values: [JSON.stringify(applications)] }
  const field = (name: string) => `each.value ->> '${name}'`
  await copyRow(database, 'applications', templates, templates.application, each, {
    id: field('id'),
    client_id: field('clientId'),
    created_at: 'template.created_at - 1 - each.key',
  })
  await copyRow(database, 'client_secrets', templates, templates.secret, each, {
    id: field('secretId'),
    application_id: field('id'),
    digest: `unhex(${field('digest')})`,
    secret_hint: `substr(${field('plaintext')}, -6)`,
  })
}

async function addOthers(database: D1Database, templates: Templates, { others = 0, progress }: SeedOptions) {
  const event = await database
    .prepare("SELECT id FROM events WHERE type = 'connect_application_secret.created'")
    .first<{ id: string }>()
  for (let from = 0; from < others; from += ROWS_PER_STATEMENT) {
    const to = Math.min(from + ROWS_PER_STATEMENT, others)
    await copyRow(database, 'applications', templates, templates.application, numbers(from, to, 5), {
      id: idsOf('conn_app', 'each.i'),
      client_id: idsOf('client', 'each.i'),
      created_at: 'template.created_at - 1000000000 + each.i',
    })
    await copyRow(database, 'client_secrets', templates, templates.secret, numbers(from, to), {
      id: idsOf('secret', 'each.i'),
      application_id: idsOf('conn_app', 'each.i / 5 * 5'),
      digest: 'randomblob(32)',
      secret_hint: 'hex(randomblob(3))',
    })
    await copyRow(database, 'events', templates, event?.id as string, numbers(from, to), {
      seq: 'NULL',
      id: idsOf('event', 'each.i'),
      data: `json_set(template.data, '$.id', ${idsOf('secret', 'each.i')})`,
    })
    progress?.(to)
  }
}

export function numbers(from: number, to: number, step = 1): Each {
  const next = `i + ${step}`
  const all = `WITH RECURSIVE numbers (i) AS (SELECT ${from} UNION ALL SELECT ${next} FROM numbers WHERE ${next} < ${to})`
  return { from: `(${all} SELECT i FROM numbers) AS each`, values: [] }
}

/** SQL for the ID of a copy. */
export const idsOf = (prefix: string, number: string) =>
  `'${prefix}_${SEEDED}' || printf('%08X', ${number}) || '0BBBBBBBBBBBBBBB'`

/** Copies a row once for each row of `each`, with some columns set by SQL. */
export async function copyRow(
  database: D1Database,
  table: string,
  { environmentId }: Templates,
  id: string,
  each: Each,
  set: Record<string, string>,
) {
  const columns = await columnsOf(database, table)
  const copied = columns.map((name) => set[name] ?? `template.${name}`)
  await run(
    database,
    `INSERT INTO ${table} (${columns.join(', ')}) SELECT ${copied.join(', ')}
      FROM ${table} AS template, ${each.from} WHERE template.environment_id = '${environmentId}' AND template.id = '${id}'`,
    each.values,
  )
}

/** The columns of a table that can be written. */
async function columnsOf(database: D1Database, table: string): Promise<string[]> {
  const { results } = await database.prepare(`SELECT name FROM pragma_table_info('${table}')`).all<{ name: string }>()
  return results.map(({ name }) => name)
}

async function run(database: D1Database, sql: string, values: readonly string[] = []): Promise<void> {
  await database.batch([database.prepare(sql).bind(...values)])
}
