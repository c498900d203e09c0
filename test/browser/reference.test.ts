import { AxeBuilder } from '@axe-core/playwright'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Served, serve } from '../served.ts'
import { launchChromium } from './chromium.ts'
import { chromiumPath } from './chromium-path.ts'
import { newVisitor } from './visitor.ts'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

describe.skipIf(!chromiumPath)('the reference', () => {
  let served: Served
  let browser: Browser
  let origin: string

  beforeAll(async () => {
    served = await serve()
    origin = served.origins[0]
    browser = await launchChromium()
  })
  afterAll(() => browser.close())

  describe.each(['/', '/docs'])('%s', (path) => {
    // One width per scheme: axe is slow on a page of this length.
    test.each([
      ['light', 1440],
      ['dark', 320],
    ] as const)('has no violation of WCAG 2.2 AA: %s, %i px', { timeout: 240_000 }, async (colorScheme, width) => {
      const { page, context, check } = await newVisitor(browser, origin, {
        colorScheme,
        viewport: { width, height: 900 },
      })
      await page.goto(origin + path)
      const { violations } = await new AxeBuilder({ page }).withTags(RULES).setLegacyMode(true).analyze()
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([])
      check()
      await context.close()
    })

    test('has no horizontal scrolling from 320 px on (WCAG 1.4.10)', async () => {
      const { page, context } = await newVisitor(browser, origin)
      await page.goto(origin + path)
      for (const width of [320, 360, 768, 1024, 1440]) {
        await page.setViewportSize({ width, height: 900 })
        expect(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), `${width} px`).toBe(false)
      }
      await context.close()
    })

    test('can be used by keyboard, without JavaScript', async () => {
      const { page, context, press, check } = await newVisitor(browser, origin, { javaScriptEnabled: false })
      await page.goto(origin + path)
      await press('Skip to content')
      expect(new URL(page.url()).hash).toBe('#main')
      if (path === '/') {
        await press('API reference')
        await page.waitForURL(`${origin}/docs`)
      }
      await press('Rotate client secrets')
      expect(new URL(page.url()).hash).toBe('#rotateClientSecrets')
      const box = await page.locator('#rotateClientSecrets h3').boundingBox()
      expect(box?.y).toBeLessThan(200)
      await press('404 entity_not_found')
      expect(new URL(page.url()).hash).toBe('#error-entity_not_found')
      check()
      await context.close()
    })
  })
})
