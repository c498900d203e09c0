import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { expect } from 'vitest'

/** A person who uses the dashboard by keyboard. */
export interface Visitor {
  readonly page: Page
  readonly context: BrowserContext
  /** Moves the focus to the element with this text, label or accessible name. */
  readonly tabTo: (name: string | RegExp) => Promise<void>
  /** Moves the focus to the element, and presses Enter. */
  readonly press: (name: string | RegExp) => Promise<void>
  /** Moves the focus to the element, and types. */
  readonly type: (name: string | RegExp, text: string) => Promise<void>
  /** Signs in with the form, by keyboard. */
  readonly typeApiKey: (apiKey: string) => Promise<void>
  /** Signs in without the form, and opens a page. */
  readonly signIn: (apiKey: string, path?: string) => Promise<void>
  /** Throws if a page has sent a request to another host, or the browser has logged an error. */
  readonly check: () => void
}

/** The statuses that tests provoke. The browser logs each as an error. */
const REFUSAL = /^Failed to load resource: the server responded with a status of (403|404|409|422)/

export async function newVisitor(
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<Visitor> {
  const context = await browser.newContext(options)
  if (options.javaScriptEnabled !== false)
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin })
  const complaints: string[] = []
  context.on('request', (request) => {
    const url = new URL(request.url())
    if (url.origin !== origin && url.protocol !== 'data:') complaints.push(`asked for ${url}`)
  })
  context.on('console', (message) => {
    if (message.type() === 'error' && !REFUSAL.test(message.text())) complaints.push(message.text())
  })
  context.on('weberror', (error) => complaints.push(String(error.error())))
  const page = await context.newPage()

  const tabTo = async (name: string | RegExp) => {
    const wanted = (text: string) => (typeof name === 'string' ? text === name : name.test(text))
    // Keys in a row, as from a key that is held, cost much less than a look at the focus after each.
    const stops = await inPage<string[]>(page, STOPS)
    await pressInRow(page, 'Tab', stops.findIndex(wanted))
    const passed: string[] = stops
    for (let i = 0; i < 120; i++) {
      const text = await inPage<string>(page, FOCUSED)
      if (wanted(text)) return
      passed.push(text)
      await page.keyboard.press('Tab')
    }
    throw new Error(`the keyboard does not lead to ${name}: ${[...new Set(passed)].join(' | ')}`)
  }
  const press = async (name: string | RegExp) => {
    await tabTo(name)
    await page.keyboard.press('Enter')
    await page.waitForLoadState()
  }
  const type = async (name: string | RegExp, text: string) => {
    await tabTo(name)
    await page.keyboard.type(text)
  }
  return {
    page,
    context,
    tabTo,
    press,
    type,
    typeApiKey: async (apiKey) => {
      await page.goto(`${origin}/dashboard`)
      await type('API key', apiKey)
      await page.keyboard.press('Enter')
      await page.waitForURL(`${origin}/dashboard`)
    },
    signIn: async (apiKey, path = '/dashboard') => {
      const form = { api_key: apiKey }
      await context.request.post(`${origin}/dashboard/sign-in`, { headers: { Origin: origin }, form, maxRedirects: 0 })
      await page.goto(origin + path)
    },
    check: () => expect(complaints).toEqual([]),
  }
}

/** Presses a key several times, as a person does who holds it. */
export async function pressInRow(page: Page, key: string, times: number): Promise<void> {
  await Promise.all(Array.from({ length: Math.max(0, times) }, () => page.keyboard.press(key)))
}

const NAME_OF = `((element) => {
  const name = element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.textContent
  return name.replace(/\\s+/g, ' ').trim()
})`

/** The name of the focused element: its label, or its text. This also works where the page may run no script. */
export const FOCUSED = `(() => {
  const element = document.activeElement
  return !element || element === document.body ? '' : ${NAME_OF}(element)
})()`

/**
 * The names of the focused element and of those that follow in the order of the page. Of radio buttons with one name, the
 * keyboard reaches the chosen one. Empty where nothing is focused and the keyboard may start in the middle of the page.
 */
export const STOPS = `(() => {
  const root = document.querySelector('dialog:modal') ?? document
  const pressable = ':is(a[href], button, input, select, textarea, summary, [tabindex="0"])'
  const all = [...root.querySelectorAll(pressable)].filter((element) =>
    element.type !== 'hidden' && !element.disabled && element.checkVisibility({ visibilityProperty: true })
      && (element.type !== 'radio' || element.checked))
  const focus = document.activeElement
  if (all.includes(focus)) return all.slice(all.indexOf(focus)).map(${NAME_OF})
  return focus === document.body && location.hash === '' ? ['', ...all.map(${NAME_OF})] : []
})()`

async function inPage<T>(page: Page, expression: string): Promise<T> {
  for (;;) {
    try {
      return await page.evaluate<T>(expression)
    } catch (error) {
      // The last key has opened another page.
      if (!String(error).includes('context was destroyed')) throw error
      await page.waitForLoadState()
    }
  }
}
