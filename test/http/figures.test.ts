import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { counted, withBatch, withMeta } from '../faults/wrapped.ts'
import { secretsOf } from '../requests.ts'

/** The log entry of a request names its place, its caller and the figures of its D1 requests. */

const logged = vi.spyOn(console, 'log').mockImplementation(() => {})

const { apiKey, environmentId, id: apiKeyId } = await newApiKey()
const application = await newApplication(apiKey)
const { secret } = (await call(apiKey, 'POST', secretsOf(application.id))).json
const version = { id: 'aaaaaaaa-0000-4000-8000-000000000000', tag: '', timestamp: '' }

interface Sent {
  readonly init?: RequestInit<RequestInitCfProperties>
  readonly bindings?: Partial<Env>
}

async function entryOf(path: string, { init = {}, bindings = {} }: Sent = {}): Promise<Record<string, unknown>> {
  logged.mockClear()
  const context = createExecutionContext()
  await app.fetch(new Request(`https://oncekey.test${path}`, init), { ...env, ...bindings }, context)
  await waitOnExecutionContext(context)
  expect(logged).toHaveBeenCalledTimes(1)
  return logged.mock.calls[0]?.[0]
}

const list = (bindings: Partial<Env> = {}) =>
  entryOf('/connect/applications', { init: { headers: { Authorization: `Bearer ${apiKey}` } }, bindings })
const create = (bindings: Partial<Env> = {}) =>
  entryOf('/connect/applications', {
    init: {
      method: 'POST',
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(m2mApplication),
    },
    bindings,
  })
const token = (clientSecret: string, bindings: Partial<Env> = {}) => {
  const body = { grant_type: 'client_credentials', client_id: application.client_id, client_secret: clientSecret }
  return entryOf('/oauth2/token', { init: { method: 'POST', body: new URLSearchParams(body) }, bindings })
}

describe('the log entry of a request', () => {
  test('the log entry of a request has the location and the version of the Worker, if the platform gives them', async () => {
    const at = (cf: object, bindings: Partial<Env>) =>
      entryOf('/healthz', { init: { cf } as RequestInit<RequestInitCfProperties>, bindings })
    expect(await at({ colo: 'FRA' }, { CF_VERSION_METADATA: version })).toMatchObject({
      colo: 'FRA',
      version: version.id,
    })
    const { CF_VERSION_METADATA: _, ...unversioned } = env
    logged.mockClear()
    await app.request('https://oncekey.test/healthz', {}, unversioned)
    for (const name of ['colo', 'version']) expect(logged.mock.calls[0]?.[0]).not.toHaveProperty(name)
  })

  test('the log entry of a management call has the region, the environment and the API key', async () => {
    expect(await list()).toMatchObject({ region: '0', environment_id: environmentId, api_key_id: apiKeyId })
  })

  test('the log entry of a token request has the region, the environment and the client, even if the secret is another client’s', async () => {
    const client = { region: '0', environment_id: environmentId, client_id: application.client_id }
    expect(await token(secret)).toMatchObject({ status: 200, ...client })
    const other = await newApplication(apiKey)
    const { secret: foreign } = (await call(apiKey, 'POST', secretsOf(other.id))).json
    expect(await token(foreign)).toMatchObject({ status: 401, reason: 'client_mismatch', ...client })
  })

  test('the log entry of a request with an unknown credential has no environment', async () => {
    const unknown = (await issueCredential('cs', '0')).plaintext
    const entry = await token(unknown)
    expect(entry).toMatchObject({ status: 401, reason: 'secret_unknown', region: '0', d1_requests: 1 })
    expect(entry).not.toHaveProperty('environment_id')
  })
})

describe('the D1 metrics in a log entry', () => {
  test.each([
    ['a read', list],
    ['a write', create],
    ['a token', (bindings: Partial<Env>) => token(secret, bindings)],
  ])('the D1 metrics of %s are the rows and the times that D1 reported for the one D1 request', async (_, send) => {
    await send({})
    const counter = counted(env.DB)
    const entry = await send({ DB: counter.database })
    expect(entry).toMatchObject({
      d1_requests: 1,
      d1_attempts: 1,
      d1_rows_read: counter.rowsRead,
      d1_rows_written: counter.rowsWritten,
      d1_ms: expect.any(Number),
      d1_sql_ms: expect.any(Number),
    })
    expect(counter.rowsRead).toBeGreaterThan(0)
  })

  test('the D1 metrics leave out the D1 requests after the response', async () => {
    const { apiKey } = await newApiKey()
    const counter = counted(env.DB)
    const init = { headers: { Authorization: `Bearer ${apiKey}` } }
    const entry = await entryOf('/events', { init, bindings: { DB: counter.database } })
    expect(counter.trips, 'the list, and the first use of the key').toBe(2)
    expect(entry).toMatchObject({ d1_requests: 1, d1_rows_written: 0 })
  })

  test('the D1 metrics have the location of the database, the number of attempts that D1 made, and the time of the SQL', async () => {
    const meta = { served_by_region: 'WEUR', total_attempts: 3, timings: { sql_duration_ms: 0.1234567 } }
    const entry = await list({ DB: withMeta(env.DB, meta) })
    expect(entry).toMatchObject({ d1_region: 'WEUR', d1_attempts: 3, d1_requests: 1 })
    expect(String(entry.d1_sql_ms)).toMatch(/^\d\.\d{1,3}$/)
  })

  test('the D1 metrics include D1 requests that the Worker repeats', async () => {
    let batches = 0
    const flaky = withBatch(env.DB, (real, statements) =>
      batches++ === 0 ? Promise.reject(new Error('D1_ERROR: Network connection lost.')) : real(statements),
    )
    expect(await create({ DB: flaky })).toMatchObject({
      status: 201,
      d1_requests: 2,
      d1_rows_written: expect.any(Number),
    })
  })

  test('the D1 metrics have only the number of requests and the time if D1 does not respond', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const DB = withBatch(env.DB, () => Promise.reject(new Error('D1_ERROR: D1 DB is overloaded.')))
    const entry = await list({ DB })
    expect(entry).toMatchObject({ status: 503, error: 'service_unavailable', region: '0', d1_requests: 1 })
    expect(Object.keys(entry).filter((name) => name.startsWith('d1_'))).toEqual(['d1_requests', 'd1_ms'])
  })

  test('the D1 metrics leave out values that D1 does not report, and the request still succeeds', async () => {
    const silent = withBatch(env.DB, async (real, statements) => {
      const results = await real(statements)
      return results.map(({ results }) => ({ results }))
    })
    const entry = await list({ DB: silent })
    expect(entry).toMatchObject({ status: 200, d1_requests: 1 })
    expect(Object.keys(entry).filter((name) => name.startsWith('d1_'))).toEqual(['d1_requests', 'd1_ms'])
  })

  test.each(['/healthz', '/oauth2/jwks', '/nothing'])(
    'the D1 metrics are absent for %s, which makes no D1 request',
    async (path) => {
      const entry = await entryOf(path)
      expect(Object.keys(entry).filter((name) => name === 'region' || name.startsWith('d1_'))).toEqual([])
    },
  )

  test('the D1 metrics are absent if the credential is malformed', async () => {
    const entry = await entryOf('/events', { init: { headers: { Authorization: 'Bearer sk_0malformed' } } })
    expect(Object.keys(entry).filter((name) => name === 'region' || name.startsWith('d1_'))).toEqual([])
  })
})
