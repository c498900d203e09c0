import type { Locator } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { operatorDatabase } from '../operator.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

const WIDTHS = [320, 360, 768, 1024, 1216, 1440, 1920]
/** Words that no browser can break, right-to-left text, emoji, markup. */
const HOSTILE_NAMES = [
  'x'.repeat(255),
  'تطبيق الفواتير الشهرية',
  '🚀🔥 Deploy 🎉',
  '<b>x</b>',
  'שרת הדיווח \u2067abc\u2069',
]
const HOSTILE = { application_type: 'm2m', organization_id: `org_${'Ab1Cd2Ef'.repeat(8)}` }
const TOO_WIDE = 'document.documentElement.scrollWidth > innerWidth'

describe.skipIf(!chromiumPath)('the layout', () => {
  const environment = new Environment()

  test('the layout never scrolls sideways, whatever names, ids and URLs are', async () => {
    const { apiKey, id, environmentId, call, applicationId, path } = await environment.newExample()
    const { database } = environment.served
    const long = (await call('POST', '/connect/applications', {
      name: 'x'.repeat(255),
      ...HOSTILE,
      scopes: ['s'.repeat(200)],
      description: 'd'.repeat(1000),
    })) as { id: string }
    await call('POST', `/connect/applications/${long.id}/client_secrets`, { name: 'y'.repeat(100) })
    await createWebhookEndpoint(operatorDatabase(database), {
      id: newId('we', Date.now()),
      environmentId,
      url: `https://${'h'.repeat(60)}.example/${'p'.repeat(300)}`,
      events: [],
      secret: 'whsec_x',
      createdAt: Date.now(),
    })
    for (const name of HOSTILE_NAMES) await call('POST', '/connect/applications', { ...HOSTILE, name })
    await call('POST', `/connect/applications/${applicationId}/client_secrets`, {})
    await database.batch([
      database.prepare('UPDATE api_keys SET name = ? WHERE id = ?').bind('k'.repeat(255), id),
      database.prepare('UPDATE environments SET name = ? WHERE id = ?').bind('e'.repeat(255), environmentId),
    ])
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    const secret = await page
      .goto(`${environment.origin}/dashboard/applications/${long.id}`)
      .then(() => page.locator('tbody tr').first().getAttribute('id'))
    const application = `/dashboard/applications/${long.id}`
    for (const target of [
      '/dashboard',
      '/dashboard/applications',
      '/dashboard/webhooks/new',
      '/dashboard/keys/new',
      '/dashboard/secrets',
      `/dashboard/secrets/${secret}`,
      '/dashboard/find?q=xxxx',
      '/dashboard/events',
      '/dashboard/webhooks',
      '/dashboard/keys',
      path,
      application,
      ...['edit', 'delete', 'new-secret', 'rotate', 'revoke-all'].map((form) => `${application}/${form}`),
      ...['edit', 'revoke'].map((form) => `${application}/secrets/${secret}/${form}`),
    ]) {
      await page.goto(environment.origin + target)
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 })
        expect([target, width, await page.evaluate(TOO_WIDE)]).toEqual([target, width, false])
        const header = await page.locator('header.top').boundingBox()
        expect(header?.height, `${target} at ${width} px`).toBeLessThanOrEqual(64)
      }
    }
    visitor.check()
  })

  test('a desktop shows 14 rows of any names at once, and a phone a header of at most 96 px', async () => {
    const { apiKey, call } = await environment.newExample()
    for (let i = 0; i < 16; i++) {
      const name = HOSTILE_NAMES[i % HOSTILE_NAMES.length]
      const { id } = (await call('POST', '/connect/applications', { ...HOSTILE, name })) as { id: string }
      await call('POST', `/connect/applications/${id}/client_secrets`, { name: 'y'.repeat(100) })
    }
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

  test('the layout starts every page at the left edge of the header', async () => {
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

  test('the layout opens its sections, its search and the account from one menu on a phone, without a script', async () => {
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

  test('a button that the keyboard reaches copies the ID of a row', async () => {
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

  test('the layout isolates a name with a bidi override, which older rows may have, from the text around it', async () => {
    const { apiKey, applicationId, path } = await environment.newExample()
    const name = 'invoice\u202Egpj.exe'
    await environment.served.database
      .prepare('UPDATE applications SET name = ? WHERE id = ?')
      .bind(name, applicationId)
      .run()
    const visitor = await environment.newVisitor()
    await visitor.signIn(apiKey)
    await visitor.page.goto(`${environment.origin}${path}/delete`)
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
