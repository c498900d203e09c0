import { readD1Migrations } from '@cloudflare/vitest-plugin'
import type { TestProject } from 'vitest/node'
import { type SourcelessWorkerOptions, unstable_getMiniflareWorkerOptions } from 'wrangler'
import { bundleWorker } from './bundle-worker.ts'
import { statementsOfTables } from './tables.ts'

interface Bundle {
  readonly script: string
  readonly options: SourcelessWorkerOptions
  /** Statements that create the tables. */
  readonly tables: string[]
}

declare module 'vitest' {
  interface ProvidedContext {
    /** The Worker as `wrangler deploy` would upload it, for served.ts. */
    bundle: Bundle
  }
}

const KEY = Symbol.for('oncekey.bundle')

/** Bundles the Worker, once for all files of all projects: each project has its own copy of this module. */
export default async function setup(project: TestProject): Promise<void> {
  const holder = globalThis as { [KEY]?: Promise<Bundle> }
  holder[KEY] ??= newBundle(project.config.root)
  project.provide('bundle', await holder[KEY])
}

async function newBundle(root: string): Promise<Bundle> {
  return {
    script: await bundleWorker(),
    options: unstable_getMiniflareWorkerOptions(`${root}/wrangler.toml`).workerOptions,
    tables: statementsOfTables(await readD1Migrations(`${root}/src/storage/migrations`)),
  }
}
