import { type Browser, chromium } from 'playwright-core'
import { chromiumPath } from './chromium-path.ts'

interface Options {
  readonly executablePath?: string | undefined
  /** Whether going back shows a page as it was, as in people's browsers. Each new page is slower then. */
  readonly keepsPages?: boolean
}

/** Starts Chromium without its own background requests, so that every request comes from a page. */
export function launchChromium({ executablePath = chromiumPath, keepsPages }: Options = {}): Promise<Browser> {
  if (executablePath === undefined) throw new Error('Chromium is missing: install it, or set CHROMIUM_PATH')
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      // A separate process for drawing, and one for each tab, would take a fifth more time.
      '--in-process-gpu',
      '--renderer-process-limit=1',
      // Otherwise Chromium creates a frame for each document, which costs as much as loading most pages. Only the last list
      // of features counts, so this one repeats Playwright's.
      '--enable-features=CDPScreenshotNewSurface,SkipListAccountsWithoutGaiaCookies,RenderDocument:level/crashed-frame',
      // The pages of tests close so soon that optimised code would not save the time to compile it.
      '--js-flags=--no-opt,--no-maglev',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    ...(keepsPages && { ignoreDefaultArgs: ['--disable-back-forward-cache'] }),
  })
}

const KEY = Symbol.for('oncekey.chromium')

/** The browser that all test files of a process share. It ends with the process. */
export function sharedChromium(): Promise<Browser> {
  const holder = globalThis as { [KEY]?: Promise<Browser> }
  holder[KEY] ??= launchChromium()
  return holder[KEY]
}
