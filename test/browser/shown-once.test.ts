import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { cases } from '../sizes.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

const CLIPBOARD = 'navigator.clipboard.readText()'

describe.runIf(chromiumPath)('the page that shows a secret once', () => {
  const environment = new Environment()

  /** Creates a secret, and opens its page. */
  async function shown(options: { javaScriptEnabled?: boolean } = {}) {
    const example = await environment.newExample()
    const visitor = await environment.newVisitor({ viewport: { width: 1440, height: 900 }, ...options })
    const { page } = visitor
    await visitor.signIn(example.apiKey, `${example.path}/new-secret`)
    await visitor.type('Name of the new secret (optional)', 'production')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#secret')
    return { ...example, ...visitor, visitor, plaintext: await page.locator('#secret').inputValue() }
  }

  test('the page of a new secret has the client ID, the secret and the token URL as fields to copy', async () => {
    const { page, press, plaintext, visitor } = await shown()
    for (const [field, label, text] of [
      ['client-id', 'Client ID', /^client_\w{26}$/],
      ['secret', 'Client secret', /^cs_0/],
      ['endpoint', 'Token URL', /\/oauth2\/token$/],
    ] as const) {
      await press(`Copy ${label}`)
      await page.waitForSelector(`#status:text-is("${label} copied.")`, { state: 'attached' })
      expect(await page.evaluate(CLIPBOARD)).toMatch(text)
      expect(await page.evaluate(CLIPBOARD)).toBe(await page.locator(`#${field}`).inputValue())
    }
    await press('Copy as JSON')
    const json = JSON.parse(String(await page.evaluate(CLIPBOARD)))
    expect(Object.keys(json)).toEqual(['client_id', 'client_secret', 'token_url'])
    expect(json.client_secret).toBe(plaintext)
    visitor.check()
  })

  test('the text that “Copy as JSON” copies is enough for a program to obtain a token', async () => {
    const { page, press, visitor } = await shown()
    await press('Copy as JSON')
    const { token_url, ...client } = JSON.parse(String(await page.evaluate(CLIPBOARD)))
    const body = new URLSearchParams({ grant_type: 'client_credentials', ...client })
    const response = await fetch(token_url, { method: 'POST', body })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ token_type: 'bearer' })
    visitor.check()
  })

  test('after a download, the page of a new secret can be left without a warning, and no download URL contains the secret', async () => {
    const { page, press, plaintext, visitor } = await shown()
    for (const [button, file] of [
      ['Download .env', 'env'],
      ['Download JSON', 'client.json'],
    ] as const) {
      const downloading = page.waitForEvent('download')
      await press(button)
      const download = await downloading
      expect(download.suggestedFilename()).toContain(file)
      expect(download.url()).toMatch(/^blob:/)
      expect(download.url()).not.toContain(plaintext)
      expect(await readFile(await download.path(), 'utf8')).toContain(plaintext)
    }
    await press('Activity')
    await page.waitForURL(/events/)
    visitor.check()
  })

  test.each(cases([true], [false]))(
    'the page of a new secret can hide the secret, and has examples in six languages, scripts: %s',
    async (scripts) => {
      const { page, tabTo, plaintext, visitor } = await shown({ javaScriptEnabled: scripts })
      const masked = () => page.evaluate("getComputedStyle(document.getElementById('secret')).webkitTextSecurity")
      if (scripts) expect(await masked()).toBe('none')
      await tabTo('Hide the secret, for example while you share your screen')
      await page.keyboard.press('Space')
      if (scripts) expect(await masked()).toBe('disc')
      await tabTo('curl')
      for (const [language, text] of [
        ['curl', 'curl "$ONCEKEY_URL'],
        ['node', 'openid-client'],
        ['python', 'urllib.request'],
        ['ruby', 'post_form('],
        ['go', 'http.PostForm('],
        ['php', 'curl_exec('],
      ] as const) {
        expect(await page.locator('.tab pre:visible').textContent()).toContain(text)
        expect(await page.locator('.tab pre:visible').getAttribute('id')).toBe(language)
        expect(await page.locator('.tab pre:visible').textContent()).not.toContain(plaintext)
        await page.keyboard.press('ArrowRight')
      }
      visitor.check()
    },
  )

  test('after the first use of a new secret, its page says that the secret works', async () => {
    const { page, plaintext, isValid, visitor } = await shown()
    await page.waitForSelector('[data-poll]:has-text("Waiting for the first use")')
    expect(await isValid(plaintext)).toBe(true)
    await page.waitForSelector('[data-poll]:has-text("The secret works.")')
    visitor.check()
  })

  test('without scripts, the page of a new secret has a link that shows whether the secret was used', async () => {
    const { page, press, plaintext, isValid, context } = await shown({ javaScriptEnabled: false })
    expect(await isValid(plaintext)).toBe(true)
    const opening = context.waitForEvent('page')
    await press('See whether the secret was used')
    const opened = await opening
    await opened.waitForSelector('#first-use')
    expect(await opened.locator('#first-use').textContent()).toContain('The secret works.')
    expect(await page.locator('#secret').inputValue()).toBe(plaintext)
  })

  // dangerous-moments.test.ts also replaces a secret without scripts.
  test.each(cases([true], [false]))(
    'a button on the page of a new secret replaces the secret if it was lost, scripts: %s',
    async (javaScriptEnabled) => {
      const { page, press, plaintext, isValid, secrets, visitor } = await shown({ javaScriptEnabled })
      const before = (await secrets()).length
      await press('I lost it: revoke and start over')
      await expect.poll(() => page.locator('#secret').inputValue()).not.toBe(plaintext)
      const replacement = await page.locator('#secret').inputValue()
      expect([await isValid(plaintext), await isValid(replacement)]).toEqual([false, true])
      expect((await secrets()).at(-1)?.name).toBe('production')
      expect(await secrets()).toHaveLength(before)
      visitor.check()
    },
  )
})
