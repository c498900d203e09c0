import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const root = resolve(import.meta.dirname, '../../..')
const run = promisify(execFile)

/** Exact, so that a run can be repeated. Better Auth's plug-in asks for these versions of what is below it. */
const PACKAGES = {
  'better-auth': '1.7.5',
  '@better-auth/core': '1.7.5',
  '@better-auth/oauth-provider': '1.7.5',
  '@better-auth/utils': '0.4.2',
  '@better-fetch/fetch': '1.3.2',
  'better-call': '1.4.0',
  'oidc-provider': '9.13.3',
}
const SHOWN = ['better-auth', '@better-auth/oauth-provider', 'oidc-provider'] as const

/** The product's own. */
const COMPATIBILITY_DATE = '2026-10-23'

export interface Peers {
  /** Better Auth's Worker in one file. */
  readonly betterAuth: string
  /** The file of a program for Node. */
  readonly oidcProvider: string
  readonly versions: readonly string[]
  readonly remove: () => Promise<void>
}

/** Installs the peers from npm into a folder of their own, outside of the repository. */
export async function installPeers(): Promise<Peers> {
  const directory = await mkdtemp(join(tmpdir(), 'oncekey-peers-'))
  const remove = () => rm(directory, { recursive: true, force: true })
  try {
    const manifest = { private: true, type: 'module', dependencies: PACKAGES }
    await writeFile(join(directory, 'package.json'), JSON.stringify(manifest))
    await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: directory })
    for (const file of ['peers/better-auth.js', 'peers/oidc-provider.js', 'workers/counted.ts']) {
      await copyFile(join(root, 'test/bench', file), join(directory, file.replace(/^.*\//, '')))
    }
    return {
      betterAuth: await bundle(directory),
      oidcProvider: join(directory, 'oidc-provider.js'),
      versions: SHOWN.map((name) => `${name} ${PACKAGES[name]}`),
      remove,
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function bundle(directory: string): Promise<string> {
  const wrangler = join(root, 'node_modules/wrangler/bin/wrangler.js')
  const runtime = ['--compatibility-date', COMPATIBILITY_DATE, '--compatibility-flags', 'nodejs_compat']
  await run(
    process.execPath,
    [wrangler, 'deploy', 'better-auth.js', '--dry-run', '--minify', '--outdir', 'out', '--name', 'peer', ...runtime],
    { cwd: directory, env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_HIDE_BANNER: 'true' } },
  )
  return readFile(join(directory, 'out/better-auth.js'), 'utf8')
}
