import sql from 'sql-template-tag'
import type { Database } from '../database.ts'

export interface Migration {
  /** The name of the file. */
  readonly name: string
  readonly statements: readonly string[]
}

/**
 * Applies the missing migrations in order. Each migration and its record are one transaction. The records are those of
 * `wrangler d1 migrations apply`, so either command can continue where the other stopped. Several processes can apply
 * migrations at the same time.
 */
export async function applyMigrations({ binding }: Database, migrations: readonly Migration[]): Promise<void> {
  await binding.batch([binding.prepare(RECORDS)])
  for (const { name, statements } of migrations) {
    if (await isApplied(binding, name)) continue
    const { sql: text, values } = sql`INSERT INTO d1_migrations (name) VALUES (${name})`
    const batch = [...statements.map((statement) => binding.prepare(statement)), binding.prepare(text).bind(...values)]
    try {
      await binding.batch(batch)
    } catch (error) {
      // Another process may have applied the migration in the meantime.
      if (!(await isApplied(binding, name))) throw error
    }
  }
}

/** The table of applied migrations, as wrangler creates it. */
const RECORDS = `CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`

async function isApplied(binding: D1Database, migration: string): Promise<boolean> {
  const { sql: text, values } = sql`SELECT 1 FROM d1_migrations WHERE name = ${migration}`
  const [found] = await binding.batch([binding.prepare(text).bind(...values)])
  return (found?.results.length ?? 0) > 0
}
