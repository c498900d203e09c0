import { gzipSync } from 'node:zlib'
import type { Browser } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { samplesOf } from '../conformance/samples.ts'
import { type Served, serve } from '../served.ts'
import { cases, size } from '../sizes.ts'
import { checkAccessibility } from './axe.ts'
import { sharedChromium } from './chromium.ts'
import { chromiumPath } from './chromium-path.ts'
import { newVisitor } from './visitor.ts'

const leaveEvery = (elements: { remove: () => void }[], nth: number) =>
  elements.forEach((element, i) => void (i % nth > 0 && element.remove()))

describe.skipIf(!chromiumPath)('the API reference', () => {
  let served: Served
  let browser: Browser
  let origin: string

  beforeAll(async () => {
    served = await serve()
    origin = served.origins[0]
    browser = await sharedChromium()
  })

  describe.each(['/', '/docs'])('%s', (path) => {
    // One width per scheme: axe is slow on a page of this length.
    test.each([
      ['light', 1440],
      ['dark', 320],
    ] as const)('the page conforms to WCAG 2.2 AA: %s, %i px', { timeout: 240_000 }, async (colorScheme, width) => {
      const { page, context, check } = await newVisitor(browser, origin, {
        colorScheme,
        viewport: { width, height: 900 },
      })
      await page.goto(origin + path)
      // All calls look alike, and so do all entries and rows: the short run keeps every sixteenth.
      await page.locator('article, .contents li, main tbody tr').evaluateAll(leaveEvery, size(16, 1))
      await checkAccessibility(page, [colorScheme])
      check()
      await context.close()
    })

    test('the page has no horizontal scrolling from 320 to 1920 px (WCAG 1.4.10)', async () => {
      const { page, context } = await newVisitor(browser, origin)
      await page.goto(origin + path)
      for (const width of [320, 360, 768, 1024, 1440, 1920]) {
        await page.setViewportSize({ width, height: 900 })
        expect(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), `${width} px`).toBe(false)
      }
      await context.close()
    })

    test('the page can be used by keyboard, without JavaScript', async () => {
      const { page, context, press, check } = await newVisitor(browser, origin, { javaScriptEnabled: false })
      await page.goto(origin + path)
      await press('Skip to content')
      await expect.poll(() => new URL(page.url()).hash).toBe('#main')
      if (path === '/') {
        await press('API reference')
        await page.waitForURL(`${origin}/docs`)
      }
      await press('Rotate client secrets POST')
      await expect.poll(() => new URL(page.url()).hash).toBe('#rotateClientSecrets')
      const box = await page.locator('#rotateClientSecrets h3').boundingBox()
      expect(box?.y).toBeLessThan(200)
      check()
      await context.close()
    })
  })

  describe('/docs', () => {
    const article = '#rotateClientSecrets'
    const open = async (options = {}) => {
      const visitor = await newVisitor(browser, origin, options)
      await visitor.page.goto(`${origin}/docs${article}`)
      return visitor
    }

    test('/docs switches between languages and response statuses by radio buttons, without JavaScript', async () => {
      const { page, context, tabTo, press } = await open({ javaScriptEnabled: false })
      const sample = (marker: string) => page.locator(article).getByText(marker).first()
      expect(await sample('curl').isVisible()).toBe(true)
      await tabTo('curl')
      for (const [marker, isShown] of [
        ['await fetch', true],
        ['urllib.request', true],
        ['Net::HTTP', true],
        ['http.NewRequest', true],
        ['curl_init', true],
      ] as const) {
        expect(await sample(marker).isVisible()).toBe(false)
        await page.keyboard.press('ArrowRight')
        expect(await sample(marker).isVisible()).toBe(isShown)
      }
      await tabTo('201')
      await page.keyboard.press('ArrowLeft')
      expect(await page.locator(article).getByText('idempotency_key_reused').isVisible()).toBe(true)
      await press('idempotency_key_reused')
      await expect.poll(() => new URL(page.url()).hash).toBe('#error-idempotency_key_reused')
      expect(await page.getByRole('button').count()).toBe(0)
      expect(await page.getByRole('searchbox').count()).toBe(0)
      await context.close()
    })

    test('/docs shows every sample in the chosen language, also after a reload', async () => {
      const { page, context, check } = await open()
      await page.locator(article).getByText('Python', { exact: true }).click()
      const others = page.locator('#createApplication pre', { hasText: 'urllib.request' })
      expect(await others.isVisible()).toBe(true)
      await page.reload()
      expect(await others.isVisible()).toBe(true)
      expect(await page.locator('article pre:visible', { hasText: /^curl / }).count()).toBe(0)
      check()
      await context.close()
    })

    test('the copy button of /docs copies exactly the code that is shown', async () => {
      const { page, context } = await open()
      for (const language of ['curl', 'PHP']) {
        await page.locator(article).getByText(language, { exact: true }).click()
        const button = page.locator(`${article} button:visible`).first()
        await button.click()
        await expect.poll(() => button.textContent()).toBe('Copied')
        const copied = await page.evaluate('navigator.clipboard.readText()')
        expect(copied).toBe(await page.locator(`${article} .example code:visible`).first().textContent())
      }
      await context.close()
    })

    test('the keys / and Ctrl+K open the filter of /docs, which finds calls by title and by path', async () => {
      const { page, context } = await open()
      const titles = () => page.locator('.contents li a:visible').allTextContents()
      await page.keyboard.press('/')
      await page.keyboard.type('verify')
      expect(await titles()).toEqual(['Verify a client secret POST'])
      await page.keyboard.press('Control+k')
      await page.keyboard.type('oauth2/intro')
      expect(await titles()).toEqual(['Introspect an access token POST'])
      await page.keyboard.press('Enter')
      await expect.poll(() => new URL(page.url()).hash).toBe('#introspectAccessToken')
      await context.close()
    })

    test('the table of contents of /docs marks the call that is in view', async () => {
      const { page, context } = await open()
      const marked = page.locator('.contents [aria-current]')
      for (const id of ['updateClientSecret', 'createApplication']) {
        await page.locator(`#${id} h3`).evaluate((heading) => heading.scrollIntoView())
        await page.locator(`.contents [aria-current][href="#${id}"]`).waitFor()
        expect(await marked.count()).toBe(1)
        expect(await marked.isVisible()).toBe(true)
      }
      await context.close()
    })

    test.each(cases([false], [true]))(
      '/docs leads to any call in two taps on a phone, with JavaScript: %s',
      async (javaScriptEnabled) => {
        const { page, context } = await open({
          javaScriptEnabled,
          hasTouch: true,
          viewport: { width: 360, height: 740 },
        })
        const calls = samplesOf(await page.content()).filter(({ language }) => language === 'curl')
        for (const { id } of calls.filter((_, i) => i % size(6, 1) === 0)) {
          await page.getByText('Contents', { exact: true }).tap()
          await page.locator(`.contents a[href="#${id}"]`).tap()
          await expect.poll(() => new URL(page.url()).hash).toBe(`#${id}`)
          expect(await page.locator('.contents').isVisible()).toBe(false)
          const { y = 0 } = (await page.locator(`#${id} h3`).boundingBox()) ?? {}
          expect([id, y > 40 && y < 200]).toEqual([id, true])
        }
        await context.close()
      },
    )

    test('opening and closing the table of contents keeps the scroll position', async () => {
      const { page, context } = await open({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } })
      const place = () => page.locator(`${article} h3`).boundingBox()
      const before = await place()
      // A click of Playwright scrolls to its target, although it is in view.
      for (const name of ['Contents', 'Close']) await page.getByText(name, { exact: true }).dispatchEvent('click')
      expect(await place()).toEqual(before)
      await context.close()
    })

    test('at /docs, long lines of code scroll and do not wrap', async () => {
      const { page, context } = await open({ viewport: { width: 320, height: 740 } })
      const code = page.locator(`${article} .example pre:visible`).first()
      const height = () => code.evaluate((pre) => pre.clientHeight)
      const narrow = await height()
      expect(await code.evaluate((pre) => pre.scrollWidth > pre.clientWidth)).toBe(true)
      await page.setViewportSize({ width: 1920, height: 740 })
      expect(await height()).toBe(narrow)
      await context.close()
    })

    test('/docs loads at most 40 KB (compressed), only from this Worker, with a script of less than 2 KB', async () => {
      const { page, context, check } = await newVisitor(browser, origin)
      const responses: Promise<[path: string, bytes: number]>[] = []
      page.on('response', (response) => {
        const path = new URL(response.url()).pathname
        responses.push(response.body().then((body) => [path, gzipSync(body).length]))
      })
      await page.goto(`${origin}/docs`, { waitUntil: 'networkidle' })
      const sizes = new Map(await Promise.all(responses))
      expect([...sizes.keys()].sort()).toEqual([
        '/docs',
        '/static/icon.svg',
        '/static/pages.css',
        '/static/reference.css',
        '/static/reference.js',
      ])
      expect(sizes.get('/static/reference.js')).toBeLessThan(2048)
      expect([...sizes.values()].reduce((sum, size) => sum + size)).toBeLessThanOrEqual(40 * 1024)
      check()
      await context.close()
    })
  })
})
