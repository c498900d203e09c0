import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { call, newApiKey, newApplication } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'
import { secretsOf } from '../requests.ts'
import { eventsOf } from './events-of.ts'

let mine: Awaited<ReturnType<typeof newApiKey>>
let application: Awaited<ReturnType<typeof newApplication>>
beforeEach(async () => {
  mine = await newApiKey()
  application = await newApplication(mine.apiKey)
})

const path = (id = application.id) => secretsOf(id)
const create = (body?: unknown, bindings: Partial<Env> = {}) => call(mine.apiKey, 'POST', path(), { body, bindings })
const list = async (id?: string) => (await call(mine.apiKey, 'GET', path(id))).json
const revoke = (id: string) => call(mine.apiKey, 'DELETE', `/connect/client_secrets/${id}`)
const idsOf = (secrets: { id: string }[]) => secrets.map(({ id }) => id)
const rowOf = (id: string) =>
  env.DB.prepare('SELECT * FROM client_secrets WHERE id = ?').bind(id).first<Record<string, unknown>>()
const edit = (id: string, set: string, ...values: unknown[]) =>
  env.DB.prepare(`UPDATE client_secrets SET ${set} WHERE id = ?`)
    .bind(...values, id)
    .run()

describe('the list of secrets', () => {
  test('the list of secrets is a bare array, which is empty for an application without secrets', async () => {
    expect((await call(mine.apiKey, 'GET', path())).text).toBe('[]')
  })

  test('the list of secrets is complete, oldest first and then by ID, even if the query asks for a page', async () => {
    const made = await Promise.all(Array.from({ length: 12 }, () => create({}, { MAX_SECRETS_PER_APPLICATION: 100 })))
    const moments = [3, 1, 2, 2, 2, 1, 3, 2, 1, 2, 2, 4]
    for (const [i, { json }] of made.entries()) await edit(json.id, 'created_at = ?', moments[i])
    const expected = made
      .map(({ json }, i) => ({ id: json.id as string, moment: moments[i] as number }))
      .toSorted((a, b) => a.moment - b.moment || (a.id < b.id ? -1 : 1))
    expect(idsOf(await list())).toEqual(idsOf(expected))
    for (const query of ['?limit=1', '?order=desc', `?after=${expected[3]?.id}`, '?x=y']) {
      expect(idsOf((await call(mine.apiKey, 'GET', `${path()}${query}`)).json)).toEqual(idsOf(expected))
    }
  })

  test('the list of secrets has only secrets of its application', async () => {
    const other = await newApplication(mine.apiKey)
    const [a, b] = [await create(), await call(mine.apiKey, 'POST', path(other.id))]
    expect([idsOf(await list()), idsOf(await list(other.id))]).toEqual([[a.json.id], [b.json.id]])
  })

  test('the list of secrets has active and disabled secrets, and no revoked or expired secrets', async () => {
    const [kept, revoked, expired, disabled, expiring] = await Promise.all(Array.from({ length: 5 }, () => create()))
    await revoke(revoked?.json.id)
    await edit(expired?.json.id, 'expires_at = ?', Date.now() - 1)
    await edit(disabled?.json.id, 'disabled_at = ?', Date.now())
    await edit(expiring?.json.id, 'expires_at = ?', Date.now() + 60_000)
    const secrets = await list()
    expect(idsOf(secrets).toSorted()).toEqual([kept, disabled, expiring].map((reply) => reply?.json.id).toSorted())
    expect(secrets.find(({ id }: { id: string }) => id === disabled?.json.id).disabled).toBe(true)
  })

  test('each secret in the list has its last_used_at', async () => {
    const [a, b] = [(await create()).json, (await create()).json]
    await edit(a.id, 'last_used_at = ?', 1_700_000_000_123)
    const used = Object.fromEntries(
      (await list()).map((secret: { id: string; last_used_at: string }) => [secret.id, secret.last_used_at]),
    )
    expect(used).toEqual({ [a.id]: '2023-11-14T22:13:20.123Z', [b.id]: null })
  })

  test('the list of 100 secrets reads fewer than 500 rows, even if the application has 10,000 revoked secrets', async () => {
    const columns =
      'id, environment_id, application_id, digest, secret_hint, created_at, updated_at, event_id, revoked_at'
    const insert = (prefix: string, count: number, revokedAt: string) =>
      env.DB.prepare(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO client_secrets (${columns}) SELECT ? || i, ?, ?, randomblob(32), 'abcdef', i, i, 'event_x', ${revokedAt} FROM n`,
      ).bind(count, `secret_${application.id}_${prefix}`, mine.environmentId, application.id)
    await env.DB.batch([insert('r', 10_000, 'i'), insert('l', 100, 'NULL')])
    let rowsRead = 0
    const DB = withBatch(env.DB, async (real, statements) => {
      const results = await real(statements)
      rowsRead = results.reduce((sum, { meta }) => sum + (meta.rows_read ?? 0), 0)
      return results
    })
    const { json } = await call(mine.apiKey, 'GET', path(), { bindings: { DB } })
    expect(json).toHaveLength(100)
    expect(rowsRead).toBeGreaterThan(100)
    expect(rowsRead).toBeLessThan(500)
  })
})

describe('the limit of active secrets', () => {
  const LIMIT_REACHED = {
    message: 'The application has reached its limit of active client secrets. Nothing was changed. Revoke one first.',
    code: 'client_secret_limit_reached',
  }

  test('the sixth secret of an application is refused, and nothing is written', async () => {
    for (let i = 0; i < 5; i++) expect((await create()).status).toBe(201)
    const { status, json } = await create()
    expect([status, json]).toStrictEqual([422, LIMIT_REACHED])
    expect(await list()).toHaveLength(5)
    expect(await eventsOf(mine.environmentId)).toHaveLength(1 + 5)
  })

  test.each([1, 2, 7])('the operator can set the limit of active secrets: %i', async (limit) => {
    const bindings = { MAX_SECRETS_PER_APPLICATION: limit }
    for (let i = 0; i < limit; i++) expect((await create({}, bindings)).status).toBe(201)
    expect((await create({}, bindings)).json).toStrictEqual(LIMIT_REACHED)
  })

  test('each application has its own limit of active secrets', async () => {
    const bindings = { MAX_SECRETS_PER_APPLICATION: 1 }
    const other = await newApplication(mine.apiKey)
    expect((await create({}, bindings)).status).toBe(201)
    expect((await call(mine.apiKey, 'POST', path(other.client_id), { bindings })).status).toBe(201)
    expect((await call(mine.apiKey, 'POST', path(other.id), { bindings })).status).toBe(422)
  })

  test.each<[string, (id: string) => Promise<unknown>, 201 | 422]>([
    ['does not count a secret that is revoked', revoke, 201],
    ['does not count a secret that has expired', (id) => edit(id, 'expires_at = ?', Date.now() - 1), 201],
    ['counts a secret that will expire', (id) => edit(id, 'expires_at = ?', Date.now() + 60_000), 422],
    ['counts a secret that is disabled', (id) => edit(id, 'disabled_at = ?', Date.now()), 422],
  ])('the limit of active secrets %s', async (_, change, status) => {
    const bindings = { MAX_SECRETS_PER_APPLICATION: 2 }
    const { json } = await create({}, bindings)
    await create({}, bindings)
    expect((await create({}, bindings)).status).toBe(422)
    await change(json.id)
    expect((await create({}, bindings)).status).toBe(status)
  })
})

describe('a revocation', () => {
  test('revoking a secret returns 204 without a body, and the secret leaves the list', async () => {
    const [gone, kept] = [(await create()).json, (await create()).json]
    const { status, text, headers } = await revoke(gone.id)
    expect([status, text, headers.get('Content-Type')]).toEqual([204, '', null])
    expect(idsOf(await list())).toEqual([kept.id])
  })

  test('revoking a secret again returns 204, records no event and keeps the first revoked_at (RFC 9110 §9.2.2)', async () => {
    const { json } = await create()
    await revoke(json.id)
    const tombstone = await rowOf(json.id)
    expect(tombstone?.revoked_at).toBeGreaterThan(Date.now() - 5000)
    await edit(json.id, 'revoked_at = 1')
    for (let i = 0; i < 3; i++) expect((await revoke(json.id)).status).toBe(204)
    const { ended_at, due_at, ...kept } = tombstone ?? {}
    expect(await rowOf(json.id)).toMatchObject({ ...kept, revoked_at: 1 })
    expect((await eventsOf(mine.environmentId)).map(({ type }) => type)).toEqual([
      'connect_application.created',
      'connect_application_secret.created',
      'connect_application_secret.deleted',
    ])
  })

  test.each([undefined, {}, { id: 'x' }])('a body on DELETE, which some SDKs send, is ignored: %j', async (body) => {
    const { json } = await create()
    expect((await call(mine.apiKey, 'DELETE', `/connect/client_secrets/${json.id}`, { body })).status).toBe(204)
    expect(await list()).toEqual([])
  })

  test('revoking an unknown secret returns 404 and records no event', async () => {
    const { status, json } = await revoke(newId('secret', Date.now()))
    expect([status, json.code]).toEqual([404, 'entity_not_found'])
    expect(await eventsOf(mine.environmentId)).toHaveLength(1)
  })
})

test('creating a secret and revoking it record one event each, with the members of the secret except its digest', async () => {
  const { json } = await create({ name: 'ci' })
  await revoke(json.id)
  const [, created, deleted] = await eventsOf(mine.environmentId)
  expect(created).toMatchObject({
    type: 'connect_application_secret.created',
    caller_id: mine.id,
    data: {
      id: json.id,
      application_id: application.id,
      secret_hint: json.secret_hint,
      name: 'ci',
      last_used_at: null,
    },
  })
  expect(deleted).toMatchObject({ type: 'connect_application_secret.deleted', data: { id: json.id, name: 'ci' } })
  for (const { data } of [created, deleted] as { data: object }[]) {
    expect(Object.keys(data).filter((name) => /digest|salt|^secret$/.test(name))).toEqual([])
  }
})
