import { describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { cases } from '../sizes.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

describe.skipIf(!chromiumPath)('the overview in a browser', () => {
  const environment = new Environment()

  test.each(cases([false], [true]))(
    'every number of the overview links to a list with this number of rows, scripts: %s',
    async (javaScriptEnabled) => {
      const { apiKey } = await environment.newExample()
      const visitor = await environment.newVisitor({ javaScriptEnabled })
      const { page } = visitor
      await visitor.signIn(apiKey)
      const totals = page.locator('.totals a')
      const names = await totals.locator('span').allTextContents()
      expect(names).toEqual([
        'Applications',
        'Current secrets',
        'Expiring',
        'Unused 90 days',
        'Never expire',
        'Endpoints',
        'API keys',
      ])
      for (const [i, name] of names.entries()) {
        await page.goto(`${environment.origin}/dashboard`)
        const number = Number(await totals.nth(i).locator('b').textContent())
        await totals.nth(i).click()
        await page.waitForURL(/dashboard\/\w+/)
        const table = page.locator(name === 'API keys' ? 'table[aria-label="API keys"]' : 'table')
        expect([name, await table.locator('tbody tr').count()]).toEqual([name, number])
      }
      visitor.check()
    },
  )

  test('the overview of a new environment has a checklist, which marks completed steps and disappears after the last one', async () => {
    const { apiKey } = await newApiKey(environment.served.database)
    const visitor = await environment.newVisitor()
    const { page, press, type } = visitor
    await visitor.signIn(apiKey)
    const steps = page.locator('.steps li')
    expect(await steps.locator('b').allTextContents()).toEqual([
      'Create an application',
      'Create a client secret',
      'See its first use',
    ])
    await press('New application')
    await type('Name', 'Reports')
    await type('Organization ID', 'org_1')
    await page.keyboard.press('Enter')
    await page.waitForURL(/conn_app/)
    await press('New secret')
    await press('Create secret')
    await page.waitForSelector('#secret')
    const client_secret = await page.locator('#secret').inputValue()
    await press('Done')
    await page.waitForURL(/#secret_/)
    await page.goto(`${environment.origin}/dashboard`)
    expect(await steps.locator('.state.good').count()).toBe(2)
    await fetch(`${environment.origin}/connect/client_secrets/verify`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ client_secret }),
    })
    await page.reload()
    expect(await steps.count()).toBe(0)
    expect(await page.locator('h2').first().textContent()).toBe('Needs attention')
    visitor.check()
  })
})
