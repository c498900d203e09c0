import { beforeAll, describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { readSearch } from '../../src/dashboard/search.ts'
import { call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { DAY_MS, storeSecrets } from '../connect/inventory-rows.ts'
import { hiddenFields, Visitor } from './pages.ts'

const owner = new Visitor()
let apiKey: string
let environmentId: string
let application: Awaited<ReturnType<typeof newApplication>>

beforeAll(async () => {
  ;({ apiKey, environmentId } = await newApiKey())
  application = await newApplication(apiKey, { ...m2mApplication, name: 'Ünïcode Sync', organization_id: 'org_finder' })
  await owner.signIn(apiKey)
})

const create = async (name?: string) =>
  (await call(apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`, { body: { name } })).json

async function search(q: string) {
  const { headers, trips } = await owner.post('/dashboard/find', { q })
  expect(trips).toBe(0)
  const path = headers.get('Location') ?? ''
  return { path, ...(await owner.get(path)) }
}

describe('a pasted text', () => {
  const secret = `cs_0${'aB3'.repeat(14)}x0s89CN`
  test.each([
    [secret, '0s89CN', null],
    [`"${secret}"`, '0s89CN', null],
    [`CLIENT_SECRET=${secret}`, '0s89CN', null],
    [`export X='${secret}' # production`, '0s89CN', null],
    [` ${secret}\n`, '0s89CN', null],
    ['****89CN', '89CN', null],
    ['…0s89CN', '0s89CN', null],
    ['...0s89CN', '0s89CN', null],
    ['"…0s89CN",', '0s89CN', null],
    ['aB3aB3aB3x0s89CN', '0s89CN', null],
    ['89CN', '89CN', '89CN'],
    ['"0s89CN"', '0s89CN', '0s89CN'],
    ['x0s89CN', '0s89CN', 'x0s89CN'],
    ['Nightly export', null, 'Nightly export'],
    ['"Nightly export"', null, 'Nightly export'],
    ['org_finder', null, 'org_finder'],
    ['secret_01KA3ZB7QX0D9S4G2A8Z6M3Y5T', null, 'secret_01KA3ZB7QX0D9S4G2A8Z6M3Y5T'],
    ['مزامنة', null, 'مزامنة'],
  ])('the pasted text %s is parsed as the hint %s and the text %s', (text, hint, name) => {
    expect(readSearch(text)).toEqual({ hint, text: name })
  })

  test('a text of 250,000 asterisks is parsed as nothing to search for', () => {
    expect(readSearch('*'.repeat(250_000))).toBeNull()
  })

  test.each(['', ' ', '****', '"…"'])('a search for %j gets 422', async (text) => {
    expect(readSearch(text)).toBeNull()
    expect((await search(text)).status).toBe(422)
  })

  test('the URL contains only six characters of a pasted credential, whether it is pasted whole or in part', async () => {
    const { plaintext } = await issueCredential('cs', '0')
    for (const text of [plaintext, plaintext.slice(10), plaintext.slice(20), `a ${plaintext.slice(3, 45)} b`]) {
      const { path } = await search(text)
      expect(path).toMatch(/^\/dashboard\/find\?hint=\w{6}$/)
    }
  })
})

describe('a leaked secret', () => {
  test.each([4, 5, 6])(
    'a search for the last %i characters of a leaked secret shows the secret, and a button that revokes it',
    async (length) => {
      const { id, secret } = await create('leaked')
      const { html, trips } = await search(`****${secret.slice(-length)}`)
      expect(trips).toBe(1)
      expect(html).toContain(`action="/dashboard/secrets/${id}/revoke"`)
      expect(html).toContain('This can’t be undone.')
      await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)
    },
  )

  test('a leaked secret is revoked in three actions: paste, search, revoke', async () => {
    const { id, secret } = await create()
    const { html } = await search(`CLIENT_SECRET="${secret}"`)
    const revoked = await owner.post(`/dashboard/secrets/${id}/revoke`, hiddenFields(html))
    expect([revoked.status, revoked.headers.get('Location')]).toEqual([303, `/dashboard/secrets/${id}`])
    const page = await owner.get(`/dashboard/secrets/${id}`)
    expect(page.html).toContain('Secret revoked.')
    const verified = await call(apiKey, 'POST', '/connect/client_secrets/verify', { body: { client_secret: secret } })
    expect(verified.json).toEqual({ valid: false })
  })

  test('a leaked secret that is already revoked is found, and the page names the API key that revoked it', async () => {
    const { id, secret } = await create()
    await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)
    const { html } = await search(secret)
    expect(html).toContain('is revoked')
    expect(html).toContain('by <bdi>API key test</bdi>')
    expect(html).not.toContain(`/dashboard/secrets/${id}/revoke`)
    expect(html).toContain(`href="/dashboard/secrets/${id}"`)
  })

  test('a leaked secret that has expired is found, and the page says that it has expired', async () => {
    const [id] = await storeSecrets(environmentId, application.id, [
      { createdAt: Date.now() - 2 * DAY_MS, expiresAt: Date.now() - DAY_MS, hint: 'expd42' },
    ])
    const { html } = await search('…expd42')
    expect(html).toContain('has expired')
    expect(html).toContain(`href="/dashboard/secrets/${id}"`)
  })

  test('a search in another environment does not find a leaked secret', async () => {
    const stranger = new Visitor()
    await stranger.signIn((await newApiKey()).apiKey)
    const { secret_hint } = await create()
    expect((await stranger.get(`/dashboard/find?hint=${secret_hint}`)).html).toContain('No secret ends in')
  })

  test.each(['abc', 'abcdefg', '%3Cb%3Ex1', ''])(
    'a search for a leaked secret by the malformed hint %j gets 422',
    async (hint) => {
      const reply = await owner.get(`/dashboard/find?hint=${hint}`)
      expect([reply.status, reply.trips]).toEqual([422, 1])
    },
  )
})

describe('a search for a text', () => {
  test('a search finds applications by part of a name, an ID or an organization', async () => {
    for (const text of [
      'code sync',
      'ünïcode',
      'ÜNÏCODE',
      application.id.slice(9, 25),
      application.client_id,
      'finder',
    ]) {
      const { html } = await search(text)
      expect(html, text).toContain(`href="/dashboard/applications/${application.id}"`)
    }
  })

  test('a search finds secrets by a part of their name or ID', async () => {
    const { id } = await create('Frankfurt gateway')
    for (const text of ['gateway', id, id.slice(-20)]) {
      expect((await search(text)).html, text).toContain(`href="/dashboard/secrets/${id}"`)
    }
  })

  test('a search reads a bounded number of rows among 15,000 secrets', async () => {
    const busy = await newApiKey()
    const many = await newApplication(busy.apiKey)
    const rows = Array.from({ length: 7_500 }, (_, i) => ({ createdAt: Date.now() - (i + 1) * 60_000 }))
    await storeSecrets(busy.environmentId, many.id, rows)
    await storeSecrets(busy.environmentId, many.id, rows)
    const visitor = new Visitor()
    await visitor.signIn(busy.apiKey)
    const { html, rowsRead } = await visitor.get('/dashboard/find?q=nothing')
    expect(html).toContain('No results')
    expect(rowsRead).toBeLessThan(10_100)
  })
})
