import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { chromiumPath } from './chromium-path.ts'
import { Environment } from './environment.ts'
import { Firefox, firefoxPath } from './firefox.ts'
import { FOCUSED, STOPS } from './visitor.ts'

/** Firefox has its own implementation of menus, dialogs and forms, and its own settings for the focus of links. */
describe.runIf(inject('isLong') && chromiumPath && firefoxPath)('the dashboard in Firefox', () => {
  const environment = new Environment()
  let firefox: Firefox

  beforeAll(async () => {
    firefox = await Firefox.launch(firefoxPath as string)
  })
  afterAll(() => firefox.close())

  const tabTo = async (name: string | RegExp) => {
    const wanted = (text: unknown) =>
      typeof text === 'string' && (typeof name === 'string' ? text === name : name.test(text))
    // A page that is still opening returns no value.
    const stops: string[] = JSON.parse(String((await firefox.evaluate(`JSON.stringify(${STOPS})`)) ?? '[]'))
    await firefox.press(...stops.slice(0, Math.max(0, stops.findIndex(wanted))).map(() => 'Tab'))
    const passed: unknown[] = stops
    for (let i = 0; i < 120; i++) {
      const text = await firefox.evaluate(FOCUSED)
      if (wanted(text)) return
      passed.push(text)
      await firefox.press('Tab')
    }
    throw new Error(`the keyboard does not lead to ${name}: ${[...new Set(passed)].join(' | ')}`)
  }
  const press = async (name: string | RegExp, key = 'Enter') => {
    await tabTo(name)
    await firefox.press(key)
  }
  const type = async (name: string | RegExp, text: string) => {
    await tabTo(name)
    await firefox.press(...text)
  }
  /** Waits until the page has loaded, with its script, and the expression is true in it. */
  const until = (expression: string) =>
    expect.poll(() => firefox.evaluate(`document.readyState === 'complete' && Boolean(${expression})`)).toBe(true)
  const shows = (selector: string) => until(`document.querySelector(${JSON.stringify(selector)})`)
  const isAt = (path: string) => until(`location.pathname === ${JSON.stringify(path)}`)
  const main = async () => String(await firefox.evaluate("document.querySelector('main').textContent"))

  test('in Firefox, links, buttons, menus, dialogs, radio buttons and forms can be used by keyboard', async () => {
    const { apiKey, path, hint } = await environment.newExample()
    await firefox.open(`${environment.origin}/dashboard`)
    await type('API key', apiKey)
    await firefox.press('Enter')
    await isAt('/dashboard')

    // A link, a form with radio buttons, and a page that shows a credential once.
    await press('Keys')
    await isAt('/dashboard/keys')
    await press('New API key')
    await isAt('/dashboard/keys/new')
    await type('Name', 'robot')
    await tabTo(/^Read-only/)
    await firefox.press('ArrowDown')
    await press('Create API key', ' ')
    await shows('#secret')
    await press('Done')
    // The page before this one has the same path: only the query differs.
    await until("location.search === '?saved'")
    expect(await main()).toMatch(/robot.*Read and write/s)

    // A dialog: Escape closes it and returns the focus. The page for browsers without scripts does what the dialog does.
    await press('Revoke… robot')
    await shows('dialog[open]')
    expect(await firefox.evaluate(FOCUSED)).toBe('Cancel')
    await firefox.press('Escape')
    await until("!document.querySelector('dialog')")
    expect(await firefox.evaluate(FOCUSED)).toBe('Revoke… robot')
    await firefox.open(String(await firefox.evaluate('document.activeElement.href')))
    await press('Revoke API key')
    await shows('.notice.good')
    expect(await main()).not.toContain('robot')

    // A menu of a row.
    await firefox.open(environment.origin + path)
    await press(`More actions for …${hint}`)
    await press(`Enable …${hint}`)
    await until("document.querySelector('.notice.good')?.textContent.includes('Secret enabled.')")

    // The search, by the key /.
    await firefox.press('/')
    await until("document.activeElement.matches('input')")
    await firefox.press(...hint, 'Enter')
    await isAt('/dashboard/find')
    expect(await main()).toContain(`Results for “${hint}”`)
  }, 180_000)
})
