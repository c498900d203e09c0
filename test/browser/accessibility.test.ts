import { AxeBuilder } from '@axe-core/playwright'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { type Served, serve } from '../served.ts'
import { launchChromium } from './chromium.ts'
import { chromiumPath } from './chromium-path.ts'
import { fill } from './example.ts'
import { newVisitor, type Visitor } from './visitor.ts'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

const COLOURS = ['color-contrast', 'link-in-text-block']

describe.skipIf(!chromiumPath)('every page', () => {
  let served: Served
  let browser: Browser
  let origin: string
  let visitor: Visitor
  let paths: string[]
  let application: string

  beforeAll(async () => {
    served = await serve()
    origin = served.origins[0]
    browser = await launchChromium()
    const { apiKey } = await newApiKey(served.database)
    visitor = await newVisitor(browser, origin, { reducedMotion: 'reduce' })
    await visitor.signIn(apiKey)
    const empty = await newVisitor(browser, origin, { reducedMotion: 'reduce' })
    await empty.signIn((await newApiKey(served.database)).apiKey)
    for (const path of ['/dashboard', '/dashboard/events', '/dashboard/webhooks']) {
      await empty.page.goto(origin + path)
      await check(empty.page)
    }
    await empty.context.close()
    const { applicationId, hint } = await fill(origin, apiKey)
    application = `/dashboard/applications/${applicationId}`
    await visitor.page.goto(origin + application)
    const secret = await visitor.page.locator('tbody tr').first().getAttribute('id')
    paths = [
      '/dashboard',
      '/dashboard/applications',
      '/dashboard/webhooks/new',
      '/dashboard/keys/new',
      '/dashboard/applications?search=nothing',
      '/dashboard/applications/new',
      application,
      ...['edit', 'delete', 'new-secret', 'rotate', 'revoke-all'].map((page) => `${application}/${page}`),
      ...['edit', 'revoke'].map((page) => `${application}/secrets/${secret}/${page}`),
      '/dashboard/secrets',
      '/dashboard/secrets?state=revoked&unused=90',
      `/dashboard/secrets/${secret}`,
      `/dashboard/find?hint=${hint}`,
      '/dashboard/find?q=export',
      '/dashboard/find?hint=000000',
      '/dashboard/find?hint=0',
      '/dashboard/find',
      '/dashboard/events',
      '/dashboard/events?from=2020-01-01',
      '/dashboard/webhooks',
      '/dashboard/keys',
      '/dashboard/nothing',
      '/dashboard/sign-in',
      '/dashboard/sign-in?ended',
    ]
  })
  afterAll(() => browser.close())

  /** By all rules in the light scheme, and by those about colours in the dark one: nothing else differs. */
  async function check(page: Page) {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      const axe = new AxeBuilder({ page }).setLegacyMode(true)
      const { violations } = await (colorScheme === 'light' ? axe.withTags(RULES) : axe.withRules(COLOURS)).analyze()
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
      expect([page.url(), colorScheme, found]).toEqual([page.url(), colorScheme, []])
    }
  }

  /** WCAG 1.4.10: nothing is lost sideways. */
  async function checkWidth(page: Page, width: number) {
    await page.setViewportSize({ width, height: 800 })
    const tooWide = await page.evaluate('document.documentElement.scrollWidth > innerWidth')
    expect([page.url(), width, tooWide]).toEqual([page.url(), width, false])
  }

  test('every page keeps the rules of WCAG 2.2 AA in both schemes, and fits from 320 px on', async () => {
    const { page } = visitor
    for (const path of paths) {
      await page.setViewportSize({ width: 1200, height: 800 })
      await page.goto(origin + path)
      await check(page)
      await checkWidth(page, 320)
      await checkWidth(page, 700)
      await checkWidth(page, 2000)
    }
  }, 300_000)

  test('the pages after a form, and dialogs, keep the rules of WCAG 2.2 AA too', async () => {
    const { page } = visitor
    page.on('dialog', (dialog) => void dialog.accept())
    await page.setViewportSize({ width: 320, height: 800 })
    await page.goto(`${origin}${application}/new-secret`)
    await page.click('main button')
    await page.waitForSelector('#secret')
    await check(page)
    await checkWidth(page, 320)
    await page.reload()
    await check(page)
    await page.goto(`${origin}/dashboard/applications/new`)
    await page.fill('#name', ' ')
    await page.fill('#organization_id', 'x')
    await page.click('main button')
    await page.waitForSelector('.error')
    await check(page)
    await page.goto(origin + application)
    await page.locator('[data-dialog]', { hasText: 'Delete' }).click()
    await page.waitForSelector('dialog[open]')
    await check(page)
  })
})
