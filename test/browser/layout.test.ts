import type { Locator } from 'playwright-core'
import { describe, expect, inject, test } from 'vitest'
import { type Hostile, seedHostile } from '../bench/hostile.ts'
import { dashboardPaths, isFile } from '../dashboard-paths.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

/** The narrowest phone and the narrowest desktop layout, where most pages would become too wide. */
const NARROWEST = [320, 1024]
const OTHER_WIDTHS = [360, 768, 1216, 1440, 1920]
const APPLICATIONS = 30
const HOSTILE = { application_type: 'm2m', organization_id: `org_${'Ab1Cd2Ef'.repeat(8)}` }
const TOO_WIDE = 'document.documentElement.scrollWidth > innerWidth'
/**
 * Parts of a table that overlap the next column or leave the page. Text is not among them, because it is cut off if it
 * is too long. The padding of a plain button, 4 px, may lie outside its column.
 */
const OUT_OF_PLACE = `[...document.querySelectorAll('main table')].flatMap((table) => {
  const beyond = (part, whole) => part.getBoundingClientRect().right > whole.getBoundingClientRect().right + 5
  const parts = [...table.querySelectorAll('td :is(.state, time, button, a.button)')]
  return [
    ...(beyond(table, table.parentElement) ? [table] : []),
    ...parts.filter((part) => part.checkVisibility() && beyond(part, part.closest('td'))),
  ].map((element) => element.outerHTML.slice(0, 120))
})`

describe.skipIf(!chromiumPath)('the layout', () => {
  // These tests have a Worker of their own, because seedHostile fills a whole database.
  const environment = new Environment(async () => ({}))
  let hostile: Promise<Hostile> | undefined

  /** An environment whose names have the maximum length, and characters that are hard to display. */
  async function newHostile() {
    hostile ??= seedHostile(environment.served.database, environment.origin, APPLICATIONS, () => {}).then(reportLeaks)
    const data = await hostile
    return { ...data, paths: dashboardPaths(data).filter((path) => !isFile(path)) }
  }

  /** Reports the oldest credentials of each kind as leaked, and pauses endpoints, so that lists mark them. */
  async function reportLeaks(data: Hostile): Promise<Hostile> {
    const { database } = environment.served
    const report = (table: string) =>
      database.prepare(
        `UPDATE ${table} SET leak_reported_at = 1 WHERE id IN (SELECT id FROM ${table} ORDER BY created_at LIMIT 5)`,
      )
    const events = ['connect_application_secret.used_while_expiring', 'api_key.leaked']
    await database.batch([
      ...['client_secrets', 'api_keys', 'webhook_endpoints'].map(report),
      database
        .prepare('UPDATE webhook_endpoints SET paused_at = 1, events = ? WHERE leak_reported_at = 1')
        .bind(JSON.stringify(events)),
    ])
    return data
  }

  test('with very long names, IDs and URLs, no page scrolls sideways, and every page has at most 60 KB', async () => {
    const { apiKey, paths } = await newHostile()
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    for (const [i, path] of paths.entries()) {
      await page.goto(environment.origin + path)
      expect(Buffer.byteLength(await page.content()), path).toBeLessThanOrEqual(60 * 1024)
      // The short run has three widths for each page.
      const others = inject('isLong') ? OTHER_WIDTHS : [OTHER_WIDTHS[i % OTHER_WIDTHS.length] as number]
      for (const width of [...NARROWEST, ...others]) {
        await page.setViewportSize({ width, height: 900 })
        const [isTooWide, outOfPlace, header] = await page.evaluate<[boolean, string[], number | undefined]>(
          `[${TOO_WIDE}, ${OUT_OF_PLACE}, document.querySelector('header.top')?.getBoundingClientRect().height]`,
        )
        expect([path, width, isTooWide, outOfPlace]).toEqual([path, width, false, []])
        expect(header, `${path} at ${width} px`).toBeLessThanOrEqual(64)
      }
    }
    visitor.check()
  }, 300_000)

  test('with very long names, a list shows 14 rows at once on a desktop, and the header is at most 96 px high on a phone', async () => {
    const { apiKey } = await newHostile()
    const visitor = await environment.newVisitor({ viewport: { width: 1440, height: 900 } })
    const { page } = visitor
    await visitor.signIn(apiKey)
    for (const path of ['/dashboard/applications', '/dashboard/events', '/dashboard/secrets']) {
      await page.goto(environment.origin + path)
      const row = await page.locator('tbody tr').nth(13).boundingBox()
      expect((row?.y ?? Infinity) + (row?.height ?? 0), path).toBeLessThanOrEqual(900)
      for (const { height } of await boxes(page.locator('tbody tr'))) {
        expect(height).toBeGreaterThanOrEqual(40)
        expect(height).toBeLessThanOrEqual(45)
      }
    }
    await page.setViewportSize({ width: 360, height: 780 })
    expect((await page.locator('header').boundingBox())?.height).toBeLessThanOrEqual(96)
  })

  test('at desktop width, the page header shows an environment name such as “production” in full', async () => {
    const { apiKey, environmentId } = await environment.newExample()
    await environment.served.database
      .prepare("UPDATE environments SET name = 'production' WHERE id = ?")
      .bind(environmentId)
      .run()
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    for (const width of [1216, 1440]) {
      await page.setViewportSize({ width, height: 900 })
      const { scrollWidth, clientWidth } = await page
        .locator('.where')
        .evaluate(({ scrollWidth, clientWidth }: { scrollWidth: number; clientWidth: number }) => ({
          scrollWidth,
          clientWidth,
        }))
      expect([width, scrollWidth]).toEqual([width, clientWidth])
    }
  })

  test('on a phone, a button with a long email address wraps the address', async () => {
    const visitor = await environment.newVisitor({ viewport: { width: 320, height: 780 } })
    const { page } = visitor
    await page.goto(`${environment.origin}/dashboard/sign-in`)
    await page.locator('main form').evaluate((form) => {
      const [button, name] = ['button', 'bdi'].map((tag) => form.ownerDocument.createElement(tag))
      name.textContent = `${'x'.repeat(40)}@example.com`
      button.append('Continue as ', name)
      form.append(button)
    })
    expect(await page.evaluate(TOO_WIDE)).toBe(false)
  })

  test('the heading of a page is aligned with the left edge of the header', async () => {
    const { apiKey, path } = await environment.newExample()
    const visitor = await environment.newVisitor({ viewport: { width: 1440, height: 900 } })
    const { page } = visitor
    await visitor.signIn(apiKey)
    for (const target of [
      '/dashboard',
      '/dashboard/applications',
      '/dashboard/webhooks/new',
      '/dashboard/keys/new',
      path,
      `${path}/edit`,
      `${path}/new-secret`,
      `${path}/delete`,
      '/dashboard/keys',
    ]) {
      await page.goto(environment.origin + target)
      const [brand, heading] = await Promise.all([
        page.locator('.brand').boundingBox(),
        page.locator('h1').boundingBox(),
      ])
      expect(heading?.x, target).toBe(brand?.x)
    }
  })

  test('on a phone, one menu leads to the sections and to sign-out, without scripts', async () => {
    const { apiKey } = await environment.newExample()
    const visitor = await environment.newVisitor({ viewport: { width: 360, height: 780 }, javaScriptEnabled: false })
    const { page, press } = visitor
    await visitor.signIn(apiKey)
    await press('Menu')
    await press('Webhooks')
    await page.waitForURL(/webhooks$/)
    await press('Menu')
    await press('Sign out')
    await page.waitForURL(/sign-in/)
    visitor.check()
  })

  test('in the list of applications, a button that the keyboard reaches copies the client ID', async () => {
    const { apiKey, call } = await environment.newExample()
    const { client_id } = (await call('POST', '/connect/applications', { ...HOSTILE, name: 'Copied' })) as {
      client_id: string
    }
    const visitor = await environment.newVisitor({ viewport: { width: 1440, height: 900 } })
    const { page, press } = visitor
    await visitor.signIn(apiKey)
    await press('Applications')
    await page.waitForURL(/applications$/)
    await press('Copy Client ID of \u2068Copied\u2069')
    await page.waitForSelector('#status:text("copied.")', { state: 'attached' })
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(client_id)
    visitor.check()
  })

  test('a name with a bidi override, which older rows may have, does not affect the text around it', async () => {
    const { apiKey, applicationId, path } = await environment.newExample()
    const name = 'invoice\u202Egpj.exe'
    await environment.served.database
      .prepare('UPDATE applications SET name = ? WHERE id = ?')
      .bind(name, applicationId)
      .run()
    const visitor = await environment.newVisitor()
    await visitor.signIn(apiKey, `${path}/delete`)
    const text = `:text-is("${name}")`
    const names = await visitor.page.locator(`main ${text}`).count()
    expect(names).toBeGreaterThan(1)
    expect(await visitor.page.locator(`main bdi${text}, main bdi ${text}`).count()).toBe(names)
    expect(await visitor.page.title()).toBe(`Delete \u2068${name}\u2069 · Oncekey`)
  })
})

async function boxes(locator: Locator): Promise<{ height: number }[]> {
  const found = await Promise.all((await locator.all()).map((element) => element.boundingBox()))
  return found.map((box) => box ?? { height: 0 })
}
