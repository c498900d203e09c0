import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { AccessTeam, ASSERTION_HEADER, EMAIL, newTag } from '../access-team.ts'
import { atEnd } from '../at-end.ts'
import { home } from '../operator.ts'
import { cases } from '../sizes.ts'
import { checkAccessibility } from './axe.ts'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

/** The dashboard behind Cloudflare Access, whose public keys come from a server on loopback. */
describe.runIf(chromiumPath)('a person who signs in through Cloudflare Access', () => {
  let team: AccessTeam
  const keyId = newId('api_key', Date.now(), home.region)
  const environment = new Environment(async () => {
    team = await serveTeam()
    return team.settings(keyId)
  })
  let example: ReturnType<Environment['newExample']> | undefined

  /** A browser to whose requests Access adds an assertion. */
  async function newPerson({ javaScriptEnabled = true, aud = [team.tag] } = {}) {
    example ??= environment.newExample({ id: keyId })
    const { path } = await example
    const headers = { [ASSERTION_HEADER]: await team.assertion({ aud }) }
    const options = { javaScriptEnabled, extraHTTPHeaders: headers, reducedMotion: 'reduce' as const }
    const visitor = await environment.newVisitor(options)
    await visitor.page.goto(`${environment.origin}/dashboard`)
    const main = () => visitor.page.locator('main').textContent()
    return { ...visitor, visitor, path, main }
  }

  test.each(cases([true], [false]))(
    'after a sign-in with one button, a new secret and the activity list show the person’s email address, scripts: %s',
    async (javaScriptEnabled) => {
      const { visitor, page, press, path, main } = await newPerson({ javaScriptEnabled })
      await page.waitForURL(/sign-in/)
      expect(await main()).toContain('Not you? Sign out of Cloudflare Access')
      if (javaScriptEnabled) await checkAccessibility(page)
      await press(`Continue as ${EMAIL}`)
      await page.waitForURL(`${environment.origin}/dashboard`)

      await page.goto(`${environment.origin}${path}/new-secret`)
      await press('Create secret')
      await page.waitForSelector('#secret')
      const hint = (await page.locator('#secret').inputValue()).slice(-6)
      await press('Done')
      await page.waitForURL(/#secret_/)

      await page.goto(`${environment.origin}/dashboard/secrets`)
      const row = page.locator('tr', { hasText: hint })
      expect(await row.textContent()).toContain(`by ${EMAIL}`)
      // Secrets that a program created with the API key name the API key as their creator.
      expect(await main()).toContain('by API key test')
      if (javaScriptEnabled) await checkAccessibility(page)
      await row.getByRole('link', { name: hint }).click()
      await page.waitForURL(/secrets\/secret_/)
      expect(await main()).toContain(`${EMAIL} with the API key test`)
      if (javaScriptEnabled) await checkAccessibility(page)

      await page.goto(`${environment.origin}/dashboard/events`)
      const event = page.locator('tr', { hasText: hint }).first()
      expect(await event.textContent()).toContain(`\u2068${EMAIL}\u2069 (API key \u2068test\u2069)`)
      visitor.check()
    },
  )

  test('a person with an assertion for another Access application is not signed in, and the page says why', async () => {
    const { visitor, page, main, path, tabTo } = await newPerson({ aud: [newTag()] })
    await page.waitForURL(/sign-in/)
    expect(await page.locator('[role=alert]').textContent()).toContain(
      'The assertion of Cloudflare Access is invalid or has expired, so you can’t sign in through Access.',
    )
    expect(await main()).not.toContain('Continue as')
    await checkAccessibility(page)
    // The person can still sign in with an API key.
    await tabTo('API key')
    await page.goto(environment.origin + path)
    await page.waitForURL(/sign-in/)
    visitor.check()
  })

  test('a person who signs out stays signed out, and the page links to the sign-out of Access', async () => {
    const { visitor, page, press, main } = await newPerson()
    await press(`Continue as ${EMAIL}`)
    await page.waitForURL(`${environment.origin}/dashboard`)
    await press(`Account: \u2068${EMAIL}\u2069`)
    await press('Sign out')
    await page.waitForURL(/sign-in\?out/)
    expect(await main()).toContain('You are signed out.')
    expect(await main()).toContain('Sign out of Cloudflare Access, which signs you out of all its applications.')
    expect(await page.locator('main a[href="/cdn-cgi/access/logout"]').count()).toBe(1)
    await checkAccessibility(page)
    await page.goto(`${environment.origin}/dashboard`)
    await page.waitForURL(/sign-in/)
    visitor.check()
  })
})

/** A team whose public keys are served on loopback. */
async function serveTeam(): Promise<AccessTeam> {
  const server = createServer((request, response) => {
    if (request.url !== '/cdn-cgi/access/certs') response.writeHead(404).end()
    else response.end(JSON.stringify({ keys: [team.jwk] }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(async () => {
    server.closeAllConnections()
    server.close()
  })
  const team = new AccessTeam(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return team
}
