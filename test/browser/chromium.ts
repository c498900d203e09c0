import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** Where Debian's packages put it, unless the environment says otherwise. */
const PLACES = [process.env.CHROMIUM_PATH ?? '', '/usr/bin/chromium', '/usr/bin/chromium-headless-shell']

/** The Chromium of this machine; undefined where there is none. */
export const chromiumPath = PLACES.find((path) => path !== '' && existsSync(path))

/** Starts it so that it calls nobody: what it fetches, a page has asked for. */
export function launchChromium(executablePath = chromiumPath): Promise<Browser> {
  if (executablePath === undefined) throw new Error('there is no Chromium: install it, or set CHROMIUM_PATH')
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    // Playwright keeps no page for going back to; people's browsers do, and it is what must not show a secret again.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  })
}
