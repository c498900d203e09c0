import type { Browser } from 'playwright-core'
import { beforeAll, describe, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { dashboardPaths, isFile } from '../dashboard-paths.ts'
import { newApiKey, operatorDatabase } from '../operator.ts'
import { type Served, serve } from '../served.ts'
import { size } from '../sizes.ts'
import { checkAccessibility } from './axe.ts'
import { sharedChromium } from './chromium.ts'
import { chromiumPath } from './chromium-path.ts'
import { fill } from './example.ts'
import { newVisitor, type Visitor } from './visitor.ts'

describe.skipIf(!chromiumPath)('every page', () => {
  let served: Served
  let browser: Browser
  let origin: string
  let visitor: Visitor
  let paths: string[]
  let application: string
  let endpoint: string

  beforeAll(async () => {
    served = await serve()
    origin = served.origins[0]
    browser = await sharedChromium()
    const { apiKey, environmentId, id: key } = await newApiKey(served.database)
    visitor = await newVisitor(browser, origin, { reducedMotion: 'reduce' })
    await visitor.signIn(apiKey)
    const empty = await newVisitor(browser, origin, { reducedMotion: 'reduce' })
    await empty.signIn((await newApiKey(served.database)).apiKey)
    for (const path of ['/dashboard', '/dashboard/events', '/dashboard/webhooks']) {
      await empty.page.goto(origin + path)
      await checkAccessibility(empty.page)
    }
    await empty.context.close()
    const { applicationId, hint } = await fill(origin, apiKey)
    application = `/dashboard/applications/${applicationId}`
    endpoint = newId('we', Date.now())
    await createWebhookEndpoint(operatorDatabase(served.database), {
      id: endpoint,
      environmentId,
      url: 'https://receiver.invalid/hooks',
      events: [],
      secret: 'whsec_x',
      createdAt: Date.now(),
    })
    const [secret, event] = await served.database.batch<{ id: string }>(
      ['client_secrets', 'events'].map((table) => served.database.prepare(`SELECT max(id) AS id FROM ${table}`)),
    )
    const idOf = (result?: D1Result<{ id: string }>) => result?.results[0]?.id as string
    const objects = { application: applicationId, secret: idOf(secret), event: idOf(event), endpoint, key }
    paths = [
      ...dashboardPaths(objects).filter((path) => !isFile(path)),
      '/dashboard/applications?search=nothing',
      '/dashboard/secrets?state=revoked&unused=90',
      `/dashboard/find?hint=${hint}`,
      '/dashboard/find?q=export',
      '/dashboard/find?hint=000000',
      '/dashboard/find?hint=0',
      '/dashboard/events?from=2020-01-01',
      '/dashboard/nothing',
      '/dashboard/sign-in?ended',
    ]
  })

  test('every page keeps the rules of WCAG 2.2 AA in both schemes', async () => {
    const { page } = visitor
    for (const [i, path] of paths.entries()) {
      await page.goto(origin + path)
      // Pages share their colours: the short run has the dark scheme of every third page.
      await checkAccessibility(page, i % size(3, 1) === 0 ? ['light', 'dark'] : ['light'])
    }
  }, 300_000)

  test('the pages after a form keep the rules of WCAG 2.2 AA too', async () => {
    const { page } = visitor
    page.on('dialog', (dialog) => void dialog.accept())
    const submit = async (path: string, fields: Record<string, string>, next: string, button = 'main button') => {
      await page.goto(origin + path)
      for (const [field, text] of Object.entries(fields)) await page.fill(field, text)
      await page.locator(button).first().click()
      await page.waitForSelector(next)
      await checkAccessibility(page)
    }
    await page.setViewportSize({ width: 320, height: 800 })
    await submit(`${application}/new-secret`, {}, '#secret')
    await page.reload()
    await checkAccessibility(page)
    await submit('/dashboard/applications/new', { '#name': ' ', '#organization_id': 'x' }, '.error')
    await submit('/dashboard/keys/new', { '#name': 'robot' }, '#secret')
    await submit('/dashboard/webhooks/new', { '#url': 'https://receiver.invalid/2' }, '#secret', '.primary')
    await submit('/dashboard/webhooks', {}, 'h1:text-is("Test event failed")', `[action*="${endpoint}/test"] button`)
    await page.setViewportSize({ width: 1200, height: 800 })
    await page.goto(`${origin}/dashboard/secrets`)
    await page.getByLabel(/on this page$/).check()
    await page.getByRole('button', { name: 'Revoke selected…' }).click()
    await page.waitForSelector('#typed')
    await checkAccessibility(page)
  })

  test('dialogs and menus keep the rules of WCAG 2.2 AA too', async () => {
    const { page } = visitor
    await page.setViewportSize({ width: 1200, height: 800 })
    for (const path of [application, '/dashboard/keys', '/dashboard/webhooks'].slice(0, size(1, 3))) {
      await page.goto(origin + path)
      for (const link of await page.locator('[data-dialog]:visible').all()) {
        await link.click()
        await page.waitForSelector('dialog[open]')
        await checkAccessibility(page)
        await page.keyboard.press('Escape')
      }
      for (const menu of await page.locator('[popovertarget]:visible').all()) {
        await menu.click()
        await checkAccessibility(page)
        await page.keyboard.press('Escape')
      }
    }
  })
})
