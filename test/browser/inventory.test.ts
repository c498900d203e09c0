import { describe, expect, test } from 'vitest'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

describe.skipIf(!chromiumPath)('the inventory in the dashboard', () => {
  const environment = new Environment()

  test.each([
    ['active', true],
    ['active', false],
    ['revoked already', true],
    ['revoked already', false],
  ])(
    'a leaked secret that is %s is found, and does not work after at most four actions, scripts: %s',
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
      // 1: the key /, or a click. 2: the paste.
      if (scripts) await page.keyboard.press('/')
      else await page.click('#q')
      await page.locator(':focus').fill(`CLIENT_SECRET="${secret}"`)
      // 3: Enter.
      await page.keyboard.press('Enter')
      await page.waitForURL(/find/)
      expect(page.url()).not.toContain(secret.slice(0, 12))
      if (state === 'active') {
        expect(await isValid(secret)).toBe(true)
        // 4: the button.
        await page.getByRole('button', { name: `Revoke …${secret.slice(-6)} now` }).press('Enter')
        await page.waitForURL(/secrets\/secret_/)
        expect(await page.textContent('main')).toContain('Secret revoked.')
      } else {
        expect(await page.textContent('main')).toContain('It was revoked by test.')
        // 4: the link to its page.
        await page.getByRole('link', { name: 'Show its use and history' }).press('Enter')
        await page.waitForURL(/secrets\/secret_/)
      }
      expect(await page.textContent('main')).toContain('Services that verify tokens offline accept the last one until')
      expect(await isValid(secret)).toBe(false)
      visitor.check()
    },
  )

  test('an auditor gets the unused secrets that never expire as CSV in three clicks', async () => {
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
    await page.getByRole('navigation', { name: 'Dashboard' }).getByRole('link', { name: 'Secrets' }).click()
    await page.getByRole('link', { name: 'Unused 90 days, never expire' }).click()
    const download = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Export CSV' }).click()
    expect((await download).suggestedFilename()).toMatch(/^secrets-\d{4}-\d\d-\d\d\.csv$/)
    visitor.check()
  })

  test.each([true, false])('several secrets are revoked by keyboard, scripts: %s', async (javaScriptEnabled) => {
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
      // The rows show what is selected, and lead back.
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
  })
})
