import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { version } from '../../package.json'
import { send } from '../api.ts'
import { counted, withBatch } from '../faults/wrapped.ts'

const get = (path: string, bindings: Partial<Env> = {}) => send(new Request(`https://oncekey.test${path}`), bindings)
const broken = withBatch(env.DB, () => {
  throw new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')
})

test('GET /healthz asks nobody', async () => {
  const counter = counted(env.DB)
  expect(await get('/healthz', { DB: counter.database })).toMatchObject({
    status: 200,
    json: { status: 'ok', version },
  })
  expect(counter.trips).toBe(0)
  expect((await get('/healthz', { DB: broken })).status).toBe(200)
})

test('GET /readyz asks storage, in one trip', async () => {
  const counter = counted(env.DB)
  expect(await get('/readyz', { DB: counter.database })).toMatchObject({ status: 200, json: { status: 'ok', version } })
  expect(counter.trips).toBe(1)
})

test('GET /readyz is 503 when storage does not answer', async () => {
  const { status, headers, json } = await get('/readyz', { DB: broken })
  expect({ status, code: json.code }).toEqual({ status: 503, code: 'service_unavailable' })
  expect(headers.get('Retry-After')).toBe('1')
})

test.each([
  ['has no tables', 'SELECT 1 FROM table_of_a_later_version'],
  ['lacks the newest migration', 'SELECT 1 WHERE false'],
])('GET /readyz is 503 when the database %s, and says what to run', async (_, sql) => {
  const DB = withBatch(env.DB, (real) => real([env.DB.prepare(sql)]))
  const { status, json } = await get('/readyz', { DB })
  expect(status).toBe(503)
  expect(json.message).toContain('`npm run migrate`')
})
