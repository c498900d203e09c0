import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import { secretsOf } from '../requests.ts'
import { DAY_MS, type SecretRow, storeSecrets } from './inventory-rows.ts'

const now = Date.now()
const { apiKey, environmentId, id: keyId } = await newApiKey()
const one = await newApplication(apiKey, { ...m2mApplication, name: 'One', organization_id: 'org_one' })
const two = await newApplication(apiKey, { ...m2mApplication, name: 'Two', organization_id: 'org_two' })

/** One secret of each kind, oldest first. */
const KINDS: Record<string, SecretRow> = {
  unused: { createdAt: now - 400 * DAY_MS, createdBy: 'api_key_gone' },
  rested: { createdAt: now - 300 * DAY_MS, lastUsedAt: now - 91 * DAY_MS, expiresAt: now + 100 * DAY_MS },
  used: { createdAt: now - 200 * DAY_MS, lastUsedAt: now - DAY_MS, hint: 'abc1Zz' },
  disabled: { createdAt: now - 100 * DAY_MS, disabledAt: now - 1 },
  expiring: { createdAt: now - 50 * DAY_MS, expiresAt: now + 6 * DAY_MS },
  rotated: { createdAt: now - 40 * DAY_MS, expiresAt: now + 20 * DAY_MS, retiresAt: now + 20 * DAY_MS },
  expired: { createdAt: now - 30 * DAY_MS, expiresAt: now - 1 },
  noted: { createdAt: now - 29 * DAY_MS, expiresAt: now - DAY_MS, notedAt: now - DAY_MS, hint: '00c1Zz' },
  revoked: { createdAt: now - 28 * DAY_MS, revokedAt: now - DAY_MS, hint: 'xyc1Zz' },
}
const ids = await storeSecrets(environmentId, one.id, Object.values(KINDS))
const nameOf = new Map(ids.map((id, i) => [id, Object.keys(KINDS)[i] ?? '']))
await env.DB.prepare('UPDATE client_secrets SET leak_reported_at = 1 WHERE environment_id = ? AND id IN (?, ?)')
  .bind(environmentId, ...['disabled', 'revoked'].map((kind) => ids[Object.keys(KINDS).indexOf(kind)]))
  .run()
const created = await call(apiKey, 'POST', secretsOf(two.id), { body: { name: 'new' } })
nameOf.set(created.json.id, 'new')

async function list(query: Record<string, string> = {}, key = apiKey) {
  const parameters = new URLSearchParams({ limit: '100', ...query })
  const { status, json } = await call(key, 'GET', `/connect/client_secrets?${parameters}`)
  expect(status, JSON.stringify(json)).toBe(200)
  return json as { data: Record<string, unknown>[]; list_metadata: { before: string | null; after: string | null } }
}

const names = ({ data }: { data: Record<string, unknown>[] }) => data.map(({ id }) => nameOf.get(String(id)))
const ALL = [...Object.keys(KINDS), 'new']

describe('the list of all secrets of an environment', () => {
  test('the list of all secrets has every secret, newest first, also those that are expired or revoked', async () => {
    expect(names(await list())).toEqual(ALL.toReversed())
    expect(names(await list({ order: 'asc' }))).toEqual(ALL)
  })

  test('the list of all secrets has the creator, the application, the organization and the state of each secret', async () => {
    const [newest] = (await list({ limit: '1' })).data
    expect(newest).toEqual({
      object: 'connect_application_secret',
      id: created.json.id,
      secret_hint: created.json.secret_hint,
      name: 'new',
      created_at: created.json.created_at,
      updated_at: created.json.created_at,
      last_used_at: null,
      state: 'active',
      application_id: two.id,
      application_name: 'Two',
      organization_id: 'org_two',
      created_by: { id: keyId, name: 'test' },
      last_used_from: null,
    })
  })

  test('the list of all secrets has the IP prefix, the country and the user agent of the latest use of each secret', async () => {
    await call(apiKey, 'POST', '/connect/client_secrets/verify', {
      body: { client_secret: created.json.secret },
      headers: { 'CF-Connecting-IP': '192.0.2.7', 'User-Agent': 'x/1' },
    })
    const [newest] = (await list({ limit: '1' })).data
    expect(newest?.last_used_from).toEqual({ ip_prefix: '192.0.2.0/24', country: null, user_agent: 'x/1' })
  })

  test.each<[Record<string, string>, string[]]>([
    [{ state: 'active' }, ['unused', 'rested', 'used', 'new']],
    [{ state: 'expiring' }, ['expiring', 'rotated']],
    [{ state: 'disabled' }, ['disabled']],
    [{ state: 'expired' }, ['expired', 'noted']],
    [{ state: 'revoked' }, ['revoked']],
    [{ state: 'disabled,revoked' }, ['disabled', 'revoked']],
    [{ unused_for_days: '90' }, ['unused', 'rested', 'disabled']],
    [{ unused_for_days: '90', never_expires: 'true' }, ['unused', 'disabled']],
    [{ unused_for_days: '90', state: 'active' }, ['unused', 'rested']],
    [{ never_expires: 'true' }, ['unused', 'used', 'disabled', 'new']],
    [{ never_expires: 'false' }, ['rested', 'expiring', 'rotated']],
    [{ expires_within_days: '7' }, ['expiring']],
    [{ expires_within_days: '30' }, ['expiring', 'rotated']],
    [{ application_id: one.id }, Object.keys(KINDS)],
    [{ application_id: two.id }, ['new']],
    [{ organization_id: 'org_two' }, ['new']],
    [{ organization_id: 'org_none' }, []],
    [{ created_by: keyId }, ['new']],
    [{ created_by: 'api_key_gone' }, ['unused']],
    [{ hint: 'c1Zz' }, ['used', 'noted', 'revoked']],
    [{ hint: 'bc1Zz' }, ['used']],
    [{ hint: 'abc1Zz' }, ['used']],
    [{ hint: 'thereabc1Zz' }, ['used']],
    [{ hint: 'C1ZZ' }, []],
    [{ hint: 'c1Zz', state: 'revoked' }, ['revoked']],
    [{ leak_reported: 'true' }, ['disabled', 'revoked']],
    [{ leak_reported: 'true', state: 'revoked' }, ['revoked']],
    [{ leak_reported: 'true', application_id: two.id }, []],
    [{ leak_reported: 'false', state: 'disabled,active' }, ['unused', 'rested', 'used', 'new']],
  ])('the list of all secrets filters by %j', async (query, expected) => {
    expect(names(await list({ ...query, order: 'asc' }))).toEqual(expected)
  })

  test.each([
    ['state=gone', 'state_invalid'],
    ['unused_for_days=0', 'unused_for_days_out_of_range'],
    ['unused_for_days=1.5', 'unused_for_days_out_of_range'],
    ['expires_within_days=x', 'expires_within_days_out_of_range'],
    ['never_expires=1', 'never_expires_invalid'],
    ['leak_reported=yes', 'leak_reported_invalid'],
    ['hint=abc&limit=1', 'hint_malformed'],
    ['hint=abcdefghijklm&limit=1', 'hint_malformed'],
    ['created_by=a&created_by=b', 'created_by_repeated'],
    ['organization_id=x', 'organization_id_malformed'],
    ['after=secret_gone', 'after_unknown'],
    ['before=a&after=b', 'before_with_after'],
  ])('the list of all secrets refuses the query %s', async (query, code) => {
    const { status, json } = await call(apiKey, 'GET', `/connect/client_secrets?${query}`)
    expect([status, json.errors?.[0]?.code]).toEqual([422, code])
  })

  test.each([
    {},
    { state: 'active,expiring' },
    { application_id: one.id },
    { unused_for_days: '90' },
    { hint: 'c1Zz' },
    { leak_reported: 'true' },
  ])('the list of all secrets is paged in both directions, filtered by %j', async (filter) => {
    for (const order of ['asc', 'desc']) {
      const whole = names(await list({ ...filter, order }))
      const forwards = [await list({ ...filter, order, limit: '2' })]
      for (let after = forwards[0]?.list_metadata.after; after; after = forwards.at(-1)?.list_metadata.after)
        forwards.push(await list({ ...filter, order, limit: '2', after }))
      expect(forwards.flatMap(names)).toEqual(whole)
      const before = forwards.at(-1)?.list_metadata.before
      if (before) expect(await list({ ...filter, order, limit: '2', before })).toEqual(forwards.at(-2))
    }
  })

  test('the list of all secrets has only secrets of the caller’s environment', async () => {
    const stranger = await newApiKey()
    expect((await list({}, stranger.apiKey)).data).toEqual([])
    for (const query of [{ application_id: one.id }, { created_by: keyId }, { hint: 'c1Zz' }])
      expect((await list(query, stranger.apiKey)).data).toEqual([])
  })
})

test('a list query with only a hint returns an array without pages, and omits revoked secrets', async () => {
  const { json } = await call(apiKey, 'GET', '/connect/client_secrets?hint=abc1Zz')
  expect(json).toMatchObject([{ secret_hint: 'abc1Zz', application_id: one.id }])
  expect((await call(apiKey, 'GET', '/connect/client_secrets?hint=xyc1Zz')).json).toEqual([])
})

describe('the list of 9,000 secrets', async () => {
  const { apiKey: busyKey, environmentId: busy } = await newApiKey()
  const application = await newApplication(busyKey)
  const rows = Array.from({ length: 9_000 }, (_, i): SecretRow => ({ createdAt: now - (i + 1) * 60_000 }))
  await storeSecrets(busy, application.id, rows.slice(0, 4_500))
  await storeSecrets(busy, application.id, rows.slice(4_500))
  const few = await newApplication(busyKey)
  const [rare] = await storeSecrets(busy, few.id, [{ createdAt: now - 100 * DAY_MS, hint: 'rare42', createdBy: 'x' }])

  async function read(query: string) {
    const counter = counted(env.DB)
    const bindings = { DB: counter.database }
    const { json } = await call(busyKey, 'GET', `/connect/client_secrets?${query}`, { bindings })
    return { ...json, rows: counter.rowsRead }
  }

  test.each([
    ['limit=100', 100, 500],
    ['limit=100&never_expires=true', 100, 5_500],
    [`application_id=${few.id}`, 1, 20],
    ['hint=re42&limit=10', 1, 20],
    ['unused_for_days=90', 1, 20],
    ['state=revoked', 0, 10_100],
    [`organization_id=org_none`, 0, 15_100],
  ])('the page of the query ?%s has %i secrets, and reads at most %i rows', async (query, found, most) => {
    const { data, rows } = await read(query)
    expect(data).toHaveLength(found)
    expect(rows).toBeLessThanOrEqual(most)
  })

  test('is_complete is false if an application has more secrets than one request searches', async () => {
    const cut = await read(`application_id=${application.id}`)
    expect(cut.data).toHaveLength(10)
    expect(cut.list_metadata.is_complete).toBe(false)
    expect((await read(`application_id=${few.id}`)).list_metadata).toEqual({ before: null, after: null })
    expect((await read('state=revoked')).list_metadata).not.toHaveProperty('is_complete')
  })

  test('a page that reaches the search limit without a match is empty, and its cursor leads to the page with the match', async () => {
    const { data, list_metadata } = await read('created_by=x')
    expect(data).toEqual([])
    const next = await read(`created_by=x&after=${list_metadata.after}`)
    expect(next.data).toMatchObject([{ id: rare }])
    expect(next.list_metadata).toMatchObject({ after: null })
  })
})
