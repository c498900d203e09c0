import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { cleanUp } from '../../src/storage/cleanup.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'
import { operatorDatabase } from '../operator.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const EVENT_RETENTION_DAYS = 365

const run = (now: number, binding = env.DB) => cleanUp(operatorDatabase(binding), now, EVENT_RETENTION_DAYS)

const count = async (table: string, where = 'true') =>
  (await env.DB.prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).first<{ n: number }>())?.n

async function newSecret(body = {}, headers = {}) {
  const { apiKey } = await newApiKey()
  const { id: application } = await newApplication(apiKey)
  const { json } = await call(apiKey, 'POST', `/connect/applications/${application}/client_secrets`, { body, headers })
  return { apiKey, application, id: json.id as string }
}

describe('cleanup', () => {
  test('notes an expiry as an event, once', async () => {
    const expiresAt = Date.now() + 60_000
    const { id } = await newSecret({ expires_at: new Date(expiresAt).toISOString() })
    expect((await run(expiresAt - 1)).expiries_recorded).toBe(0)
    expect((await run(expiresAt)).expiries_recorded).toBe(1)
    expect((await run(expiresAt + 1)).expiries_recorded).toBe(0)
    const { results } = await env.DB.prepare(
      `SELECT * FROM events WHERE type = 'connect_application_secret.expired'`,
    ).all()
    expect(results).toMatchObject([{ caller_id: null, created_at: expiresAt }])
    expect(JSON.parse(results[0]?.data as string)).toMatchObject({ id, expires_at: expiresAt })
  })

  test('forgets a keyed request past its hour, and no sooner', async () => {
    await newSecret({}, { 'Idempotency-Key': 'k' })
    const now = Date.now()
    await run(now)
    expect(await count('idempotency_records')).toBe(1)
    await run(now + 60 * 60 * 1000)
    expect(await count('idempotency_records')).toBe(0)
  })

  test('removes what was revoked or deleted after 90 days, secrets before their application', async () => {
    const { apiKey, application, id } = await newSecret()
    await call(apiKey, 'DELETE', `/connect/applications/${application}`)
    const deletedAt = Date.now()
    await run(deletedAt + 89 * DAY_MS)
    expect(await count('client_secrets', `id = '${id}'`)).toBe(1)
    expect((await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)).status).toBe(204)
    await run(deletedAt + 91 * DAY_MS)
    expect(await count('client_secrets', `id = '${id}'`)).toBe(0)
    expect(await count('applications', `id = '${application}'`)).toBe(0)
    expect((await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)).status).toBe(404)
  })

  test('removes a secret 90 days after it expired, and never a live one', async () => {
    const expiresAt = Date.now() + 60_000
    const expiring = await newSecret({ expires_at: new Date(expiresAt).toISOString() })
    const living = await newSecret()
    await run(expiresAt)
    await run(expiresAt + 91 * DAY_MS)
    expect(await count('client_secrets', `id = '${expiring.id}'`)).toBe(0)
    expect(await count('client_secrets', `id = '${living.id}'`)).toBe(1)
  })

  test('removes events past their retention, oldest first', async () => {
    await newSecret()
    const created = () => count('events', `type LIKE '%created'`)
    const before = await created()
    await run(Date.now() + (EVENT_RETENTION_DAYS - 1) * DAY_MS)
    expect(await created()).toBe(before)
    await run(Date.now() + (EVENT_RETENTION_DAYS + 1) * DAY_MS)
    expect(await count('events')).toBe(0)
  })

  test('a step that fails keeps no other, and is done next time', async () => {
    await newSecret({}, { 'Idempotency-Key': 'k2' })
    const later = Date.now() + 60 * 60 * 1000
    let calls = 0
    const DB = withBatch(env.DB, (real, statements) => {
      if (++calls === 2) throw new Error('D1_ERROR: anything')
      return real(statements)
    })
    const done = await run(later, DB)
    expect(done.idempotency_records_removed).toBe('failed')
    expect(done.events_removed).toBe(0)
    expect((await run(later)).idempotency_records_removed).toBe(1)
  })

  test('a step takes a bounded number of rows', async () => {
    const { environmentId } = await newApiKey()
    const rows = Array.from({ length: 1200 }, (_, i) =>
      env.DB.prepare(
        `INSERT INTO idempotency_records (digest, environment_id, request_digest, salt, secret_prefix, event_id, created_at)
         VALUES (randomblob(32), ?, randomblob(32), randomblob(32), 'cs', 'event', ?)`,
      ).bind(environmentId, i),
    )
    await env.DB.batch(rows)
    expect((await run(Date.now())).idempotency_records_removed).toBe(500)
    expect((await run(Date.now())).idempotency_records_removed).toBe(500)
    expect((await run(Date.now())).idempotency_records_removed).toBe(200)
  })
})
