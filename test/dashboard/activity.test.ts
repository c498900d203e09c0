import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { MAX_SEARCHED } from '../../src/storage/activity.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { Visitor } from './pages.ts'

const EVENTS = '/dashboard/events'
const HOUR_MS = 3_600_000

const owner = new Visitor()
const stranger = new Visitor()
let apiKey: string
let apiKeyId: string
let otherKeyId: string
let environmentId: string
let application: { id: string; client_id: string }
let secret: { id: string; secret_hint: string }

beforeAll(async () => {
  const key = await newApiKey()
  apiKey = key.apiKey
  apiKeyId = key.id
  environmentId = key.environmentId
  await env.DB.prepare("UPDATE api_keys SET name = 'pipeline' WHERE id = ?").bind(apiKeyId).run()
  const other = await newApiKey({ environmentId })
  otherKeyId = other.id
  await owner.signIn(other.apiKey)
  await stranger.signIn((await newApiKey()).apiKey)
  application = await newApplication(apiKey, {
    name: 'Nightly export',
    application_type: 'm2m',
    organization_id: 'org_1',
  })
  secret = (
    await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`, { body: { name: 'ci' } })
  ).json
  await call(apiKey, 'PATCH', `/connect/client_secrets/${secret.id}`, { body: { name: 'production' } })
  await call(apiKey, 'PATCH', `/connect/client_secrets/${secret.id}`, { body: { disabled: true } })
  await call(apiKey, 'PUT', `/connect/applications/${application.id}`, { body: { name: 'Weekly export' } })
})

/** The text of each row of the table. */
async function rowsOf(path: string): Promise<string[]> {
  const { html } = await owner.get(path)
  const body = /<tbody.*<\/tbody>/s.exec(html)?.[0] ?? ''
  return body
    .split('</tr>')
    .slice(0, -1)
    .map((row) => row.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' '))
}

describe('the activity list', () => {
  test('the activity list names targets, applications and actors, and says what changed and when', async () => {
    const rows = await rowsOf(EVENTS)
    const now = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })
    expect(rows[0]).toMatch(
      /Application changed .*Name: Nightly export → Weekly export Weekly export API key \u2068pipeline\u2069 /,
    )
    expect(rows[0]).toContain(`${now.format(Date.now())}, `)
    expect(rows[0]).toContain(' UTC ')
    expect(rows[1]).toMatch(/Secret disabled .*State: Enabled → Disabled/)
    expect(rows[2]).toMatch(/Secret renamed .*Name: ci → production/)
    expect(rows[3]).toContain(`ci …${secret.secret_hint} in Weekly export`)
    expect(rows.some((row) => row.includes('Signed in'))).toBe(true)
  })

  test('the activity list links to the pages of the secret, the application and the event', async () => {
    const { html } = await owner.get(EVENTS)
    expect(html).toContain(`href="/dashboard/secrets/${secret.id}"`)
    expect(html).toContain(`href="/dashboard/applications/${application.id}"`)
    expect(html).toMatch(/href="\/dashboard\/events\/event_\w{26}"/)
  })

  test('the activity list can be filtered by actor, target, type and date, and its URL contains the filter', async () => {
    const today = new Date().toISOString().slice(0, 10)
    for (const [filter, count] of [
      [{ actor: apiKeyId }, 5],
      [{ actor: otherKeyId }, 1],
      [{ actor: 'operator' }, 0],
      [{ target: secret.id }, 3],
      [{ target: `…${secret.secret_hint}` }, 3],
      [{ target: application.id }, 5],
      [{ target: application.client_id }, 2],
      [{ target: 'Weekly export' }, 1],
      [{ target: 'org_1' }, 5],
      [{ type: 'connect_application_secret.updated' }, 2],
      [{ type: 'connect_application_secret.updated', target: 'production', actor: apiKeyId }, 2],
      [{ actor: apiKeyId, from: today }, 5],
      [{ actor: apiKeyId, to: today }, 5],
      [{ to: '2020-01-01' }, 0],
    ] as const) {
      const { headers, trips } = await owner.post(EVENTS, filter)
      expect(trips).toBe(0)
      const path = headers.get('Location') ?? ''
      expect(await rowsOf(path), path).toHaveLength(count)
      expect((await stranger.get(path)).html).not.toContain(`/dashboard/secrets/${secret.id}`)
    }
  })

  test.each(['type=nothing&from=400', 'actor=constructor', 'to=2026-99-99', 'type=%3Cscript%3E', 'type=__proto__'])(
    'the activity list ignores the unknown filter values %s',
    async (query) => {
      expect(await rowsOf(`${EVENTS}?${query}`)).toHaveLength(6)
    },
  )

  test('the activity list redirects to its first page if the cursor is unknown', async () => {
    expect((await owner.get(`${EVENTS}?after=nothing`)).headers.get('Location')).toBe(EVENTS)
  })

  test('the activity list puts only the hint of a pasted secret, its last 6 characters, into the URL', async () => {
    const { json } = await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)
    const { headers } = await owner.post(EVENTS, { target: json.secret })
    expect(headers.get('Location')).toBe(`${EVENTS}?target=${json.secret_hint}`)
    await call(apiKey, 'DELETE', `/connect/client_secrets/${json.id}`)
  })

  test('the activity list has a page for each event, with the state before and after, and the request ID', async () => {
    const renamed = await owner.get(`${EVENTS}?target=${secret.id}`)
    const id = [...renamed.html.matchAll(/events\/(event_\w{26})"/g)].map(([, id]) => id)[1]
    const { html } = await owner.get(`${EVENTS}/${id}`)
    expect(html).toContain('<h1>Secret renamed</h1>')
    expect(html).toMatch(/<del><bdi>ci<\/bdi><\/del> →\s+<ins><bdi>production<\/bdi><\/ins>/)
    const requestId = await env.DB.prepare('SELECT request_id FROM events WHERE id = ?').bind(id).first('request_id')
    expect(html).toContain(`<code id="request-id">${requestId}</code>`)
    expect((await stranger.get(`${EVENTS}/${id}`)).status).toBe(404)
    expect((await owner.get(`${EVENTS}/event_01M8CCWS760E9HRR92JMHVCQDS`)).status).toBe(404)
  })
})

test('an activity page full of names of maximum length has less than 60 KB', async () => {
  const key = await newApiKey()
  const visitor = new Visitor()
  await visitor.signIn(key.apiKey)
  await env.DB.prepare(
    `INSERT INTO events (seq, id, environment_id, type, data, actor_type, caller_id, caller_name, address, country, created_at)
    SELECT (SELECT max(seq) FROM events) + 1 + value, 'event_long' || value, ?1, 'connect_application.created',
      json_object('id', 'conn_app_01M8CCWS760E9HRR92JMHVCQDS', 'name', ?2), 'api_key', ?3, ?2, '2001:db8::1', 'US', ?4
    FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 60) SELECT value FROM n)`,
  )
    .bind(key.environmentId, 'x'.repeat(255), key.id, Date.now())
    .run()
  const { html } = await visitor.get(EVENTS)
  expect(html).toContain(`${'x'.repeat(39)}…`)
  expect(html).not.toContain('x'.repeat(40))
  expect(new TextEncoder().encode(html).length).toBeLessThan(60_000)
})

describe('the export of events', () => {
  test('the export of events has the filtered events as CSV, and escapes a name that a spreadsheet would run as a formula', async () => {
    const name = '=HYPERLINK("https://evil.example","x")'
    await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`, { body: { name } })
    const path = `${EVENTS}/export-csv?${new URLSearchParams({ target: name })}`
    const { html, headers, trips } = await owner.get(path)
    expect(trips).toBe(1)
    expect(headers.get('Content-Type')).toBe('text/csv; charset=UTF-8')
    expect(headers.get('Content-Disposition')).toBe('attachment; filename="events.csv"')
    const [header = '', row = '', ...rest] = html.split('\r\n')
    expect(rest).toEqual([''])
    expect(header).toMatch(/^"time","event","description","changes","target_name","target_id","secret_hint"/)
    expect(row).toContain('"\'=HYPERLINK(""https://evil.example"",""x"")"')
    expect(row).toContain('"pipeline"')
    expect((await stranger.get(path)).html.split('\r\n')).toHaveLength(2)
  })

  test('the export of events has the filtered events as JSON, in the shape of the API', async () => {
    const { html, headers } = await owner.get(`${EVENTS}/export-json?target=${secret.id}`)
    expect(headers.get('Content-Type')).toBe('application/json; charset=UTF-8')
    const events = JSON.parse(html)
    expect(events).toHaveLength(3)
    const { json } = await call(apiKey, 'GET', '/events?limit=100&order=desc')
    for (const event of events) expect(json.data).toContainEqual(event)
  })
})

describe('a search that reaches the maximum number of events', () => {
  test('a search that reaches the maximum number of events says how many were searched, and links to the rest', async () => {
    const key = await newApiKey()
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    const row = `INSERT INTO events (seq, id, environment_id, type, data, actor_type, caller_id, caller_name, created_at)
      SELECT (SELECT max(seq) FROM events) + 1 + value, 'event_' || printf('%026d', value), ?, 'session.created',
      json_object('object', 'session', 'id', 'x'), 'system', NULL, NULL, ?
      FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < ?) SELECT value FROM n)`
    await env.DB.prepare(row)
      .bind(key.environmentId, Date.now() - HOUR_MS, MAX_SEARCHED)
      .run()
    const first = await visitor.get(`${EVENTS}?actor=${key.id}`)
    expect(first.html).toContain('No matching events so far')
    expect(first.html).toContain('Searched 2,000 events')
    const older = /href="([^"]*after=[^"]*)"/.exec(first.html)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const second = await visitor.get(older)
    expect(second.html).toContain('Signed in')
    expect(second.html).not.toContain('Searched')
    // The file searches as many, and says in its name that it may lack events.
    const file = async (query: string) =>
      (await visitor.get(`${EVENTS}/${query}`)).headers.get('Content-Disposition')?.split('"')[1]
    expect(await file(`export-csv?actor=${key.id}`)).toBe('events-first-0.csv')
    expect(await file(`export-json?actor=${key.id}`)).toBe('events-first-0.json')
    expect(await file('export-csv')).toBe('events-first-1000.csv')
  })
})
