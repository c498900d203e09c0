import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { cases } from '../sizes.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

describe.skipIf(!chromiumPath)('the inventory in the dashboard', () => {
  const environment = new Environment()

  test.each(
    cases<[state: string, scripts: boolean]>(
      [
        ['active', true],
        ['already revoked', false],
      ],
      [
        ['active', false],
        ['already revoked', true],
      ],
    ),
  )(
    'in at most four actions, a leaked secret that was %s is found, and revoked if necessary, scripts: %s',
    async (state, scripts) => {
      const { apiKey, applicationId, call, isValid } = await environment.newExample()
      await call('DELETE', `/connect/applications/${applicationId}/client_secrets`)
      const { id, secret } = (await call('POST', `/connect/applications/${applicationId}/client_secrets`)) as {
        id: string
        secret: string
      }
      if (state !== 'active') await call('DELETE', `/connect/client_secrets/${id}`)
      const visitor = await environment.newVisitor({ javaScriptEnabled: scripts })
      const { page } = visitor
      await visitor.signIn(apiKey)
      const { act, acts } = counter()
      await act(scripts ? page.keyboard.press('/') : page.click('#q'))
      await act(page.locator(':focus').fill(`CLIENT_SECRET="${secret}"`))
      await act(page.keyboard.press('Enter'))
      await page.waitForURL(/find/)
      expect(page.url()).not.toContain(secret.slice(0, 12))
      if (state === 'active') {
        expect(await isValid(secret)).toBe(true)
        await act(page.getByRole('button', { name: `Revoke …${secret.slice(-6)} now` }).press('Enter'))
        await page.waitForURL(/secrets\/secret_/)
        expect(await page.textContent('main')).toContain('Secret revoked.')
      } else {
        expect(await page.textContent('main')).toContain('It was revoked by API key test.')
        await act(page.getByRole('link', { name: 'Show its use and history' }).press('Enter'))
        await page.waitForURL(/secrets\/secret_/)
      }
      expect(await page.textContent('main')).toContain('Services that verify tokens offline accept the last one until')
      expect(await isValid(secret)).toBe(false)
      expect(acts()).toBeLessThanOrEqual(4)
      visitor.check()
    },
  )

  test('three clicks download a CSV of the unused secrets that never expire', async () => {
    const { apiKey, id: keyId } = await environment.newExample()
    const { database } = environment.served
    const old = Date.now() - 100 * 86_400_000
    const set = 'UPDATE client_secrets SET created_at = ?, last_used_at = NULL, id = replace(id, substr(id, 1, 17), ?)'
    await database
      .prepare(`${set} WHERE created_by = ? AND expires_at IS NULL`)
      .bind(old, 'secret_01K0000000', keyId)
      .run()
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    const { act, acts } = counter()
    await act(page.getByRole('navigation', { name: 'Dashboard' }).getByRole('link', { name: 'Secrets' }).click())
    await act(page.getByRole('link', { name: 'Unused 90 days, never expire' }).click())
    const downloading = page.waitForEvent('download')
    await act(page.getByRole('link', { name: 'Export CSV' }).click())
    const download = await downloading
    expect(download.suggestedFilename()).toMatch(/^secrets-\d{4}-\d\d-\d\d\.csv$/)
    const rows = (await readFile(await download.path(), 'utf8')).trim().split('\r\n')
    expect(rows.length).toBeGreaterThan(1)
    for (const column of ['id', 'name', 'hint', 'application', 'organization_id', 'state', 'created_at', 'created_by'])
      expect(rows[0]).toContain(`"${column}"`)
    expect(acts()).toBe(3)
    visitor.check()
  })

  test.each(cases([false], [true]))(
    'one click leads to the secrets that are unused, that never expire, or that an API key created, scripts: %s',
    async (javaScriptEnabled) => {
      const { apiKey, applicationId, id } = await environment.newExample()
      const visitor = await environment.newVisitor({ javaScriptEnabled })
      const { page } = visitor
      await visitor.signIn(apiKey)
      for (const [from, name, query] of [
        ['/dashboard/secrets', /Unused for 90 days$/, '?unused=90'],
        ['/dashboard/secrets', /[1-9] Never expire$/, '?expiry=never'],
        ['/dashboard/keys', 'Secrets that test created', `?creator=${id}`],
        ['/dashboard/secrets', 'test', `?creator=${id}`],
        [`/dashboard/events?actor=${id}`, 'Secrets that this actor created', `?creator=${id}`],
        [
          `/dashboard/applications/${applicationId}`,
          'Expired and revoked secrets',
          `?application=${applicationId}&state=ended`,
        ],
      ] as const) {
        await page.goto(environment.origin + from)
        await page.locator('main').getByRole('link', { name, exact: true }).first().click()
        await page.waitForURL(/secrets\?/)
        expect([from, new URL(page.url()).search]).toEqual([from, query])
        const rows = await page.locator('tbody tr').count()
        expect([from, rows > 0]).toEqual([from, !/unused|ended/.test(query)])
      }
      visitor.check()
    },
  )

  test('a revoked secret is found by the whole secret, an .env line or its hint, and its page still has its history', async () => {
    const { apiKey, applicationId, call } = await environment.newExample()
    await call('DELETE', `/connect/applications/${applicationId}/client_secrets`)
    const secrets = `/connect/applications/${applicationId}/client_secrets`
    const { id, secret } = (await call('POST', secrets, { name: 'before' })) as { id: string; secret: string }
    await call('PATCH', `/connect/client_secrets/${id}`, { name: 'after' })
    await call('POST', '/connect/client_secrets/verify', { client_secret: secret, ip_address: '192.0.2.7' })
    await call('DELETE', `/connect/client_secrets/${id}`)
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    const hint = secret.slice(-6)
    for (const pasted of [`"${secret}"`, `CLIENT_SECRET=${secret}`, `****${hint.slice(2)}`, `…${hint}`]) {
      await page.goto(`${environment.origin}/dashboard`)
      await page.fill('#q', pasted)
      await page.press('#q', 'Enter')
      await page.waitForURL(/find/)
      expect(await page.locator('#found').textContent()).toMatch(/is revoked$/)
    }
    await page.getByRole('link', { name: 'Show its use and history' }).click()
    await page.waitForURL(/secrets\/secret_/)
    const text = (await page.locator('main').textContent())?.replace(/[\u2068\u2069]/g, '')
    for (const part of ['Revoked', 'by API key test', 'Name: before → after', 'from 192.0.2.0/24'])
      expect(text).toContain(part)
    visitor.check()
  })

  test.each(cases([true], [false]))(
    'several secrets can be revoked by keyboard, scripts: %s',
    async (javaScriptEnabled) => {
      const { apiKey, applicationId, call, secrets } = await environment.newExample()
      await call('DELETE', `/connect/applications/${applicationId}/client_secrets`)
      for (const name of ['one', 'two'])
        await call('POST', `/connect/applications/${applicationId}/client_secrets`, { name })
      const visitor = await environment.newVisitor({ javaScriptEnabled })
      const { page } = visitor
      await visitor.signIn(apiKey, '/dashboard/secrets')
      await page.getByLabel('All 2 on this page').press('Space')
      const rows = page.locator('[name=secret]')
      if (javaScriptEnabled) {
        // The checkbox for all rows checks each row, and is cleared when a row is cleared.
        expect(await rows.nth(1).isChecked()).toBe(true)
        await rows.nth(1).uncheck()
        expect(await page.getByLabel('All 2 on this page').isChecked()).toBe(false)
        await rows.nth(1).check()
      }
      await page.getByRole('button', { name: 'Revoke selected…' }).press('Enter')
      await page.waitForSelector('#typed')
      expect(await page.locator(':focus').getAttribute('id')).toBe('typed')
      await page.keyboard.type('revoke 1')
      await page.keyboard.press('Enter')
      await page.waitForSelector('.error')
      expect(await secrets()).toHaveLength(2)
      await page.fill('#typed', 'revoke 2')
      await page.keyboard.press('Enter')
      await page.waitForURL(/\/dashboard\/secrets$/)
      expect(await page.textContent('main')).toContain('The selected secrets are revoked.')
      expect(await secrets()).toEqual([])
      visitor.check()
    },
  )
})

/** Counts what a person does: each key, paste or click. */
function counter() {
  let count = 0
  const act = <T>(action: Promise<T>) => {
    count += 1
    return action
  }
  return { act, acts: () => count }
}
