import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'

/** Moments in which haste must not do harm: links, double clicks, dialogs, pasted secrets, rotations. */
describe.runIf(chromiumPath)('mistakes of a hurried user in the dashboard', () => {
  const environment = new Environment()

  test('a link on another site opens a page of the dashboard, and does not end the session', async () => {
    const { apiKey, path } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, context } = visitor
    await visitor.typeApiKey(apiKey)
    const runbook = await context.newPage()
    await context.route('http://wiki.example/', (route) =>
      route.fulfill({ contentType: 'text/html', body: `<a href="${environment.origin}${path}">the application</a>` }),
    )
    await runbook.goto('http://wiki.example/')
    await runbook.click('a')
    await runbook.waitForURL(environment.origin + path)
    expect(await runbook.locator('h1').textContent()).toBe('Nightly export')
    await page.reload()
    expect(await page.locator('h1').textContent()).toBe('Overview')
  })

  test('a second click on a slow connection creates no second secret, and shows the secret of the first click', async () => {
    const { apiKey, path, secrets, isValid } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page } = visitor
    await visitor.signIn(apiKey)
    const slow = await slowProxy(environment.origin)
    for (const [form, verb] of [
      ['new-secret', 'Create secret'],
      ['rotate', 'Rotate secrets'],
    ] as const) {
      await page.goto(`${slow.origin}${path}/${form}`)
      const before = (await secrets()).length
      const button = page.locator('button', { hasText: verb })
      await button.scrollIntoViewIfNeeded()
      const box = await button.boundingBox()
      const click = () => page.mouse.click((box?.x ?? 0) + 10, (box?.y ?? 0) + 10)
      const isHeld = slow.hold()
      await click()
      await isHeld
      await click()
      slow.release()
      await page.waitForSelector('#secret')
      expect(await isValid(await page.locator('#secret').inputValue())).toBe(true)
      expect(await secrets()).toHaveLength(before + 1)
      await page.click('[data-saved]')
      await page.waitForURL(/saved/)
    }
  })

  test('a secret that did not reach the browser can be replaced, even without scripts', async () => {
    const { apiKey, path, secrets, isValid } = await environment.newExample()
    const visitor = await environment.newVisitor({ javaScriptEnabled: false })
    const { page, press } = visitor
    page.on('dialog', (dialog) => void dialog.accept())
    await visitor.signIn(apiKey, `${path}/new-secret`)
    await press('Create secret')
    await page.waitForSelector('#secret')
    const lost = await page.locator('#secret').inputValue()
    const before = (await secrets()).length
    await page.reload()
    await press('Replace secret')
    await page.waitForSelector('#secret')
    const shown = await page.locator('#secret').inputValue()
    expect([await isValid(lost), await isValid(shown)]).toEqual([false, true])
    expect(await secrets()).toHaveLength(before)
    visitor.check()
  })

  test('a form that is open in one tab changes nothing after another tab has signed in to another environment', async () => {
    const [first, second] = [await environment.newExample(), await environment.newExample()]
    const visitor = await environment.newVisitor()
    const { page, context } = visitor
    await visitor.signIn(first.apiKey, '/dashboard/applications/new')
    const tab = await context.newPage()
    await tab.goto(`${environment.origin}/dashboard/sign-in`)
    await tab.fill('#api_key', second.apiKey)
    await tab.press('#api_key', 'Enter')
    await tab.waitForURL(`${environment.origin}/dashboard`)
    const count = async () =>
      ((await second.call('GET', '/connect/applications?limit=100')) as { data: [] }).data.length
    const before = await count()
    await page.fill('#name', 'Reports')
    await page.fill('#organization_id', 'org_1')
    await page.click('main button')
    await page.waitForSelector('h1:text-is("You are signed in to another environment")')
    expect(await page.locator('main').textContent()).toContain('Nothing was changed.')
    expect(await count()).toBe(before)
    visitor.check()
  })

  test('in a dialog, the focus is on Cancel or in a field, so that a repeated Enter changes nothing', async () => {
    const { apiKey, path, hint, secrets } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, press } = visitor
    await visitor.signIn(apiKey)
    const before = await secrets()
    for (const [open, menu] of [
      [`Revoke… …${hint}`, `More actions for …${hint}`],
      ['Revoke all secrets…', ''],
      ['Delete…', ''],
      ['Revoke… test', ''],
    ] as const) {
      await page.goto(environment.origin + (open.endsWith('test') ? '/dashboard/keys' : path))
      if (menu) await press(menu)
      await press(open)
      const dialog = page.locator('dialog[open]')
      await dialog.waitFor()
      const focus = dialog.locator(':focus')
      if ((await focus.getAttribute('id')) !== 'name') expect(await focus.textContent()).toBe('Cancel')
      const text = await dialog.textContent()
      expect(text).toContain('This can’t be undone.')
      if (!open.endsWith('test')) expect(text).toContain('Nightly export')
      if (menu) expect(text).toContain(`…${hint}`)
      await page.keyboard.press('Enter')
      // Enter on Cancel closes the dialog; Enter in the empty field leaves it open.
      if ((await page.locator('dialog').count()) > 0) await page.keyboard.press('Escape')
      await dialog.waitFor({ state: 'detached' })
    }
    expect(await secrets()).toEqual(before)
    visitor.check()
  })

  test.each([true, false])('no URL contains a pasted secret, scripts: %s', async (javaScriptEnabled) => {
    const { apiKey, applicationId, call } = await environment.newExample()
    const { secret } = (await call('POST', `/connect/applications/${applicationId}/client_secrets`)) as {
      secret: string
    }
    const visitor = await environment.newVisitor({ javaScriptEnabled })
    const { page } = visitor
    const sent: string[] = []
    page.on('request', (request) => void sent.push(request.url()))
    await visitor.signIn(apiKey)
    for (const [path, field] of [
      ['/dashboard/applications', '#search'],
      ['/dashboard', '#q'],
      ['/dashboard/events', '#target'],
      ['/dashboard/find', '#text'],
    ] as const) {
      await page.goto(environment.origin + path)
      await page.fill(field, secret)
      await page.press(field, 'Enter')
      await page.waitForLoadState()
      const parameter = field === '#target' ? 'target' : 'hint'
      expect(new URL(page.url()).search).toBe(`?${parameter}=${secret.slice(-6)}`)
    }
    for (const field of ['#application', '#organization']) {
      await page.goto(`${environment.origin}/dashboard/secrets`)
      await page.click('summary')
      await page.fill(field, secret)
      await page.press(field, 'Enter')
      await page.waitForLoadState()
    }
    for (const url of sent) expect(url).not.toContain(secret.slice(-7))
    visitor.check()
  })

  test('if a secret is pasted into a search, the browser sends only the last characters of the secret', async () => {
    const { apiKey } = await environment.newExample()
    const visitor = await environment.newVisitor()
    const { page, tabTo } = visitor
    const bodies: string[] = []
    page.on('request', (request) => void bodies.push(request.postData() ?? ''))
    await visitor.signIn(apiKey)
    const secret = `cs_0${'a'.repeat(43)}Xy12Zz`
    await page.evaluate(`navigator.clipboard.writeText('${secret}')`)
    for (const field of ['Search, or paste a leaked secret', 'Name or ID']) {
      await page.goto(`${environment.origin}/dashboard/applications`)
      await tabTo(field)
      await page.keyboard.press('Control+V')
      await page.keyboard.press('Enter')
      await page.waitForURL(/Xy12Zz/)
    }
    expect(bodies.filter((body) => body.includes('Xy12Zz'))).toHaveLength(2)
    for (const body of bodies) expect(body).not.toContain('aaaa')
    visitor.check()
  })

  test('a rotation gives the new secret the name and the lifetime of the old secret', async () => {
    const { apiKey, call, path, secrets, applicationId } = await environment.newExample()
    await call('DELETE', `/connect/applications/${applicationId}/client_secrets`)
    const expires_at = new Date(Date.now() + 90 * 86_400_000).toISOString()
    await call('POST', `/connect/applications/${applicationId}/client_secrets`, { name: 'production', expires_at })
    const visitor = await environment.newVisitor()
    await visitor.signIn(apiKey, `${path}/rotate`)
    await visitor.press('Rotate secrets')
    await visitor.page.waitForSelector('#secret')
    const rotated = (await secrets()).at(-1)
    const days = (Date.parse(rotated?.expires_at ?? '') - Date.parse(rotated?.created_at ?? '')) / 86_400_000
    expect([rotated?.name, Math.round(days)]).toEqual(['production', 90])
  })
})

/** Forwards requests to the Worker, and holds a form back until it is released. */
async function slowProxy(target: string) {
  let onHold = () => {}
  let release = () => {}
  const server = createServer(async (incoming, response) => {
    if (incoming.method === 'POST') {
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      onHold()
      await released
    }
    const { method, headers } = incoming
    const outgoing = request(target + incoming.url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    incoming.pipe(outgoing)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold: () =>
      new Promise<void>((resolve) => {
        onHold = resolve
      }),
    release: () => release(),
  }
}
