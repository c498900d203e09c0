import type { Objects } from '../dashboard-paths.ts'
import { newApiKey } from '../operator.ts'
import { copyRow, idsOf, numbers, type Templates } from './data.ts'

/** A full environment whose names are as long as they may be, and as hard to show. */

export const MAX_APPLICATIONS = 10_000
const SECRETS_PER_APPLICATION = 5
const EVENTS_PER_SECRET = 20
const KEYS = 99
const ENDPOINTS = 20
const DELIVERIES_PER_ENDPOINT = 1_000
const ROWS_PER_STATEMENT = 20_000
const DAY_MS = 86_400_000

/** Text that no browser can break, right-to-left text, emoji, characters that HTML makes longer, and markup. */
const NAMES = ['x', 'שרת הדיווח ', '🚀', '"', '<b>&amp;</b>', 'Nightly export of everything, '].map((text) =>
  [...text.repeat(255)].slice(0, 255).join('').trim(),
)

/** The API key that signs in, and objects whose pages are opened. */
export interface Hostile extends Objects {
  readonly apiKey: string
}

/** SQL for a name, which differs from row to row. `length` is in code points. */
const nameSql = (number: string, length = 255) =>
  `substr(${literal(JSON.stringify(NAMES))} ->> ('$[' || (${number} % ${NAMES.length}) || ']'), 1, ${length})`
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

/** Fills a database. The first of each kind of row is made by the Worker at `origin`, and the others are copies. */
export async function seedHostile(
  database: D1Database,
  origin: string,
  applications: number,
  progress: (text: string) => void,
): Promise<Hostile> {
  const { apiKey, environmentId, id: key } = await newApiKey(database)
  const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
  const post = async (path: string, body: object) => {
    const response = await fetch(origin + path, { method: 'POST', headers, body: JSON.stringify(body) })
    if (response.status !== 201) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`)
    return ((await response.json()) as { id: string }).id
  }
  const application = await post('/connect/applications', {
    name: NAMES[2],
    description: 'd'.repeat(1000),
    application_type: 'm2m',
    organization_id: `org_${'Ab1Cd2Ef'.repeat(8)}`,
    scopes: ['s'.repeat(200)],
  })
  const secret = await post(`/connect/applications/${application}/client_secrets`, { name: '🚀'.repeat(100) })
  for (let i = 1; i < SECRETS_PER_APPLICATION; i++)
    await post(`/connect/applications/${application}/client_secrets`, { name: '"'.repeat(100) })
  const now = Date.now()
  const templates = { environmentId, application, secret }
  const created = await database
    .prepare("SELECT id FROM events WHERE type = 'connect_application_secret.created'")
    .first<{ id: string }>()
  const event = created?.id as string
  await copyCallers(database, templates, key, now)
  const endpoint = await addWebhooks(database, templates, event, now)
  const secrets = applications * SECRETS_PER_APPLICATION
  for (const [from, to] of chunks(applications))
    await copyRow(database, 'applications', templates, application, numbers(from, to), {
      id: idsOf('conn_app', 'each.i'),
      client_id: idsOf('client', 'each.i'),
      name: nameSql('each.i'),
      created_at: `${now} - 400 * ${DAY_MS} + each.i`,
    })
  for (const [from, to] of chunks(secrets))
    await copyRow(database, 'client_secrets', templates, secret, numbers(from, to), {
      id: idsOf('secret', 'each.i'),
      application_id: idsOf('conn_app', `each.i / ${SECRETS_PER_APPLICATION}`),
      digest: 'randomblob(32)',
      secret_hint: 'hex(randomblob(3))',
      name: nameSql('each.i', 100),
      created_at: `${now} - (400 - each.i % 300) * ${DAY_MS}`,
      last_used_at: `iif(each.i % 3 = 0, NULL, ${now} - (each.i % 200) * ${DAY_MS})`,
      expires_at: `CASE each.i % 4 WHEN 0 THEN NULL ELSE ${now} + (each.i % 400 - 30) * ${DAY_MS} END`,
      revoked_at: `iif(each.i % 10 = 9, ${now} - ${DAY_MS}, NULL)`,
      disabled_at: `iif(each.i % 10 = 8, ${now} - ${DAY_MS}, NULL)`,
      last_used_agent: "'Agent/' || each.i",
    })
  const events = secrets * EVENTS_PER_SECRET
  for (const [from, to] of chunks(events)) {
    const about = `each.i / ${EVENTS_PER_SECRET}`
    await copyRow(database, 'events', templates, event, numbers(from, to), {
      // An hour earlier, before every event of a request.
      seq: `template.seq - 3600000000 + each.i`,
      id: idsOf('event', 'each.i'),
      data: `json_set(template.data, '$.id', ${idsOf('secret', about)}, '$.name', ${nameSql('each.i', 100)},
        '$.application_id', ${idsOf('conn_app', `${about} / ${SECRETS_PER_APPLICATION}`)})`,
      type: `iif(each.i % 2, template.type, 'connect_application_secret.updated')`,
      caller_name: nameSql('each.i'),
      created_at: `${now} - (${events} - each.i)`,
    })
    progress(`Making ${events.toLocaleString('en')} events: ${Math.round((to / events) * 100)} %`)
  }
  return { apiKey, application, secret, event, endpoint, key }
}

/** The largest lists of API keys and sessions, and the name of the environment. */
async function copyCallers(database: D1Database, templates: Templates, key: string, now: number): Promise<void> {
  const { environmentId } = templates
  await copyRow(database, 'api_keys', templates, key, numbers(0, KEYS), {
    id: idsOf('api_key', 'each.i'),
    name: nameSql('each.i'),
    digest: 'randomblob(32)',
    created_at: `${now} - 400 * ${DAY_MS} + each.i`,
  })
  await database.batch([
    database.prepare('UPDATE environments SET name = ? WHERE id = ?').bind(NAMES[2], environmentId),
    database.prepare('UPDATE api_keys SET name = ? WHERE id = ?').bind(NAMES[3], key),
    database
      .prepare(
        `INSERT INTO sessions (id, environment_id, api_key_id, digest, created_at, last_used_at)
          SELECT replace(id, 'api_key', 'session'), environment_id, id, randomblob(32), ?1, ?1 FROM api_keys
          WHERE environment_id = ?2`,
      )
      .bind(now, environmentId),
  ])
}

/** The largest number of endpoints, each with failed deliveries. Returns the ID of the first one. */
async function addWebhooks(database: D1Database, templates: Templates, event: string, now: number): Promise<string> {
  const { environmentId } = templates
  const url = `https://${'h'.repeat(60)}.example/${'p'.repeat(400)}`
  const [endpoint] = (
    await database
      .prepare(
        `INSERT INTO webhook_endpoints (id, environment_id, url, events, secret, cursor, created_at)
          SELECT ${idsOf('we', 'each.i')}, ?, ? || each.i, '[]', 'whsec_x', 9e15 + 0, ? FROM ${numbers(0, ENDPOINTS).from}
          RETURNING id`,
      )
      .bind(environmentId, url, now)
      .all<{ id: string }>()
  ).results
  await database.batch([
    database
      .prepare(
        `INSERT INTO webhook_deliveries (endpoint_id, event_id, environment_id, state, attempts, next_attempt_at,
          last_outcome, created_at)
          SELECT webhook_endpoints.id, iif(each.i = 0, ?, ${idsOf('event', 'each.i')}), environment_id, 'dead', 12, ?2, '500', ?2 - each.i
          FROM webhook_endpoints, ${numbers(0, DELIVERIES_PER_ENDPOINT).from} WHERE environment_id = ?3`,
      )
      .bind(event, now, environmentId),
  ])
  return endpoint?.id as string
}

function chunks(count: number): (readonly [from: number, to: number])[] {
  return Array.from({ length: Math.ceil(count / ROWS_PER_STATEMENT) }, (_, i) => [
    i * ROWS_PER_STATEMENT,
    Math.min(count, (i + 1) * ROWS_PER_STATEMENT),
  ])
}
