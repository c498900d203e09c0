import { existsSync } from 'node:fs'

const installed = (paths: readonly string[]) => paths.find((path) => existsSync(path))
const { CHROMIUM_PATH } = process.env

/** Chromium as people use it, where Debian's packages put it; undefined where it is not installed. */
export const fullChromiumPath = installed(CHROMIUM_PATH ? [CHROMIUM_PATH] : ['/usr/bin/chromium'])

/**
 * Chromium without windows where it is installed, because it needs a third of the time for each page. It differs in one
 * way that tests can see: it keeps no page for going back to.
 */
export const chromiumPath = CHROMIUM_PATH
  ? fullChromiumPath
  : (installed(['/usr/bin/chromium-headless-shell']) ?? fullChromiumPath)
