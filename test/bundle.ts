import { type D1Migration, readD1Migrations } from '@cloudflare/vitest-plugin'
import type { TestProject } from 'vitest/node'
import { type SourcelessWorkerOptions, unstable_getMiniflareWorkerOptions } from 'wrangler'
import { bundleWorker } from './bundle-worker.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The Worker as `wrangler deploy` would upload it, for served.ts. */
    bundle: { script: string; options: SourcelessWorkerOptions; migrations: D1Migration[] }
  }
}

/** Bundles the Worker, once for all files of a run. */
export default async function setup(project: TestProject): Promise<void> {
  const { root } = project.config
  project.provide('bundle', {
    script: await bundleWorker(),
    options: unstable_getMiniflareWorkerOptions(`${root}/wrangler.toml`).workerOptions,
    migrations: await readD1Migrations(`${root}/src/storage/migrations`),
  })
}
