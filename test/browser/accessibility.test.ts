import type { Browser } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { dashboardPaths, isFile } from '../dashboard-paths.ts'
import { newApiKey, operatorDatabase } from '../operator.ts'
import { type Served, serve } from '../served.ts'
import { size } from '../sizes.ts'
import { checkAccessibility, findViolations, type Violation } from './axe.ts'
import { sharedChromium } from './chromium.ts'
import { chromiumPath } from './chromium-path.ts'
import { fill } from './example.ts'
import { newVisitor, pressInRow, type Visitor } from './visitor.ts'

/**
 * The width of the window for forms and dialogs. In the short run it is the browser's default, at which the pages of an
 * empty environment are checked too.
 */
const WIDTH = size(1280, 1200)

describe.skipIf(!chromiumPath)('every page of the dashboard', () => {
  let served: Served
  let browser: Browser
  let origin: string
  let visitor: Visitor
  let paths: string[]
  let application: string
  let endpoint: string

  beforeAll(async () => {
    served = await serve()
    origin = served.origins[0]
    browser = await sharedChromium()
    const { apiKey, environmentId, id: key } = await newApiKey(served.database)
    visitor = await newVisitor(browser, origin, { reducedMotion: 'reduce' })
    await visitor.signIn(apiKey)
    const empty = await newVisitor(browser, origin, { reducedMotion: 'reduce' })
    await empty.signIn((await newApiKey(served.database)).apiKey)
    for (const path of ['/dashboard', '/dashboard/events', '/dashboard/webhooks']) {
      await empty.page.goto(origin + path)
      await checkAccessibility(empty.page)
    }
    await empty.context.close()
    const { applicationId, hint } = await fill(origin, apiKey)
    application = `/dashboard/applications/${applicationId}`
    endpoint = newId('we', Date.now())
    await createWebhookEndpoint(operatorDatabase(served.database), {
      id: endpoint,
      environmentId,
      url: 'https://receiver.invalid/hooks',
      events: [],
      secret: 'whsec_x',
      createdAt: Date.now(),
    })
    const [secret, event] = await served.database.batch<{ id: string }>(
      ['client_secrets', 'events'].map((table) => served.database.prepare(`SELECT max(id) AS id FROM ${table}`)),
    )
    const idOf = (result?: D1Result<{ id: string }>) => result?.results[0]?.id as string
    // Lists and the overview mark credentials that are reported as leaked, and keys with limits.
    const limited = (await newApiKey(served.database, { environmentId })).id
    await served.database.batch([
      ...['client_secrets', 'api_keys', 'webhook_endpoints'].map((table) =>
        served.database
          .prepare(`UPDATE ${table} SET leak_reported_at = ?, leak_source = 'https://paste.example/x'
          WHERE id IN (?, ?, ?)`)
          .bind(Date.now(), idOf(secret), limited, endpoint),
      ),
      served.database
        .prepare(`UPDATE api_keys SET permissions = '["secrets:verify"]', allowed_ips = '{"10.0.0.0/8":"00001010"}',
          key_expires_at = ? WHERE id = ?`)
        .bind(Date.now() + 86_400_000, limited),
    ])
    const objects = { application: applicationId, secret: idOf(secret), event: idOf(event), endpoint, key }
    paths = [
      ...dashboardPaths(objects).filter((path) => !isFile(path)),
      '/dashboard/applications?search=nothing',
      '/dashboard/secrets?state=revoked&unused=90',
      `/dashboard/find?hint=${hint}`,
      '/dashboard/find?q=export',
      '/dashboard/find?hint=000000',
      '/dashboard/find?hint=0',
      '/dashboard/events?from=2020-01-01',
      '/dashboard/nothing',
      '/dashboard/sign-in?ended',
    ]
  }, 180_000)

  /** The source of a page. It shows without a browser whether the page has what a test looks for. */
  const markup = async (path: string) => (await visitor.context.request.get(origin + path)).text()

  describe('a visit of every page', () => {
    const visits: Visit[] = []

    beforeAll(async () => {
      const { page } = visitor
      await page.setViewportSize({ width: 1440, height: 900 })
      for (const [i, path] of paths.entries()) {
        // All pages share their frame (header and navigation) and their colours: on two of three pages, the short run
        // checks neither Tab in the frame nor the dark scheme.
        const isWhole = i % size(3, 1) === 0
        await page.emulateMedia({ colorScheme: 'light' })
        await page.goto(origin + path + (isWhole ? '' : '#main'))
        const wanted = await page.evaluate<string[]>(pressable(isWhole ? 'body' : 'main'))
        // For Tab, radio buttons with one name are one stop, and a date field has four. After the last stop, Tab returns
        // to the first one.
        const dates = await page.locator('input[type=date]').count()
        await pressInRow(page, 'Tab', wanted.length + 3 * dates + 3)
        const { passed, unseen } = await page.evaluate<{ passed: string[]; unseen: string[] }>('passed')
        const unreached = wanted.filter((element) => !passed.includes(element))
        const hints = await page.evaluate<Visit['hints']>(HINTS)
        const violations = await findViolations(page, isWhole ? ['light', 'dark'] : ['light'])
        visits.push({ path, unreached, unseen, hints, violations })
      }
      visitor.check()
    }, 300_000)

    test('every page conforms to WCAG 2.2 AA in light and dark mode', () => {
      expect(visits.filter(({ violations }) => violations.length > 0)).toEqual([])
      expect(visits).toHaveLength(paths.length)
    })

    test('on every page, the keyboard reaches every link, button and field, and the focus is visible', () => {
      expect(visits.filter(({ unreached, unseen }) => unreached.length + unseen.length > 0)).toEqual([])
    })

    test('on every page, a secret’s hint is a link to the page of the secret, or next to such a link', () => {
      const hints = visits.flatMap(({ path, hints }) => hints.map(([hint, isLinked]) => ({ path, hint, isLinked })))
      expect(hints.length).toBeGreaterThan(20)
      expect(hints.filter(({ isLinked }) => !isLinked)).toEqual([])
    })
  })

  test('without scripts, no page shows a button that needs a script, and every dialog has a page in its place', async () => {
    const plain = await newVisitor(browser, origin, { javaScriptEnabled: false })
    const { page } = plain
    await plain.context.addCookies(await visitor.context.cookies())
    const dialogs = new Map<string, string>()
    for (const path of paths) {
      await page.goto(origin + path)
      const { headings, buttons, unsent, targets } = await page.evaluate<WithoutScripts>(WITHOUT_SCRIPTS)
      expect([path, headings, buttons, unsent]).toEqual([path, 1, 0, 0])
      for (const target of targets) dialogs.set(kindOf(target), target)
    }
    expect(dialogs.size).toBeGreaterThan(4)
    for (const target of dialogs.values()) {
      await page.goto(origin + target)
      expect([target, await page.locator('#confirm [data-cancel], #confirm .error').count()]).not.toEqual([target, 0])
    }
    plain.check()
    await plain.context.close()
  }, 300_000)

  test('the pages that follow a sent form conform to WCAG 2.2 AA', async () => {
    const { page } = visitor
    page.on('dialog', (dialog) => void dialog.accept())
    const submit = async (path: string, fields: Record<string, string>, next: string, button = 'main button') => {
      await page.goto(origin + path)
      for (const [field, text] of Object.entries(fields)) await page.fill(field, text)
      await page.locator(button).first().click()
      await page.waitForSelector(next)
      await checkAccessibility(page)
    }
    await page.setViewportSize({ width: 320, height: 800 })
    await submit(`${application}/new-secret`, {}, '#secret')
    await page.reload()
    await checkAccessibility(page)
    await submit('/dashboard/applications/new', { '#name': ' ', '#organization_id': 'x' }, '.error')
    await submit('/dashboard/keys/new', { '#name': 'robot' }, '#secret')
    await submit('/dashboard/webhooks/new', { '#url': 'https://receiver.invalid/2' }, '#secret', '.primary')
    await submit('/dashboard/webhooks', {}, 'h1:text-is("Test event failed")', `[action*="${endpoint}/test"] button`)
    await page.setViewportSize({ width: WIDTH, height: 800 })
    await page.goto(`${origin}/dashboard/secrets`)
    await page.getByLabel(/on this page$/).check()
    await page.getByRole('button', { name: 'Revoke selected…' }).click()
    await page.waitForSelector('#typed')
    await checkAccessibility(page)
  })

  test('every form with invalid fields shows their errors as WCAG 2.2 AA requires', async () => {
    const { page } = visitor
    let candidates = 0
    let forms = 0
    for (const path of paths) {
      if (!/<form[^>]* class="[^"]*\bstack\b/.test(await markup(path))) continue
      // The forms have fields in common: the short run sends every second form.
      candidates += 1
      if (candidates % size(2, 1) !== 0) continue
      await page.goto(origin + path)
      const form = page.locator('main form.stack:has(.field :is(input, textarea):not([readonly]))')
      if ((await form.count()) === 0 || (await page.locator('main search form.stack').count()) > 0) continue
      await form
        .locator('.field :is(input, textarea):visible')
        .evaluateAll((fields: { type: string; value: string }[]) => {
          for (const field of fields) {
            // A browser sends no invalid URL.
            if (field.type === 'url') field.type = 'text'
            field.value = '\u0007'
          }
        })
      await form.locator('[type=submit]').last().click()
      await page.waitForSelector('.error')
      expect([path, await page.locator('.field .error, fieldset .error').count()]).not.toEqual([path, 0])
      forms += 1
      await checkAccessibility(page)
    }
    expect(forms).toBeGreaterThan(size(3, 7))
    visitor.check()
  }, 300_000)

  test('every kind of dialog and menu conforms to WCAG 2.2 AA', async () => {
    const { page } = visitor
    await page.setViewportSize({ width: WIDTH, height: 800 })
    const seen = new Set<string>()
    for (const path of paths) {
      const tags = (await markup(path)).match(/<[^>]* (data-dialog|popovertarget=)[^>]*>/g) ?? []
      const kinds = tags.map((tag) => kindOf(/ (?:href|popovertarget)="([^"]*)"/.exec(tag)?.[1] ?? ''))
      // Every page has the menu for narrow windows, which is invisible at this width.
      if (kinds.every((kind) => seen.has(kind) || kind === 'site-menu')) continue
      await page.goto(origin + path)
      const openers = page.locator('[data-dialog]:visible, [popovertarget]:visible')
      const targets = await openers.evaluateAll((elements: { getAttribute: (name: string) => string | null }[]) =>
        elements.map((element) => String(element.getAttribute('href') ?? element.getAttribute('popovertarget'))),
      )
      for (const [i, kind] of targets.map(kindOf).entries()) {
        if (seen.has(kind)) continue
        seen.add(kind)
        await openers.nth(i).click()
        await page.waitForSelector('dialog[open], [popover]:popover-open')
        // Enter must not do what cannot be undone.
        if ((await page.locator('dialog[open]').count()) > 0)
          expect([kind, await page.evaluate(IS_FOCUS_HARMLESS)]).toEqual([kind, true])
        await checkAccessibility(page, seen.size % size(3, 1) === 0 ? ['light', 'dark'] : ['light'])
        await page.keyboard.press('Escape')
      }
    }
    expect(seen).toContain('/dashboard/settings/freeze')
    expect(seen).toContain('/dashboard/keys/:id/revoke')
    visitor.check()
  }, 300_000)

  test('the pages of a frozen environment conform to WCAG 2.2 AA', async () => {
    const { page } = visitor
    await page.goto(`${origin}/dashboard/settings/freeze`)
    await page.click('#confirm button')
    for (const path of ['/dashboard/settings', '/dashboard', `${application}/new-secret`]) {
      await page.goto(origin + path)
      await page.waitForSelector('.notice.bad:has-text("frozen")')
      await checkAccessibility(page)
    }
    await page.locator('main form button').last().click()
    await page.waitForSelector('h1:text-is("Not saved")')
    await checkAccessibility(page)
    visitor.check()
  })
})

const IS_FOCUS_HARMLESS = `(({ activeElement: focus }) =>
  focus.closest('dialog') !== null && (focus.textContent === 'Cancel' || focus.matches('input')))(document)`

/** The hints of secrets in the page, apart from titles and buttons. */
const HINTS = `[...document.querySelectorAll('main .hint')]
  .filter((hint) => !hint.closest('h1, h2, button, form'))
  .map((hint) => [hint.textContent, hint.closest('a, td, li, dd, p')?.matches('a, :has(a[href^="/dashboard/secrets/secret_"])') ?? false])`

interface Visit {
  readonly path: string
  /** Elements that the keyboard does not reach. */
  readonly unreached: readonly string[]
  /** Elements that show no focus when the keyboard reaches them. */
  readonly unseen: readonly string[]
  readonly hints: readonly (readonly [hint: string, isLinked: boolean])[]
  readonly violations: readonly Violation[]
}

interface WithoutScripts {
  readonly headings: number
  /** Visible buttons that only a script could act on. */
  readonly buttons: number
  /** Forms without a button to send them. */
  readonly unsent: number
  /** The paths of the pages that take the place of dialogs. */
  readonly targets: readonly string[]
}

const WITHOUT_SCRIPTS = `({
  headings: document.querySelectorAll('h1').length,
  buttons: [...document.querySelectorAll('button[type=button]:not([popovertarget])')].filter(
    (button) => button.checkVisibility({ visibilityProperty: true })).length,
  unsent: [...document.forms].filter((form) => !form.querySelector('[type=submit]')).length,
  targets: [...document.querySelectorAll('[data-dialog]')].map((link) => link.getAttribute('href')),
})`

/** Replaces object IDs in a path or an element ID, so that the text is the same for every object. */
const kindOf = (text: string) => text.replace(/[a-z_]+_[0-9A-Z]{26}/g, ':id')

/**
 * Names everything in an element that can be pressed and is visible, in the order of the page, and notes where the focus
 * goes. Of radio buttons with one name, the keyboard reaches the chosen one.
 */
const pressable = (root: string) => `(() => {
  const pressable = ':is(a[href], button, input, select, textarea, summary, [tabindex="0"])'
  const all = [...document.querySelectorAll('${root} ' + pressable)].filter(
    (element) => element.type !== 'hidden' && !element.disabled && element.checkVisibility({ visibilityProperty: true })
      && (element.type !== 'radio' || element.checked),
  )
  const names = new Map(all.map((element, i) => [element, i + ' ' + element.outerHTML.slice(0, 120)]))
  globalThis.passed = { passed: [], unseen: [] }
  addEventListener('focusin', ({ target }) => {
    passed.passed.push(names.get(target))
    const shown = target.classList.contains('visually-hidden') ? target.nextElementSibling : target
    if (getComputedStyle(shown).outlineStyle === 'none') passed.unseen.push(names.get(target))
  })
  return [...names.values()]
})()`
