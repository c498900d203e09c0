import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type D1Migration, readD1Migrations } from '@cloudflare/vitest-plugin'
import type { TestProject } from 'vitest/node'
import { type SourcelessWorkerOptions, unstable_getMiniflareWorkerOptions } from 'wrangler'

declare module 'vitest' {
  interface ProvidedContext {
    /** What served.ts serves: the Worker as `wrangler deploy` would upload it. */
    bundle: { script: string; options: SourcelessWorkerOptions; migrations: D1Migration[] }
  }
}

/** Bundles the Worker, once for all files of a run. */
export default async function setup(project: TestProject): Promise<void> {
  const { root } = project.config
  const directory = await mkdtemp(join(tmpdir(), 'oncekey-bundle-'))
  try {
    await promisify(execFile)(
      process.execPath,
      [`${root}/node_modules/wrangler/bin/wrangler.js`, 'deploy', '--dry-run', '--outdir', directory],
      { cwd: root, env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_HIDE_BANNER: 'true' } },
    )
    project.provide('bundle', {
      script: await readFile(join(directory, 'index.js'), 'utf8'),
      options: unstable_getMiniflareWorkerOptions(`${root}/wrangler.toml`).workerOptions,
      migrations: await readD1Migrations(`${root}/src/storage/migrations`),
    })
  } finally {
    await rm(directory, { recursive: true })
  }
}
