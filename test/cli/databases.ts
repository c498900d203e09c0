import { readD1Migrations } from '@cloudflare/vitest-plugin'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'
import { databaseWorker } from '../../src/cli/fetched-database.ts'
import { remoteDatabase } from '../remote-database.ts'
import { statementsOfTables } from '../tables.ts'

/** Real D1 databases, for tests that call the operator's commands as functions. */

const PER_RUNTIME = 300

const migrations = await readD1Migrations('src/storage/migrations')
const tables = statementsOfTables(migrations)
const names = Array.from({ length: PER_RUNTIME }, (_, i) => `DB${i}`)
let runtime: Promise<URL> | undefined
let used = 0

/** Starts a runtime with many databases, which ends with this process: a start costs more than most tests. */
async function startRuntime(): Promise<URL> {
  const miniflare = new Miniflare(
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
  await miniflare.ready
  return miniflare.unsafeGetDirectURL('databases')
}

/** A database without tables. */
export async function emptyDatabase(): Promise<D1Database> {
  const index = used++ % PER_RUNTIME
  if (index === 0) runtime = startRuntime()
  return remoteDatabase(new URL(`/${names[index]}`, await runtime))
}

/** Applies the migrations that are not recorded yet, as wrangler does: at most `count` of those that follow `after`. */
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
  const isNew = lacking.length === migrations.length
  const queries = isNew ? tables : lacking.flatMap((migration) => migration.queries)
  const statements = [
    ...queries.map((query) => binding.prepare(query)),
    ...lacking.map(({ name }) => binding.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name)),
  ]
  if (statements.length > 0) await binding.batch(statements)
}

export async function newDatabase(): Promise<D1Database> {
  const binding = await emptyDatabase()
  await applyMigrations(binding)
  return binding
}
