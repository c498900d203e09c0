import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const root = resolve(import.meta.dirname, '..')

/** The Worker in one file, as `wrangler deploy` would upload it. */
export async function bundleWorker(): Promise<string> {
  return (await bundle('src/index.ts')).script
}

/** A Worker in one file, with its source map. `main` is relative to the repository. */
export async function bundle(main: string): Promise<{ script: string; sourceMap: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'oncekey-bundle-'))
  try {
    await promisify(execFile)(
      process.execPath,
      [join(root, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', main, '--dry-run', '--outdir', directory],
      { cwd: root, env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_HIDE_BANNER: 'true' } },
    )
    const file = join(directory, main.replace(/^.*\//, '').replace(/\.ts$/, '.js'))
    return { script: await readFile(file, 'utf8'), sourceMap: await readFile(`${file}.map`, 'utf8') }
  } finally {
    await rm(directory, { recursive: true })
  }
}
