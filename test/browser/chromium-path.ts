import { existsSync } from 'node:fs'

const installed = (paths: readonly string[]) => paths.find((path) => existsSync(path))
const { CHROMIUM_PATH } = process.env

/** The path of the full Chromium, where Debian's package puts it; undefined if it is not installed. */
export const fullChromiumPath = installed(CHROMIUM_PATH ? [CHROMIUM_PATH] : ['/usr/bin/chromium'])

/**
 * The path of the headless Chromium if it is installed, because it needs a third of the time for each page. Tests can
 * see one difference: it has no back/forward cache.
 */
export const chromiumPath = CHROMIUM_PATH
  ? fullChromiumPath
  : (installed(['/usr/bin/chromium-headless-shell']) ?? fullChromiumPath)
