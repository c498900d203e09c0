import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { cases } from '../sizes.ts'
import { launchChromium } from './chromium.ts'
import { chromiumPath, fullChromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

const CLIPBOARD = 'navigator.clipboard.readText()'
const STORED = `(async () => JSON.stringify([
  { ...localStorage }, { ...sessionStorage }, history.state, location.href, document.cookie,
  await indexedDB.databases(), await caches.keys(),
]))()`

const SECRET = /cs_0[0-9A-Za-z]{49}/

describe.runIf(chromiumPath)('the dashboard in a browser', () => {
  const environment = new Environment()

  test.each(
    cases(
      [{ way: 'by keyboard only', javaScriptEnabled: true }],
      [{ way: 'without scripts', javaScriptEnabled: false }],
    ),
  )('an administrator can manage applications and secrets $way', async ({ javaScriptEnabled }) => {
    const { apiKey, isValid } = await environment.newExample()
    const visitor = await environment.newVisitor({ javaScriptEnabled })
    const { page, press, type, tabTo } = visitor
    const main = () => page.locator('main').textContent()
    await visitor.typeApiKey(apiKey)

    // An application, at first with an invalid field.
    await press('Applications')
    await page.waitForURL(/applications$/)
    await press('New application')
    await type('Name', 'Reports')
    await type('Organization ID', 'acme')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.error')
    await page.keyboard.press('Control+A')
    await type('Organization ID', 'org_1')
    await page.keyboard.press('Enter')
    await page.waitForURL(/conn_app/)
    expect(await page.locator('h1').first().textContent()).toBe('Reports')
    expect(await main()).toContain('Application created.')

    // A secret.
    await press('New secret')
    await type('Name of the new secret (optional)', 'first')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#secret')
    const first = await page.locator('#secret').inputValue()
    expect(first).toMatch(SECRET)
    expect(await isValid(first)).toBe(true)
    await press('Done')
    await page.waitForURL(/#secret_/)
    expect(await page.content()).not.toContain(first)

    // The secret is rotated, and then kept.
    await press('Rotate…')
    await tabTo(/^In 24 hours/)
    await page.keyboard.press('ArrowDown')
    await press('Rotate secrets')
    await page.waitForSelector('#secret')
    const second = await page.locator('#secret').inputValue()
    expect(await main()).toContain('other secrets stop working')
    await press('Done')
    await page.waitForURL(/#secret_/)
    expect(await page.locator('tr', { hasText: first.slice(-6) }).textContent()).toContain('in 7 days')
    await press(`Keep …${first.slice(-6)}`)
    await page.waitForSelector('.notice')
    expect(await main()).toContain('2 of 5')

    // The secret is disabled and enabled.
    await press(`More actions for …${first.slice(-6)}`)
    await press(`Disable …${first.slice(-6)}`)
    await page.waitForSelector('.state.off')
    expect(await isValid(first)).toBe(false)
    await press(`More actions for …${first.slice(-6)}`)
    await press(`Enable …${first.slice(-6)}`)
    await page.waitForSelector('.state.off', { state: 'detached' })
    expect(await isValid(first)).toBe(true)

    // The secret is found by its hint, and revoked.
    await type('Search, or paste a leaked secret', first.slice(-6))
    await page.keyboard.press('Enter')
    await page.waitForURL(/find/)
    await press(`Revoke …${first.slice(-6)} now`)
    await page.waitForSelector('.notice.good')
    expect(await isValid(first)).toBe(false)
    expect(await isValid(second)).toBe(true)
    await press('Reports')
    await page.waitForURL(/applications\/[^/]+$/)

    // The application is edited, and deleted after its name is typed.
    await press('Edit')
    await type('Description (optional)', 'Every Monday')
    await press('Save application')
    await page.waitForURL(/conn_app_\w+$/)
    expect(await main()).toContain('Every Monday')
    await press('Delete…')
    await type('Name of the application', 'Reports')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/dashboard\/applications$/)
    expect(await main()).not.toContain('Reports')

    // Events by type.
    await press('Activity')
    await tabTo('Event')
    await page.keyboard.type('Secrets rotated')
    await press('Apply')
    await page.waitForURL(/rotated/)
    expect(await page.locator('tbody tr').count()).toBe(2)
    await press('Webhooks')
    expect(await page.locator('h1').textContent()).toBe('Webhooks')

    await press('Account: \u2068test\u2069')
    await press('Sign out')
    await page.waitForURL(/sign-in/)
    await page.goto(`${environment.origin}/dashboard`)
    expect(new URL(page.url()).pathname).toBe('/dashboard/sign-in')
    visitor.check()
  })

  test('the dashboard copies a secret, and stores it nowhere in the browser', async () => {
    const { apiKey, path } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, context, press } = visitor
    const urls: string[] = []
    page.on('response', (response) => void urls.push(response.url()))
    await visitor.signIn(apiKey, `${path}/new-secret`)
    await press('Create secret')
    await page.waitForSelector('#secret')
    const plaintext = await page.locator('#secret').inputValue()
    await press('Copy Client secret')
    await page.waitForSelector('#status:text-is("Client secret copied.")', { state: 'attached' })
    expect(await page.evaluate(CLIPBOARD)).toBe(plaintext)
    await press('Copy as .env')
    expect(await page.evaluate(CLIPBOARD)).toContain(`ONCEKEY_CLIENT_SECRET=${plaintext}`)
    const state = JSON.stringify(await context.storageState({ indexedDB: true }))
    for (const place of [String(await page.evaluate(STORED)), state, ...urls]) expect(place).not.toContain(plaintext)
    visitor.check()
  })

  test('a copy button that is pressed twice shows its original label again after a few seconds', async () => {
    const { apiKey, path } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await page.clock.install()
    await visitor.signIn(apiKey, path)
    const button = page.locator('[data-copy=client-id]')
    const width = async () => (await button.boundingBox())?.width
    const before = await width()
    await button.click()
    await page.waitForSelector('[data-copy=client-id][data-state=copied]')
    await button.click()
    await page.clock.runFor(4000)
    await page.waitForSelector('[data-copy=client-id]:not([data-state])')
    expect(await button.textContent()).toBe('Copy Client ID')
    expect(await width()).toBe(before)
  })

  test('if the browser blocks copying, the dashboard selects the text and shows a message', async () => {
    const { apiKey, path } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await page.addInitScript('navigator.clipboard.writeText = () => Promise.reject(new Error("blocked"))')
    await visitor.signIn(apiKey, path)
    await page.locator('[data-copy=client-id]').click()
    await page.waitForSelector('[data-copy=client-id][data-state=failed]')
    expect(await page.evaluate('String(getSelection())')).toMatch(/^client_/)
    expect(await page.locator('#status').textContent()).toContain('The browser blocked copying.')
  })

  test('the dashboard asks before you leave a new secret that you have not copied, and does not ask after you copied it', async () => {
    const { apiKey, path } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, press } = visitor
    const asked: string[] = []
    await visitor.signIn(apiKey, `${path}/new-secret`)
    await press('Create secret')
    await page.waitForSelector('#secret')
    page.once('dialog', (dialog) => {
      asked.push(dialog.type())
      void dialog.dismiss()
    })
    await visitor.tabTo('Activity')
    await page.keyboard.press('Enter')
    await expect.poll(() => asked).toEqual(['beforeunload'])
    expect(await page.locator('#secret').inputValue()).toMatch(SECRET)
    page.on('dialog', (dialog) => {
      asked.push(dialog.type())
      void dialog.accept()
    })
    await press('Copy Client secret')
    await page.waitForSelector('[data-state=copied]')
    await press('Activity')
    await page.waitForURL(/events/)
    expect(asked).toHaveLength(1)
    visitor.check()
  })

  test.each(cases([true], [false]))('reloading never shows a secret again, scripts: %s', async (javaScriptEnabled) => {
    const { apiKey, path, secrets } = await environment.newExample()
    const visitor = await environment.newVisitor({ javaScriptEnabled })
    const { page, press } = visitor
    page.on('dialog', (dialog) => void dialog.accept())
    await visitor.signIn(apiKey, path)
    const before = (await secrets()).length
    await press('New secret')
    await press('Create secret')
    await page.waitForSelector('#secret')
    const plaintext = await page.locator('#secret').inputValue()
    await page.reload()
    const heading = javaScriptEnabled ? 'Nightly export' : 'This secret was already created'
    expect(await page.locator('h1').first().textContent()).toBe(heading)
    expect(await page.content()).not.toContain(plaintext)
    expect(await secrets()).toHaveLength(before + 1)
    visitor.check()
  })

  describe.runIf(fullChromiumPath)('in a browser with a back/forward cache', () => {
    let browser: Browser

    beforeAll(async () => {
      browser = await launchChromium({ executablePath: fullChromiumPath, keepsPages: true })
    })
    afterAll(() => browser.close())

    test.each(cases([true], [false]))(
      'going back never shows a secret again, scripts: %s',
      async (javaScriptEnabled) => {
        const { apiKey, path, secrets } = await environment.newExample()
        const visitor = await environment.newVisitor({ javaScriptEnabled }, browser)
        const { page, context, press } = visitor
        await visitor.signIn(apiKey, `${path}/new-secret`)
        const before = (await secrets()).length
        await press('Create secret')
        await page.waitForSelector('#secret')
        const plaintext = await page.locator('#secret').inputValue()
        await press('Done')
        await page.waitForURL(/#secret_/)
        const navigations = await context.newCDPSession(page)
        await navigations.send('Page.enable')
        const arrived = new Promise<string>((resolve) => {
          navigations.on('Page.frameNavigated', ({ type, frame }) => resolve(`${type} ${frame.url}`))
        })
        void page.goBack({ waitUntil: 'commit' }).catch(() => {})
        // Without scripts the page is not kept, and the browser does not send the form again by itself.
        const came = javaScriptEnabled
          ? `BackForwardCacheRestore ${environment.origin}${path}`
          : /^Navigation chrome-error:/
        expect(await arrived).toMatch(came)
        if (javaScriptEnabled) await page.waitForSelector('h1:has-text("Nightly export")')
        expect(await page.content()).not.toContain(plaintext)
        if ((await page.locator('#secret').count()) > 0) expect(await page.locator('#secret').inputValue()).toBe('')
        expect(await secrets()).toHaveLength(before + 1)
        visitor.check()
      },
    )
  })

  test('a form that is sent after the API key was revoked leads to sign-in', async () => {
    const { apiKey, id, path } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, press } = visitor
    await visitor.signIn(apiKey, `${path}/new-secret`)
    await environment.served.database.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(id).run()
    await press('Create secret')
    await page.waitForURL(/sign-in/)
    expect(await page.locator('main').textContent()).toContain('Your session has ended.')
    expect(await page.context().cookies()).toEqual([])
    visitor.check()
  })

  test('revoking a stolen API key in the dashboard ends the sessions of the key', async () => {
    const { apiKey, environmentId } = await environment.newExample()
    const stolen = await newApiKey(environment.served.database, { environmentId })
    const thief = await environment.newVisitor()
    await thief.signIn(stolen.apiKey)
    await environment.served.database.prepare("UPDATE api_keys SET name = 'stolen' WHERE id = ?").bind(stolen.id).run()
    const visitor = await environment.newVisitor()
    await visitor.signIn(apiKey)
    await visitor.press('Keys')
    await visitor.press('Revoke… stolen')
    await visitor.page.waitForSelector('dialog[open]')
    await visitor.press('Revoke API key')
    await visitor.page.waitForSelector('.notice')
    expect(await visitor.page.locator('main').textContent()).not.toContain('stolen')
    await thief.page.reload()
    expect(new URL(thief.page.url()).pathname).toBe('/dashboard/sign-in')
    visitor.check()
  })

  test('Escape closes a dialog, and returns the focus to the menu that opened the dialog', async () => {
    const { apiKey, path, hint } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, press } = visitor
    await visitor.signIn(apiKey, path)
    await press(`More actions for …${hint}`)
    await press(`Revoke… …${hint}`)
    await page.waitForSelector('dialog[open]')
    await page.keyboard.press('Escape')
    await page.waitForSelector('dialog', { state: 'detached' })
    expect(await page.locator(':focus').getAttribute('aria-label')).toBe(`More actions for …${hint}`)
    visitor.check()
  })
})
