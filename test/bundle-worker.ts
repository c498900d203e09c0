import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const root = resolve(import.meta.dirname, '..')

/** The Worker in one file, as `wrangler deploy` would upload it. */
export async function bundleWorker(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'oncekey-bundle-'))
  try {
    await promisify(execFile)(
      process.execPath,
      [join(root, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run', '--outdir', directory],
      { cwd: root, env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_HIDE_BANNER: 'true' } },
    )
    return await readFile(join(directory, 'index.js'), 'utf8')
  } finally {
    await rm(directory, { recursive: true })
  }
}
