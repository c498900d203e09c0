import { describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { operatorDatabase } from '../operator.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

const WIDTHS = [320, 360, 768, 1024, 1440, 1920]
const TOO_WIDE = 'document.documentElement.scrollWidth > innerWidth'

describe.skipIf(!chromiumPath)('the layout', () => {
  const environment = new Environment()

  test('never scrolls sideways, however long names, ids and URLs are', async () => {
    const { apiKey, id, environmentId, call, applicationId, path } = await environment.newExample()
    const { database } = environment.served
    const organization_id = `org_${'Ab1'.repeat(21)}`
    const long = (await call('POST', '/connect/applications', {
      name: 'x'.repeat(255),
      application_type: 'm2m',
      organization_id,
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
      }
    }
    visitor.check()
  })

  test('shows 14 applications at once on a desktop, and a header of at most 96 px on a phone', async () => {
    const { apiKey, call } = await environment.newExample()
    for (let i = 0; i < 16; i++) {
      await call('POST', '/connect/applications', {
        name: `Application ${i}`,
        application_type: 'm2m',
        organization_id: 'org_01EHZNVPK3SFK441A1RGBFSHRT',
      })
    }
    const visitor = await environment.newVisitor({ viewport: { width: 1440, height: 900 } })
    const { page } = visitor
    await visitor.signIn(apiKey)
    const row = await page.locator('tbody tr').nth(13).boundingBox()
    expect((row?.y ?? Infinity) + (row?.height ?? 0)).toBeLessThanOrEqual(900)
    await page.setViewportSize({ width: 360, height: 780 })
    expect((await page.locator('header').boundingBox())?.height).toBeLessThanOrEqual(96)
  })

  test('isolates a name with a bidi override, which older rows may have, from the text around it', async () => {
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
