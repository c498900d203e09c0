import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '../../src/credential/digest.ts'
import { newId } from '../../src/credential/id.ts'
import { call, newApiKey, newApplication, send } from '../api.ts'
import { secretsOf } from '../requests.ts'

let mine: Awaited<ReturnType<typeof newApiKey>>
let application: Awaited<ReturnType<typeof newApplication>>
beforeEach(async () => {
  mine = await newApiKey()
  application = await newApplication(mine.apiKey)
})

const path = (id = application.id) => secretsOf(id)
const create = (body?: unknown, bindings: Partial<Env> = {}) => call(mine.apiKey, 'POST', path(), { body, bindings })
const list = async (id?: string) => (await call(mine.apiKey, 'GET', path(id))).json
const idsOf = (secrets: { id: string }[]) => secrets.map(({ id }) => id)
const rowOf = (id: string) =>
  env.DB.prepare('SELECT * FROM client_secrets WHERE id = ?').bind(id).first<Record<string, unknown>>()

const TIMESTAMP = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const CREATED = {
  object: 'connect_application_secret',
  id: expect.stringMatching(/^secret_[0-7][0-9A-HJKMNP-TV-Z]{9}0[0-9A-HJKMNP-TV-Z]{15}$/),
  secret_hint: expect.stringMatching(/^[0-9A-Za-z]{6}$/),
  last_used_at: null,
  created_at: TIMESTAMP,
  updated_at: TIMESTAMP,
  secret: expect.stringMatching(/^cs_0[0-9A-Za-z]{49}$/),
}

describe('a new secret', () => {
  test('the response to a create has exactly seven members, and the list has the same members except the plaintext', async () => {
    const { status, json } = await create({})
    expect([status, json]).toStrictEqual([201, CREATED])
    const { secret, ...rest } = json
    expect(rest.secret_hint).toBe(secret.slice(-6))
    expect(rest.updated_at).toBe(rest.created_at)
    expect(Math.abs(Date.parse(rest.created_at) - Date.now())).toBeLessThan(5000)
    expect(await list()).toStrictEqual([rest])
  })

  test('the database has the digest of the secret; no row of any table has the plaintext', async () => {
    const { json } = await create({}, {})
    const keyed = await call(mine.apiKey, 'POST', path(), { headers: { 'Idempotency-Key': 'key' } })
    expect(new Uint8Array((await rowOf(json.id))?.digest as number[])).toEqual(await sha256(json.secret))
    const tables = await env.DB.prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
    ).all<{ name: string }>()
    expect(tables.results.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['client_secrets', 'events', 'idempotency_records']),
    )
    const rows = await env.DB.batch(tables.results.map(({ name }) => env.DB.prepare(`SELECT * FROM ${name}`)))
    const everything = JSON.stringify(rows.map(({ results }) => results))
    expect(everything).toContain(json.id)
    for (const { secret } of [json, keyed.json]) {
      for (const part of [secret, secret.slice(4, -6), secret.slice(4, 24), btoa(secret).slice(4, -4)])
        expect(everything).not.toContain(part)
    }
  })

  test.each<[string, string | null, Record<string, string>]>([
    ['an empty object', '{}', { 'Content-Type': 'application/json' }],
    ['no body', null, { 'Content-Type': 'application/json' }],
    ['no body and no content type', null, {}],
    ['an empty body', '', { 'Content-Type': 'application/json' }],
    ['null for every option', '{"name":null,"expires_at":null}', { 'Content-Type': 'application/json' }],
    ['unknown members', '{"foo":1,"description":"x","redirect_uris":["a"]}', { 'Content-Type': 'application/json' }],
  ])('a secret is created by a request with %s', async (_, body, headers) => {
    const { status, json } = await send(
      new Request(`https://oncekey.test${path()}`, {
        method: 'POST',
        headers: { ...headers, Authorization: `Bearer ${mine.apiKey}` },
        // Bytes, for the runtime gives a text a content type.
        body: body === null ? null : new TextEncoder().encode(body),
      }),
    )
    expect([status, json]).toStrictEqual([201, CREATED])
  })

  test('members that a caller may not set are ignored (CVE-2025-61928, CWE-915)', async () => {
    const stranger = await newApiKey()
    const theirs = await newApplication(stranger.apiKey)
    const foreign = {
      id: newId('secret', 0),
      secret: 'cs_chosen',
      client_secret: 'cs_chosen',
      secret_hint: 'chosen',
      digest: '00'.repeat(32),
      last_used_at: '2000-01-01T00:00:00.000Z',
      created_at: '2000-01-01T00:00:00.000Z',
      updated_at: '2000-01-01T00:00:00.000Z',
      revoked_at: 1,
      disabled: true,
      object: 'x',
      application_id: theirs.id,
      client_id: theirs.client_id,
      environment_id: stranger.environmentId,
      organization_id: 'org_other',
      user_id: 'user_x',
      region: 'A',
    }
    const { status, json } = await create(foreign)
    expect([status, json]).toStrictEqual([201, CREATED])
    expect(json.id).not.toBe(foreign.id)
    expect(Date.parse(json.created_at)).toBeGreaterThan(Date.now() - 5000)
    expect(await rowOf(json.id)).toMatchObject({ application_id: application.id, environment_id: mine.environmentId })
    expect((await call(stranger.apiKey, 'GET', path(theirs.id))).json).toEqual([])
  })

  test('twenty new secrets have different IDs, plaintexts and hints', async () => {
    const secrets = await Promise.all(
      Array.from({ length: 20 }, () => create({}, { MAX_SECRETS_PER_APPLICATION: 100 })),
    )
    for (const member of ['id', 'secret', 'secret_hint'])
      expect(new Set(secrets.map(({ json }) => json[member])).size).toBe(20)
  })

  test.each(['my_app', 'A', 'x'.repeat(32), 'cs'])('a secret starts with the configured prefix: %s', async (prefix) => {
    const { json } = await create({}, { CLIENT_SECRET_PREFIX: prefix as 'cs' })
    expect(json.secret).toMatch(new RegExp(`^${prefix}_0[0-9A-Za-z]{49}$`))
  })

  test('a secret can be created for an oauth application', async () => {
    const oauth = await newApplication(mine.apiKey, { name: 'x', application_type: 'oauth', is_first_party: true })
    expect((await call(mine.apiKey, 'POST', path(oauth.id))).json).toStrictEqual(CREATED)
  })

  test('the path for creating and listing secrets accepts the ID and the client ID of the application', async () => {
    const [a, b] = [await create({}), await call(mine.apiKey, 'POST', path(application.client_id))]
    expect(idsOf(await list()).toSorted()).toEqual([a.json.id, b.json.id].toSorted())
    expect(await list(application.client_id)).toStrictEqual(await list())
  })
})
