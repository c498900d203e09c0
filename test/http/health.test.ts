import { env } from 'cloudflare:workers'
import { describe, expect, test, vi } from 'vitest'
import { version } from '../../package.json'
import { send } from '../api.ts'
import { advance, stopClock } from '../clock.ts'
import { counted, withBatch } from '../faults/wrapped.ts'

const get = (path: string, bindings: Partial<Env> = {}) => send(new Request(`https://oncekey.test${path}`), bindings)
const broken = withBatch(env.DB, () => {
  throw new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')
})

/** A key whose members are those of a private JWK, and whose modulus is cut off. */
const damaged = JSON.stringify({ ...JSON.parse(`${env.SIGNING_KEY}`), n: 'AQAB' })

test('GET /healthz makes no D1 request', async () => {
  const counter = counted(env.DB)
  expect(await get('/healthz', { DB: counter.database })).toMatchObject({
    status: 200,
    json: { status: 'ok', version },
  })
  expect(counter.trips).toBe(0)
  expect((await get('/healthz', { DB: broken })).status).toBe(200)
})

describe('GET /readyz', () => {
  test('/readyz makes one D1 request, and no other within the next five seconds', async () => {
    stopClock()
    const counter = counted(env.DB)
    const ready = () => get('/readyz', { DB: counter.database })
    const { id } = env.CF_VERSION_METADATA
    expect(await ready()).toMatchObject({ status: 200, json: { status: 'ok', version, version_id: id } })
    for (let i = 0; i < 20; i++) expect((await ready()).status).toBe(200)
    advance(4_999)
    expect((await ready()).status).toBe(200)
    expect(counter.trips).toBe(1)
    advance(1)
    expect((await ready()).status).toBe(200)
    expect(counter.trips).toBe(2)
    vi.useRealTimers()
  })

  test('/readyz returns 503 while the database does not respond, and makes one D1 request for 20 calls', async () => {
    const counter = counted(broken)
    for (let i = 0; i < 20; i++) {
      const { status, headers, json } = await get('/readyz', { DB: counter.database })
      expect({ status, code: json.code }).toEqual({ status: 503, code: 'service_unavailable' })
      expect(headers.get('Retry-After')).toBe('1')
    }
    expect(counter.trips).toBe(1)
  })

  test.each([
    ['has no tables', 'SELECT 1 FROM table_of_a_later_version'],
    ['lacks the newest migration', 'SELECT 1 WHERE false'],
  ])('/readyz returns 503 if the database %s, and names the command to run', async (_, sql) => {
    const DB = withBatch(env.DB, (real) => real([env.DB.prepare(sql)]))
    const { status, json } = await get('/readyz', { DB })
    expect(status).toBe(503)
    expect(json.message).toContain('`npm run migrate`')
    expect(json.message).not.toMatch(/retry|again/i)
  })

  test.each<[string, Partial<Env>, string]>([
    ['a setting is out of its bounds', { ACCESS_TOKEN_TTL_SECONDS: 3 }, 'ACCESS_TOKEN_TTL_SECONDS is 3. It must be'],
    ['the issuer has a trailing slash', { ISSUER: 'https://oncekey.test/' }, 'ISSUER is "https://oncekey.test/".'],
    ['the issuer is not set', { ISSUER: '' }, 'ISSUER is empty.'],
    ['there is no signing key', { SIGNING_KEY: '' }, 'SIGNING_KEY is missing'],
    ['the signing key is malformed', { SIGNING_KEY: 'x' }, 'SIGNING_KEY is missing'],
    ['the signing key is damaged', { SIGNING_KEY: damaged }, 'SIGNING_KEY or PUBLISHED_KEYS has a damaged key: run `'],
    ['the published keys are malformed', { PUBLISHED_KEYS: 'y' }, 'PUBLISHED_KEYS'],
  ])('/readyz returns 503 if %s, and gives the reason without a D1 request', async (_, bindings, words) => {
    const counter = counted(env.DB)
    const { status, json } = await get('/readyz', { ...bindings, DB: counter.database })
    expect([status, counter.trips]).toEqual([503, 0])
    expect(json.message).toContain(words)
  })
})
