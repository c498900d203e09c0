import { existsSync } from 'node:fs'

/** Where Debian's packages put Chromium, unless the environment says otherwise. */
const PATHS = [process.env.CHROMIUM_PATH ?? '', '/usr/bin/chromium', '/usr/bin/chromium-headless-shell']

/** Chromium on this machine; undefined where it is not installed. */
export const chromiumPath = PATHS.find((path) => path !== '' && existsSync(path))
