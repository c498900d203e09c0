import type { Platform } from './deployment.ts'
import { openRemoteDatabase } from './remote-database.ts'
import { runWrangler } from './wrangler.ts'

/** Cloudflare, through wrangler, and the deployed Worker. */
export const platform: Platform = {
  wrangler: runWrangler,
  openDatabase: openRemoteDatabase,
  fetch: (url) => fetch(url, { signal: AbortSignal.timeout(10_000), headers: { 'Cache-Control': 'no-cache' } }),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
}
