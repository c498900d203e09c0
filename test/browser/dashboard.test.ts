import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { type Served, serve } from '../served.ts'
import { launchChromium } from './chromium.ts'
import { chromiumPath } from './chromium-path.ts'
import { fill } from './example.ts'
import { newVisitor, type Visitor } from './visitor.ts'

/** Asked in the page, which has what this program has not. */
const CLIPBOARD = 'navigator.clipboard.readText()'
const STORED = `(async () => JSON.stringify([
  { ...localStorage }, { ...sessionStorage }, history.state, location.href, document.cookie,
  await indexedDB.databases(), await caches.keys(),
]))()`

const SECRET = /cs_0[0-9A-Za-z]{49}/

describe.skipIf(!chromiumPath)('in a browser', () => {
  let served: Served
  let browser: Browser
  let origin: string
  let key: Awaited<ReturnType<typeof newApiKey>>
  let applicationId: string
  let hint: string
  let path: string
  let visitor: Visitor

  beforeAll(async () => {
    served = await serve()
    origin = served.origins[0]
    browser = await launchChromium()
  })
  afterAll(() => browser.close())
  beforeEach(async () => {
    key = await newApiKey(served.database)
    const example = await fill(origin, key.apiKey)
    applicationId = example.applicationId
    hint = example.hint
    path = `${origin}/dashboard/applications/${applicationId}`
  })

  const api = async (method: string, target: string, body?: object) => {
    const headers = { Authorization: `Bearer ${key.apiKey}`, 'Content-Type': 'application/json' }
    const response = await fetch(origin + target, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    return { status: response.status, json: response.status === 204 ? null : await response.json() }
  }
  const isGood = async (client_secret: string) => {
    const { json } = await api('POST', '/connect/client_secrets/verify', { client_secret })
    return (json as { valid: boolean }).valid
  }
  const heading = () => visitor.page.locator('h1').first().textContent()
  const shown = async () => visitor.page.locator('#secret').inputValue()

  /** What a person does, by keyboard alone: a minute of it, on a machine that does other things as well. */
  async function walk(hasScript: boolean) {
    const { page, press, type, tabTo } = visitor
    await visitor.signIn(key.apiKey)

    // An application, with a mistake first.
    await press('New application')
    await type('Name', 'Reports')
    await type('Organization', 'acme')
    await page.keyboard.press('Enter')
    await page.waitForSelector('.error')
    await type('Organization', 'org_1')
    await page.keyboard.press('Enter')
    await page.waitForURL(/conn_app/)
    expect(await heading()).toBe('Reports')
    expect(await page.locator('main').textContent()).toContain('The application was created.')

    // A secret, once.
    await press('New secret')
    await type('Name (optional)', 'first')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#secret')
    const first = await shown()
    expect(first).toMatch(SECRET)
    expect(await isGood(first)).toBe(true)
    await press('I have saved it')
    await page.waitForURL(/#secret_/)
    expect(await page.content()).not.toContain(first)

    // Rotated, taken back.
    await press('Rotate')
    await tabTo(/^In 24 hours/)
    await page.keyboard.press('ArrowDown')
    await press('Rotate')
    await page.waitForSelector('#secret')
    const second = await shown()
    expect(await page.locator('main').textContent()).toContain('other secrets stop working')
    await press('I have saved it')
    await page.waitForURL(/#secret_/)
    expect(await page.locator('tr', { hasText: 'first' }).textContent()).toContain('in 7 days')
    await press(/^Take back/)
    await page.waitForSelector('.notice')
    expect(await page.locator('main').textContent()).toContain('2 of 5')

    // Switched off, and on again.
    await press(`Disable …${first.slice(-6)}`)
    await page.waitForSelector('.state.off')
    expect(await isGood(first)).toBe(false)
    await press(`Enable …${first.slice(-6)}`)
    await page.waitForSelector('.state.off', { state: 'detached' })
    expect(await isGood(first)).toBe(true)

    // Found by its end, and revoked.
    await type('Find a secret by its end', first.slice(-6))
    await page.keyboard.press('Enter')
    await page.waitForURL(/find/)
    await press(`Revoke …${first.slice(-6)}`)
    if (hasScript) await page.waitForSelector('dialog[open]')
    else await page.waitForURL(/revoke$/)
    const question = page.locator(hasScript ? 'dialog' : 'main')
    expect(await question.textContent()).toContain('within the last week')
    await press('Revoke secret')
    await page.waitForURL(/applications\/[^/?]+(\?.*)?$/)
    expect(await isGood(first)).toBe(false)
    expect(await isGood(second)).toBe(true)

    // Edited, and deleted by name.
    await press('Edit')
    await type('Description (optional)', 'Every Monday')
    await press('Save')
    expect(await page.locator('main').textContent()).toContain('Every Monday')
    await press('Delete…')
    await type('Name of the application', 'Reports')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/dashboard(\?.*)?$/)
    expect(await page.locator('main').textContent()).not.toContain('Reports')

    // Events by type.
    await press('Events')
    await tabTo('What')
    await page.keyboard.type('Secrets rotated')
    await press('Show')
    await page.waitForURL(/rotated/)
    expect(await page.locator('tbody tr').count()).toBe(2)
    await press('Webhooks')
    expect(await heading()).toBe('Webhooks')

    await press('Sign out')
    await page.waitForURL(/sign-in/)
    await page.goto(`${origin}/dashboard`)
    expect(new URL(page.url()).pathname).toBe('/dashboard/sign-in')
    visitor.check()
    return [first, second]
  }

  test('everything is done by keyboard alone', async () => {
    visitor = await newVisitor(browser, origin)
    await walk(true)
  }, 300_000)

  test('everything is done without scripts', async () => {
    visitor = await newVisitor(browser, origin, { javaScriptEnabled: false })
    await walk(false)
  }, 300_000)

  test('a secret is copied, and stays nowhere in the browser', async () => {
    const everything: string[] = []
    visitor = await newVisitor(browser, origin)
    const { page, context, press } = visitor
    page.on('response', async (response) => everything.push(response.url()))
    await visitor.signIn(key.apiKey)
    await page.goto(`${path}/new-secret`)
    await press('Create secret')
    await page.waitForSelector('#secret')
    const plaintext = await shown()
    await press(/^Copy Client secret/)
    await page.waitForSelector('#status:text-is("Client secret copied.")', { state: 'attached' })
    expect(await page.evaluate(CLIPBOARD)).toBe(plaintext)
    await press('Copy .env')
    expect(await page.evaluate(CLIPBOARD)).toContain(`ONCEKEY_CLIENT_SECRET=${plaintext}`)
    const kept = await page.evaluate(STORED)
    const state = JSON.stringify(await context.storageState({ indexedDB: true }))
    for (const place of [String(kept), state, ...everything]) expect(place).not.toContain(plaintext)
    visitor.check()
  })

  test('a secret is not left unsaved without a question', async () => {
    visitor = await newVisitor(browser, origin)
    const { page, press } = visitor
    await visitor.signIn(key.apiKey)
    await page.goto(`${path}/new-secret`)
    await press('Create secret')
    await page.waitForSelector('#secret')
    const asked: string[] = []
    page.once('dialog', (dialog) => {
      asked.push(dialog.type())
      void dialog.dismiss()
    })
    await visitor.tabTo('Events')
    await page.keyboard.press('Enter')
    await expect.poll(() => asked).toEqual(['beforeunload'])
    expect(await shown()).toMatch(SECRET)
    page.on('dialog', (dialog) => {
      asked.push(dialog.type())
      void dialog.accept()
    })
    await press('I have saved it')
    await page.waitForURL(/#secret_/)
    expect(asked).toHaveLength(1)
    visitor.check()
  })

  test.each([true, false])(
    'a secret comes back by no reload and no going back, scripts %s',
    async (javaScriptEnabled) => {
      visitor = await newVisitor(browser, origin, { javaScriptEnabled })
      const { page, press } = visitor
      page.on('dialog', (dialog) => void dialog.accept())
      await visitor.signIn(key.apiKey)
      const count = async () =>
        ((await api('GET', `/connect/applications/${applicationId}/client_secrets`)).json as []).length
      await page.goto(path)
      const before = await count()
      await press('New secret')
      await press('Create secret')
      await page.waitForSelector('#secret')
      const plaintext = await shown()

      await page.reload()
      expect(await heading()).toBe('This secret has been shown')
      expect(await page.content()).not.toContain(plaintext)
      expect(await count()).toBe(before + 1)

      await page.goto(`${path}/new-secret`)
      await press('Create secret')
      await page.waitForSelector('#secret')
      const another = await shown()
      await press('I have saved it')
      await page.waitForURL(/#secret_/)
      await page.goBack({ waitUntil: 'commit' }).catch(() => null)
      await page.waitForTimeout(500)
      expect(await page.content()).not.toContain(another)
      if ((await page.locator('#secret').count()) > 0) expect(await shown()).toBe('')
      expect(await count()).toBe(before + 2)
      visitor.check()
    },
  )

  test('a form that was left by a revoked key leads to signing in', async () => {
    visitor = await newVisitor(browser, origin)
    const { page, press } = visitor
    await visitor.signIn(key.apiKey)
    await page.goto(`${path}/new-secret`)
    await served.database.prepare('UPDATE api_keys SET revoked_at = 1 WHERE id = ?').bind(key.id).run()
    await press('Create secret')
    await page.waitForURL(/sign-in/)
    expect(await page.locator('main').textContent()).toContain('Your session has ended.')
    expect(await page.context().cookies()).toEqual([])
    visitor.check()
  })

  test('a stolen key is ended, and its sessions with it', async () => {
    const stolen = await newApiKey(served.database, { environmentId: key.environmentId })
    const thief = await newVisitor(browser, origin)
    await thief.signIn(stolen.apiKey)
    await served.database.prepare("UPDATE api_keys SET name = 'stolen' WHERE id = ?").bind(stolen.id).run()
    visitor = await newVisitor(browser, origin)
    await visitor.signIn(key.apiKey)
    await visitor.press('Keys')
    await visitor.press('Revoke stolen')
    await visitor.page.waitForSelector('dialog[open]')
    await visitor.press('Revoke key')
    await visitor.page.waitForSelector('.notice')
    expect(await visitor.page.locator('main').textContent()).not.toContain('stolen')
    await thief.page.reload()
    expect(new URL(thief.page.url()).pathname).toBe('/dashboard/sign-in')
    visitor.check()
  })

  test('a dialog is left by Escape, and the focus is where it was', async () => {
    visitor = await newVisitor(browser, origin)
    const { page, press } = visitor
    await visitor.signIn(key.apiKey)
    await page.goto(path)
    await press(`Revoke …${hint}`)
    await page.waitForSelector('dialog[open]')
    await page.keyboard.press('Escape')
    await page.waitForSelector('dialog', { state: 'detached' })
    expect(await page.locator(':focus').getAttribute('href')).toMatch(/\/revoke$/)
    visitor.check()
  })

  test('of a whole secret that is pasted to be found, only the end is sent', async () => {
    visitor = await newVisitor(browser, origin)
    const { page } = visitor
    await visitor.signIn(key.apiKey)
    await page.evaluate(`navigator.clipboard.writeText('cs_0${'a'.repeat(43)}Xy12Zz')`)
    await visitor.tabTo('Find a secret by its end')
    await page.keyboard.press('Control+V')
    await page.keyboard.press('Enter')
    await page.waitForURL(/find/)
    expect(new URL(page.url()).search).toBe('?hint=Xy12Zz')
    visitor.check()
  })
})
