import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { eventsOf } from '../connect/events-of.ts'
import { DAY_MS, storeManySecrets, storeSecrets } from '../connect/inventory-rows.ts'
import { hiddenFields, Visitor } from './pages.ts'

const now = Date.now()
const owner = new Visitor()
const reader = new Visitor()
let apiKey: string
let environmentId: string
let keyId: string
let applicationId: string

beforeAll(async () => {
  ;({ apiKey, environmentId, id: keyId } = await newApiKey())
  await owner.signIn(apiKey)
  await reader.signIn((await newApiKey({ environmentId, access: 'read' })).apiKey)
  applicationId = (await newApplication(apiKey, { ...m2mApplication, name: '=cmd()', organization_id: 'org_inv' })).id
  await storeSecrets(environmentId, applicationId, [
    { createdAt: now - 400 * DAY_MS, name: '@old', createdBy: keyId },
    { createdAt: now - 300 * DAY_MS, name: 'resting', lastUsedAt: now - 100 * DAY_MS, expiresAt: now + 3 * DAY_MS },
    { createdAt: now - 200 * DAY_MS, name: 'busy', lastUsedAt: now - DAY_MS },
    { createdAt: now - 100 * DAY_MS, name: 'gone', revokedAt: now - DAY_MS },
  ])
  await env.DB.prepare("UPDATE client_secrets SET leak_reported_at = 1 WHERE environment_id = ? AND name = 'gone'")
    .bind(environmentId)
    .run()
})

const names = (html: string) =>
  [...html.matchAll(/<td class="wide".*?<bdi class="name">([^<]*)</gs)].map(([, name]) => name)
const tile = (html: string, label: string) =>
  new RegExp(`<a href="([^"]*)"[^>]*><b>([^<]*)</b> <span>${label}</span>`).exec(html)?.slice(1)

describe('the list of secrets', () => {
  test('the list of secrets has totals, each with a link to the list of the counted secrets', async () => {
    const { html, trips } = await owner.get('/dashboard/secrets')
    expect(trips).toBe(1)
    expect(names(html)).toEqual(['busy', 'resting', '@old'])
    for (const [label, count, listed] of [
      ['Current', '3', ['busy', 'resting', '@old']],
      ['Expire within 7 days', '1', ['resting']],
      ['Unused for 90 days', '2', ['resting', '@old']],
      ['Never expire', '2', ['busy', '@old']],
      ['Unused 90 days, never expire', '1', ['@old']],
      ['Expired or revoked', '1', ['gone']],
    ] as const) {
      const [path = '', shown] = tile(html, label) ?? []
      expect([label, shown]).toEqual([label, count])
      expect(names((await owner.get(path.replaceAll('&amp;', '&'))).html)).toEqual(listed)
    }
  })

  test.each([
    ['sort=used', ['@old', 'resting', 'busy']],
    ['sort=expires', ['resting', '@old', 'busy']],
    ['sort=oldest', ['@old', 'resting', 'busy']],
    ['state=all', ['gone', 'busy', 'resting', '@old']],
    ['state=revoked', ['gone']],
    ['state=leaked', ['gone']],
    ['organization=org_inv&unused=90', ['resting', '@old']],
    ['organization=org_other', []],
    ['expiry=30', ['resting']],
  ])('the list of secrets with the query %s is %j', async (query, expected) => {
    expect(names((await owner.get(`/dashboard/secrets?${query}`)).html)).toEqual(expected)
  })

  test('the form of the list of secrets filters the list, and another session gets the same list at the same URL', async () => {
    const fields = { unused: '90', expiry: 'never', creator: keyId, application: applicationId, sort: 'used' }
    const { headers, trips } = await owner.post('/dashboard/secrets', fields)
    expect(trips).toBe(0)
    const { html } = await reader.get(headers.get('Location') ?? '')
    expect(names(html)).toEqual(['@old'])
    expect(html).toContain(`<option value="${keyId}" selected="">`)
  })

  test.each(['state=constructor&unused=__proto__', 'expiry=1e9', 'application=%27%20OR%201', 'after=unknown'])(
    'the list of secrets ignores the unknown values %s',
    async (query) => {
      expect((await owner.get(`/dashboard/secrets?${query}`)).status).toBe(200)
    },
  )

  test('with 6,000 secrets, each page of 20 reads a bounded number of rows and has less than 60 KB', async () => {
    const busy = await newApiKey()
    const application = await newApplication(busy.apiKey)
    const rows = Array.from({ length: 3_000 }, (_, i) => ({
      createdAt: now - (i + 1) * 60_000,
      lastUsedAt: i % 2 === 0 ? null : now - i * 1000,
      expiresAt: i % 3 === 0 ? null : now + (i + 1) * 60_000,
    }))
    await storeSecrets(busy.environmentId, application.id, rows)
    await storeSecrets(busy.environmentId, application.id, rows)
    const visitor = new Visitor()
    await visitor.signIn(busy.apiKey)
    for (const sort of ['', 'oldest', 'used', 'expires']) {
      const seen = new Set<string>()
      let path = `/dashboard/secrets?sort=${sort}`
      for (let i = 0; i < 3; i++) {
        const { html, rowsRead } = await visitor.get(path)
        expect(rowsRead).toBeLessThan(25_000)
        // The orders of the IDs page through all secrets; the others compare the newest ones, and say so.
        const isCut = html.includes('This order compares only the newest 5,000 secrets.')
        expect([sort, isCut]).toEqual([sort, sort === 'used' || sort === 'expires'])
        expect(html.length).toBeLessThan(60_000)
        for (const [id] of html.matchAll(/(?<=<tr id=")secret_\w+/g)) seen.add(id)
        path = /href="([^"]*after=[^"]*)"/.exec(html)?.[1]?.replaceAll('&amp;', '&') ?? ''
      }
      expect([sort, seen.size]).toEqual([sort, 60])
    }
    const { html } = await visitor.get(`/dashboard/secrets?application=${application.id}`)
    expect(html).toContain('Only 5,000 secrets with this filter were searched.')
  })
})

test('the column headings of the list sort the list, and the heading of the sorted column has aria-sort', async () => {
  const column = (html: string, label: string) =>
    new RegExp(`<th[^>]*>(?:<a[^>]*>)?${label}<`).exec(html)?.[0].replaceAll('&amp;', '&') ?? ''
  const { html } = await owner.get('/dashboard/secrets?state=all')
  expect(column(html, 'Last used')).toContain('href="/dashboard/secrets?state=all&sort=used"')
  expect(column(html, 'Last used')).not.toContain('aria-sort')
  expect(column(html, 'Created')).toMatch(/aria-sort="descending".*sort=oldest/)
  for (const [sort, label] of [
    ['used', 'Last used'],
    ['expires', 'Expires'],
    ['oldest', 'Created'],
  ] as const) {
    const sorted = (await owner.get(`/dashboard/secrets?sort=${sort}`)).html
    expect(sorted.match(/aria-sort/g)).toHaveLength(1)
    expect(column(sorted, label)).toContain('aria-sort="ascending"')
  }
  const applications = await owner.get('/dashboard/applications?sort=oldest')
  expect(column(applications.html, 'Created')).toMatch(/aria-sort="ascending".*href="\/dashboard\/applications"/)
})

describe('an export of secrets', () => {
  test('three clicks export the filtered secrets as CSV, in which names that are formulas are escaped', async () => {
    const first = await owner.get('/dashboard/secrets')
    const [path = ''] = tile(first.html, 'Unused 90 days, never expire') ?? []
    const second = await owner.get(path.replaceAll('&amp;', '&'))
    const file = /href="(\/dashboard\/secrets\/export[^"]*format=csv)"/.exec(second.html)?.[1] ?? ''
    const { headers, html, trips } = await owner.get(file.replaceAll('&amp;', '&'))
    expect(trips).toBe(1)
    expect(headers.get('Content-Type')).toBe('text/csv; charset=UTF-8')
    expect(headers.get('Content-Disposition')).toMatch(/^attachment; filename="secrets-\d{4}-\d\d-\d\d\.csv"$/)
    const lines = html.trim().split('\r\n')
    expect(lines).toHaveLength(2)
    expect(lines[0]).toContain('"id","name","hint","state","application_id","application","organization_id"')
    expect(lines[1]).toContain(`"'@old","0000aa","active","${applicationId}","'=cmd()","org_inv"`)
  })

  test('an export that may be incomplete has the number of secrets in its file name, and is_complete: false in its JSON', async () => {
    const busy = await newApiKey()
    await storeManySecrets(busy.environmentId, 50_001)
    const visitor = new Visitor()
    await visitor.signIn(busy.apiKey)
    const file = async (query: string) => {
      const { html, headers } = await visitor.get(`/dashboard/secrets/export?format=json&${query}`)
      const name = /filename="secrets-[\d-]{10}(.*)\.json"/.exec(headers.get('Content-Disposition') ?? '')?.[1]
      return [JSON.parse(html).is_complete, name]
    }
    expect(await file('state=revoked&sort=used')).toEqual([false, '-first-0'])
    expect(await file('state=all')).toEqual([false, '-first-10000'])
    // Of more leaked secrets than a page searches, it has those that were reported last: here the oldest.
    await env.DB.prepare('UPDATE client_secrets SET leak_reported_at = 60000 - substr(id, 8) WHERE environment_id = ?')
      .bind(busy.environmentId)
      .run()
    const leaked = (await visitor.get('/dashboard/secrets?state=leaked')).html
    expect(leaked).toContain(`secret_${'5000'.padStart(26, '0')}`)
    expect(leaked).toContain('Only 5,000 secrets with this filter were searched.')
    await env.DB.prepare("DELETE FROM client_secrets WHERE environment_id = ? AND id LIKE '%1'")
      .bind(busy.environmentId)
      .run()
    expect(await file('state=revoked&sort=used')).toEqual([true, ''])
  })

  test('the JSON of an export has the filtered secrets in data, and is_complete is true if none is missing', async () => {
    const { html, headers } = await reader.get('/dashboard/secrets/export?format=json&state=revoked')
    expect(headers.get('Content-Type')).toBe('application/json; charset=UTF-8')
    expect(JSON.parse(html)).toMatchObject({ data: [{ name: 'gone', state: 'revoked' }], is_complete: true })
  })
})

describe('a change of several secrets at once', () => {
  const stored = (count: number) =>
    storeSecrets(
      environmentId,
      applicationId,
      Array.from({ length: count }, (_, i) => ({ createdAt: now - 10_000 - i })),
    )
  const row = (id: string) =>
    env.DB.prepare('SELECT * FROM client_secrets WHERE id = ?').bind(id).first<Record<string, unknown>>()

  async function submit(visitor: Visitor, ids: string[], action: string, typed: string) {
    const fields = new URLSearchParams([['action', action], ...ids.map((id) => ['secret', id])])
    const asked = await visitor.post('/dashboard/secrets/bulk', fields)
    return {
      asked,
      done: await visitor.post('/dashboard/secrets/bulk/confirm', { ...hiddenFields(asked.html), typed }),
    }
  }

  test('when “revoke 3” is typed, three secrets are revoked, each with its own event', async () => {
    const ids = await stored(3)
    const { asked, done } = await submit(owner, ids, 'revoke', 'revoke 3')
    expect([asked.status, asked.trips, done.status, done.trips]).toEqual([200, 1, 303, 1])
    const events = (await eventsOf(environmentId)).filter(({ data }) => ids.includes(String(data.id)))
    expect(events.map(({ type }) => type)).toEqual(ids.map(() => 'connect_application_secret.deleted'))
    for (const id of ids) {
      const event = events.find(({ data }) => data.id === id)
      expect(await row(id)).toMatchObject({ revoked_at: expect.any(Number), event_id: event?.id })
      expect((await owner.get(`/dashboard/secrets/${id}`)).html).toContain('Secret revoked')
    }
  })

  test('several secrets are disabled, and a second submit of the form changes nothing', async () => {
    const ids = await stored(2)
    const { asked } = await submit(owner, ids, 'disable', 'disable 2')
    const before = await eventsOf(environmentId)
    expect(
      (await owner.post('/dashboard/secrets/bulk/confirm', { ...hiddenFields(asked.html), typed: 'disable 2' })).status,
    ).toBe(303)
    expect(await eventsOf(environmentId)).toEqual(before)
    for (const id of ids) expect((await row(id))?.disabled_at).toEqual(expect.any(Number))
  })

  test.each(['', 'revoke', 'revoke 1', 'disable 2'])(
    'several secrets are not revoked if %j is typed',
    async (typed) => {
      const ids = await stored(2)
      const { done } = await submit(owner, ids, 'revoke', typed)
      expect(done.status).toBe(422)
      expect(done.html).toContain('Nothing was changed')
      for (const id of ids) expect((await row(id))?.revoked_at).toBeNull()
    },
  )

  test('a secret that a form contains twice is counted once', async () => {
    const [id = ''] = await stored(1)
    const fields = { secrets: `${id} ${id}`, action: 'revoke', typed: 'revoke 1' }
    expect((await owner.post('/dashboard/secrets/bulk/confirm', fields)).status).toBe(303)
    expect((await row(id))?.revoked_at).toEqual(expect.any(Number))
  })

  test("a key of another environment or a read-only key can't revoke several secrets", async () => {
    const ids = await stored(2)
    const stranger = new Visitor()
    await stranger.signIn((await newApiKey()).apiKey)
    const fields = { secrets: ids.join(' '), action: 'revoke', typed: 'revoke 2' }
    expect((await stranger.post('/dashboard/secrets/bulk/confirm', fields)).status).toBe(404)
    expect((await reader.post('/dashboard/secrets/bulk/confirm', fields)).status).toBe(403)
    for (const id of ids) expect((await row(id))?.revoked_at).toBeNull()
  })

  test('when several secrets are revoked, those that are already revoked stay unchanged', async () => {
    const [first = '', second = ''] = await stored(2)
    await call(apiKey, 'DELETE', `/connect/client_secrets/${first}`)
    const before = await row(first)
    const { done } = await submit(owner, [first, second], 'revoke', 'revoke 2')
    expect(done.status).toBe(303)
    expect(await row(first)).toEqual(before)
    expect((await row(second))?.revoked_at).toEqual(expect.any(Number))
  })
})
