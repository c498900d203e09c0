import { readD1Migrations } from '@cloudflare/vitest-plugin'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { atEnd } from '../at-end.ts'
import { databaseWorker, remoteDatabase } from '../remote-database.ts'

/** Real D1 databases, of which one runtime has many: for tests that call the operator's commands as functions. */

const MAX_DATABASES = 120

const migrations = await readD1Migrations('src/storage/migrations')
const names = Array.from({ length: MAX_DATABASES }, (_, i) => `DB${i}`)
const runtime = new Miniflare(
  convertV4MiniflareOptions({
    workers: [
      {
        name: 'databases',
        modules: true,
        script: databaseWorker,
        d1Databases: names,
        unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
      },
    ],
  }),
)
await runtime.ready
const url = await runtime.unsafeGetDirectURL('databases')
let used = 0

atEnd(() => runtime.dispose())

/** A database without tables. */
export async function emptyDatabase(): Promise<D1Database> {
  return remoteDatabase(new URL(`/DB${used++}`, url))
}

/**
 * Creates the tables, as wrangler does, by the migrations that are not recorded yet: those that follow one, `count` of
 * them at most.
 */
export async function applyMigrations(
  binding: D1Database,
  { after = '', count = migrations.length } = {},
): Promise<void> {
  const table = 'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)'
  await binding.prepare(table).run()
  const { results } = await binding.prepare('SELECT name FROM d1_migrations').all<{ name: string }>()
  const lacking = migrations
    .filter(({ name }) => name > after && !results.some((row) => row.name === name))
    .slice(0, count)
  for (const { name, queries } of lacking) {
    const record = binding.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name)
    await binding.batch([...queries.map((query) => binding.prepare(query)), record])
  }
}

export async function newDatabase(): Promise<D1Database> {
  const binding = await emptyDatabase()
  await applyMigrations(binding)
  return binding
}
