import { registerHooks } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Platform } from '../../src/cli/command.ts'
import { remoteDatabase } from '../remote-database.ts'

/**
 * Loaded into a command by `--import`: gives `src/cli/main.ts` a platform whose deployed database and Worker are those of
 * the stand-in for Cloudflare, and which does not wait. Everything else, wrangler too, is real.
 */

const url = process.env.CLOUDFLARE_API_BASE_URL ?? ''
const program = process.argv[1] ?? ''
const isCommand = program.endsWith('src/cli/main.ts')
const load = (name: string) => import(pathToFileURL(resolve(program, '..', name)).href)

async function platform(): Promise<Platform> {
  const { cloudflare } = await load('platform.ts')
  const { operatorDatabase } = await load('local-database.ts')
  const region = { digit: '0', binding: 'DB' }
  const open = async () => operatorDatabase(remoteDatabase(new URL('/d1', url)), region)
  return {
    ...cloudflare,
    openRegions: async () => ({ regions: [{ ...region, open }], close: async () => {} }),
    fetch: (address) => fetch(address.replace('https://oncekey.jane.workers.dev', url)),
    sleep: async () => {},
  }
}

export const cloudflare = isCommand ? await platform() : undefined

registerHooks({
  resolve: (specifier, context, next) =>
    next(
      specifier === './platform.ts' && context.parentURL?.endsWith('/src/cli/main.ts') ? import.meta.url : specifier,
      context,
    ),
})
