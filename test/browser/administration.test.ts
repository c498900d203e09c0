import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { cases } from '../sizes.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

const BY_KEYBOARD: [how: string, javaScriptEnabled: boolean] = ['by keyboard only', true]
const WITHOUT_SCRIPTS: [how: string, javaScriptEnabled: boolean] = ['without scripts', false]

/** API keys, webhook endpoints and the audit log, as a person uses them by keyboard. */
describe.runIf(chromiumPath)('an administrator', () => {
  const environment = new Environment()

  test.each(cases([BY_KEYBOARD], [WITHOUT_SCRIPTS]))(
    'an administrator can create and revoke an API key, and create, test and delete a webhook endpoint, %s',
    async (_, javaScriptEnabled) => {
      const { apiKey } = await environment.newExample()
      const visitor = await environment.newVisitor({ javaScriptEnabled })
      const { page, press, type, tabTo } = visitor
      const main = () => page.locator('main').textContent()
      const confirm = async (verb: string) => {
        await page.waitForSelector(javaScriptEnabled ? 'dialog[open]' : '#confirm')
        await press(verb)
        await page.waitForSelector('.notice.good')
      }
      await visitor.signIn(apiKey)

      await press('Keys')
      await page.waitForURL(/keys$/)
      await press('New API key')
      await page.waitForURL(/keys\/new$/)
      await type('Name', 'robot')
      await tabTo(/^Read-only/)
      await page.keyboard.press('ArrowDown')
      await press('Create API key')
      await page.waitForSelector('#secret')
      const key = await page.locator('#secret').inputValue()
      const response = await fetch(`${environment.origin}/events`, { headers: { Authorization: `Bearer ${key}` } })
      expect(response.status).toBe(200)
      await press('Done')
      await page.waitForURL(/keys\?saved/)
      expect(await page.locator('tr', { hasText: 'robot' }).textContent()).toContain('Read and write')
      expect(await page.content()).not.toContain(key)
      await press('Revoke… robot')
      await confirm('Revoke API key')
      expect(await page.locator('tr', { hasText: 'robot' }).count()).toBe(0)

      await press('Webhooks')
      await page.waitForURL(/webhooks$/)
      await press('New endpoint')
      await page.waitForURL(/webhooks\/new$/)
      await type('URL', 'https://receiver.invalid/hooks?token=x')
      await tabTo(/^Secret created/)
      await page.keyboard.press('Space')
      await press('Create endpoint')
      await page.waitForSelector('#secret')
      expect(await page.locator('#secret').inputValue()).toMatch(/^whsec_/)
      await press('Done')
      await page.waitForURL(/webhooks\?saved/)
      await press('Send test to https://receiver.invalid/hooks?…')
      await page.waitForSelector('h1:text-is("Test event failed")')
      expect(await main()).toContain('The receiver could not be reached.')
      await press('All endpoints')
      await page.waitForURL(/webhooks$/)
      await press('Delete… https://receiver.invalid/hooks?…')
      await confirm('Delete endpoint')
      expect(await main()).toContain('No webhooks yet')
      visitor.check()
    },
  )

  test.each(cases([WITHOUT_SCRIPTS], [BY_KEYBOARD]))(
    'an administrator can limit and rename an API key, set policies, and freeze the environment, %s',
    async (_, javaScriptEnabled) => {
      const { apiKey, path } = await environment.newExample()
      const visitor = await environment.newVisitor({ javaScriptEnabled })
      const { page, press, type, tabTo } = visitor
      const main = () => page.locator('main').textContent()
      await visitor.signIn(apiKey, '/dashboard/keys/new')

      // Permissions, an expiry and IP ranges, at first with an invalid range.
      await type('Name', 'gateway')
      await tabTo(/^Read-only/)
      await page.keyboard.press('ArrowUp')
      await tabTo(/^secrets:verify/)
      await page.keyboard.press('Space')
      await tabTo(/^Never/)
      await page.keyboard.press('ArrowDown')
      await type('IP addresses (optional)', '203.0.113')
      await press('Create API key')
      await page.waitForSelector('#allowed_ips-error')
      expect(await page.getByLabel(/^secrets:verify/).isChecked()).toBe(true)
      await tabTo('IP addresses (optional)')
      await page.keyboard.press('Control+A')
      await page.keyboard.type('203.0.113.0/24')
      await press('Create API key')
      await page.waitForSelector('#secret')
      await press('Done')
      await page.waitForURL(/keys\?saved/)
      const row = await page.locator('tr', { hasText: 'gateway' }).textContent()
      expect(row).toMatch(/secrets:verify.*from 203\.0\.113\.0\/24.*in 30 days/s)
      await press('Rename gateway')
      await page.waitForURL(/rename$/)
      await page.keyboard.press('Control+A')
      await type('Name', 'edge')
      await press('Save name')
      await page.waitForSelector('.notice.good')
      expect(await main()).toContain('edge')

      // The settings, at first with an invalid one.
      await press('Settings')
      await page.waitForURL(/settings$/)
      await tabTo(/^Notify/)
      await page.keyboard.press('ArrowDown')
      await type('Longest lifetime, in days (optional)', 'year')
      await press('Save settings')
      await page.waitForSelector('#max_lifetime_days-error')
      expect(await page.getByLabel(/^Disable/).isChecked()).toBe(true)
      await tabTo('Longest lifetime, in days (optional)')
      await page.keyboard.press('Control+A')
      await page.keyboard.type('30')
      await press('Save settings')
      await page.waitForSelector('.notice.good')
      expect(await page.locator('#max_lifetime_days').inputValue()).toBe('30')

      // The environment is frozen, and the freeze is lifted again.
      await press('Freeze environment…')
      await page.waitForSelector(javaScriptEnabled ? 'dialog[open]' : '#confirm')
      await press('Freeze environment')
      await page.waitForSelector('.notice.good:has-text("Environment frozen.")')
      await page.goto(`${environment.origin}${path}/new-secret`)
      expect(await main()).toContain('This environment is frozen.')
      await press('Create secret')
      await page.waitForSelector('h1:text-is("Not saved")')
      expect(await main()).toContain('frozen')
      await press('Settings')
      await page.waitForURL(/settings$/)
      await press('Lift the freeze')
      await page.waitForSelector('.notice.good:has-text("Freeze lifted.")')
      await page.goto(`${environment.origin}${path}/new-secret`)
      expect(await page.getByLabel('In 30 days').isChecked()).toBe(true)
      visitor.check()
    },
  )

  test('revoking an API key, ending a session and creating a webhook endpoint record one event each', async () => {
    const { apiKey, environmentId } = await environment.newExample()
    await newApiKey(environment.served.database, { environmentId, name: 'robot' })
    const other = await environment.newVisitor()
    await other.signIn(apiKey)
    const visitor = await environment.newVisitor()
    const { page, press, type } = visitor
    await visitor.signIn(apiKey, '/dashboard/keys')
    const sessions = page.getByRole('table', { name: 'Sessions' }).locator('tbody tr')
    await sessions.filter({ hasNotText: '(this session)' }).getByRole('button', { name: 'End session' }).click()
    await page.waitForSelector('.notice.good:has-text("Session ended.")')
    await press('Revoke… robot')
    await page.waitForSelector('dialog[open]')
    await press('Revoke API key')
    await page.waitForSelector('.notice.good:has-text("API key revoked.")')
    await page.goto(`${environment.origin}/dashboard/webhooks/new`)
    await type('URL', 'https://receiver.invalid/hooks')
    await press('Create endpoint')
    await page.waitForSelector('#secret')
    await press('Done')
    await page.waitForURL(/webhooks\?saved/)
    for (const event of ['session.revoked', 'api_key.revoked', 'webhook_endpoint.created']) {
      await page.goto(`${environment.origin}/dashboard/events?type=${event}`)
      expect([event, await page.locator('tbody tr').count()]).toEqual([event, 1])
    }
    visitor.check()
  })

  test('the pages “Not allowed”, “Not found” and “Page not found” explain the error, and link to the overview', async () => {
    const { environmentId, path } = await environment.newExample()
    const { apiKey } = await newApiKey(environment.served.database, { environmentId, access: 'read' })
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    for (const [target, title, text, next] of [
      [`${path}/new-secret`, 'Not allowed', 'Nothing was changed. Use a key with', 'Overview'],
      ['/dashboard/secrets/secret_01M8CCWS760E9HRR92JMHVCQDS', 'Not found', 'Nothing was changed.', 'Overview'],
      ['/dashboard/nothing', 'Page not found', 'Check the URL.', 'Overview'],
    ] as const) {
      await page.goto(environment.origin + target)
      expect(await page.locator('h1').textContent()).toBe(title)
      expect(await page.locator('main').textContent()).toContain(text)
      expect([target, await page.locator('main a').last().textContent()]).toEqual([target, next])
    }
    visitor.check()
  })

  test('an administrator can filter the activity list, share its URL, export it, and open an event', async () => {
    const { apiKey, applicationId } = await environment.newExample()
    const visitor = await environment.newVisitor({ javaScriptEnabled: false })
    const { page, press, type } = visitor
    await visitor.signIn(apiKey)
    await press('Activity')
    await page.waitForURL(/events$/)
    await type('Target', applicationId)
    await page.keyboard.press('Enter')
    await page.waitForURL(/target=conn_app_/)
    const count = await page.locator('tbody tr').count()
    expect(count).toBeGreaterThan(4)
    const colleague = await environment.newVisitor({ javaScriptEnabled: false })
    await colleague.signIn(apiKey)
    await colleague.page.goto(page.url())
    expect(await colleague.page.locator('tbody tr').count()).toBe(count)
    const downloading = page.waitForEvent('download')
    await press('Export CSV')
    const lines = (await readFile(await (await downloading).path(), 'utf8')).split('\r\n')
    expect(lines).toHaveLength(count + 2)
    await press('Secret disabled')
    await page.waitForURL(/events\/event_/)
    expect(await page.locator('main').textContent()).toMatch(/Request ID.*Changes.*Enabled → Disabled/s)
    visitor.check()
  })
})
