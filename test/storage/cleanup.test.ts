import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { CLEANUP_QUERIES_PER_PASS, cleanUp } from '../../src/storage/cleanup.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { counted, failingAt, withBatch } from '../faults/wrapped.ts'
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
  test('cleanup records one event for each expiry', async () => {
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

  test('cleanup removes the record of an Idempotency-Key after an hour, and no sooner', async () => {
    await newSecret({}, { 'Idempotency-Key': 'k' })
    const now = Date.now()
    await run(now)
    expect(await count('idempotency_records')).toBe(1)
    await run(now + 60 * 60 * 1000)
    expect(await count('idempotency_records')).toBe(0)
  })

  test('cleanup removes a deleted application and its secrets 90 days after the deletion', async () => {
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

  test('cleanup removes a secret 90 days after its expiry, and never an active secret', async () => {
    const expiresAt = Date.now() + 60_000
    const expiring = await newSecret({ expires_at: new Date(expiresAt).toISOString() })
    const living = await newSecret()
    await run(expiresAt)
    await run(expiresAt + 91 * DAY_MS)
    expect(await count('client_secrets', `id = '${expiring.id}'`)).toBe(0)
    expect(await count('client_secrets', `id = '${living.id}'`)).toBe(1)
  })

  test('cleanup removes events after their retention period, and no sooner', async () => {
    await newSecret()
    const created = () => count('events', `type LIKE '%created'`)
    const before = await created()
    await run(Date.now() + (EVENT_RETENTION_DAYS - 1) * DAY_MS)
    expect(await created()).toBe(before)
    await run(Date.now() + (EVENT_RETENTION_DAYS + 1) * DAY_MS)
    expect(await count('events')).toBe(0)
  })

  test('if one step of cleanup fails, the other steps still run, and the next run repeats the failed step', async () => {
    await newSecret({}, { 'Idempotency-Key': 'k2' })
    const later = Date.now() + 60 * 60 * 1000
    const { database } = failingAt(env.DB, /^DELETE FROM idempotency_records/, new Error('D1_ERROR: anything'))
    const report = await run(later, database)
    expect(report.idempotency_records_removed).toBe('failed')
    expect(report.events_removed).toBe(0)
    expect((await run(later)).idempotency_records_removed).toBe(1)
  })

  /** Adds records that are past their hour. */
  async function addStaleRecords(count: number) {
    const { environmentId } = await newApiKey()
    const rows = Array.from({ length: count }, (_, i) =>
      env.DB.prepare(
        `INSERT INTO idempotency_records (digest, environment_id, request_digest, salt, secret_prefix, event_id, created_at)
         VALUES (randomblob(32), ?, randomblob(32), randomblob(32), 'cs', 'event', ?)`,
      ).bind(environmentId, i),
    )
    await env.DB.batch(rows)
  }

  test('a run of cleanup repeats its bounded batches until no stale record of an Idempotency-Key is left', async () => {
    await addStaleRecords(1200)
    const counter = counted(env.DB)
    expect((await run(Date.now(), counter.database)).idempotency_records_removed).toBe(1200)
    expect(counter.trips).toBe(3)
    expect(await count('idempotency_records')).toBe(0)
  })

  test('a run of cleanup makes at least one pass, and as many more as its limit of D1 statements allows', async () => {
    await addStaleRecords(1200)
    for (const [maxQueries, left] of [
      [1, 700],
      [28, 0],
    ] as const) {
      const counter = counted(env.DB)
      await cleanUp(operatorDatabase(counter.database), Date.now(), EVENT_RETENTION_DAYS, maxQueries)
      expect(await count('idempotency_records')).toBe(left)
      expect(counter.statements).toBeLessThanOrEqual(Math.max(maxQueries, CLEANUP_QUERIES_PER_PASS))
    }
  })

  test('a run of cleanup ends at its deadline, and the next run continues', async () => {
    await addStaleRecords(1200)
    const database = operatorDatabase(
      withBatch(env.DB, async (real, statements) => {
        const results = await real(statements)
        vi.useFakeTimers({ toFake: ['Date'], now: database.deadline })
        return results
      }),
    )
    expect((await cleanUp(database, Date.now(), EVENT_RETENTION_DAYS)).idempotency_records_removed).toBe(500)
    vi.useRealTimers()
    expect((await run(Date.now())).idempotency_records_removed).toBe(700)
  })

  test('a run of cleanup with nothing to do makes one D1 request, and reads no additional rows if there are more secrets', async () => {
    const idle = async () => {
      const counter = counted(env.DB)
      const report = await run(Date.now(), counter.database)
      expect(Object.values(report)).toEqual(Object.values(report).map(() => 0))
      expect(counter.trips).toBe(1)
      return counter.rowsRead
    }
    await run(Date.now())
    const before = await idle()
    const expiring = await newSecret({ expires_at: new Date(Date.now() + 60_000).toISOString() })
    for (let i = 0; i < 20; i++) {
      await newSecret({ expires_at: new Date(Date.now() + 60_000).toISOString() }, { 'Idempotency-Key': 'k' })
    }
    await call(expiring.apiKey, 'DELETE', `/connect/applications/${expiring.application}`)
    expect(await idle()).toBe(before)
    expect(before).toBeLessThan(60)
  })
})
