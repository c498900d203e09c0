import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { expect } from 'vitest'

/** Somebody at the dashboard with hands on the keyboard. */
export interface Visitor {
  readonly page: Page
  readonly context: BrowserContext
  /** Moves the focus on until it is where it is wanted: by what is written on it, or by its label. */
  readonly tabTo: (name: string | RegExp) => Promise<void>
  /** Moves the focus there, and presses Enter. */
  readonly press: (name: string | RegExp) => Promise<void>
  /** Moves the focus there, and types. */
  readonly type: (name: string | RegExp, text: string) => Promise<void>
  readonly signIn: (apiKey: string) => Promise<void>
  /** Throws where a page has asked for anything of somebody else's, or complained. */
  readonly check: () => void
}

/** Statuses that a test asks for on purpose, and that browsers note in their console. */
const REFUSAL = /^Failed to load resource: the server responded with a status of (404|409|422)/

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
    const passed: string[] = []
    for (let i = 0; i < 120; i++) {
      await page.keyboard.press('Tab')
      const text = await focused(page)
      if (wanted(text)) return
      passed.push(text)
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
    signIn: async (apiKey) => {
      await page.goto(`${origin}/dashboard`)
      await type('API key', apiKey)
      await page.keyboard.press('Enter')
      await page.waitForURL(`${origin}/dashboard`)
    },
    check: () => expect(complaints).toEqual([]),
  }
}

/** What is written on the focused element, as its reader is told. Locators work where the page may run no script. */
async function focused(page: Page): Promise<string> {
  const element = page.locator(':focus')
  if ((await element.count()) === 0) return ''
  const id = await element.getAttribute('id')
  const label = id ? page.locator(`label[for="${id}"]`) : null
  const text = label && (await label.count()) > 0 ? await label.textContent() : await named(page)
  return (text ?? '').replace(/\s+/g, ' ').trim()
}

async function named(page: Page): Promise<string | null> {
  const around = page.locator('label:has(:focus)')
  return (await around.count()) > 0 ? around.textContent() : page.locator(':focus').textContent()
}
