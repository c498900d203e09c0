import { readD1Migrations } from '@cloudflare/vitest-plugin'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { afterAll } from 'vitest'

/** Real D1 databases, of which one runtime has many: for tests that call the operator's commands as functions. */

const MAX_DATABASES = 60

const migrations = await readD1Migrations('src/storage/migrations')
const names = Array.from({ length: MAX_DATABASES }, (_, i) => `DB${i}`)
const runtime = new Miniflare(
  convertV4MiniflareOptions({ workers: [{ modules: true, script: 'export default {}', d1Databases: names }] }),
)
let used = 0

afterAll(() => runtime.dispose())

/** A database without tables. */
export async function emptyDatabase(): Promise<D1Database> {
  return runtime.getD1Database(`DB${used++}`)
}

/** Creates the tables, as wrangler does; or applies the migrations that follow one. */
export async function applyMigrations(binding: D1Database, { after = '' } = {}): Promise<void> {
  for (const { name, queries } of migrations) {
    if (name > after) await binding.batch(queries.map((query) => binding.prepare(query)))
  }
}

export async function newDatabase(): Promise<D1Database> {
  const binding = await emptyDatabase()
  await applyMigrations(binding)
  return binding
}
