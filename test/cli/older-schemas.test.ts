import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { unstable_splitSqlQuery } from 'wrangler'
import { applyMigrations, emptyDatabase, newDatabase } from './databases.ts'

/**
 * The first migration was edited six times before it was frozen. `older-schemas/` has these editions, without comments: a
 * database that any of them created is brought to today's schema, and keeps its rows.
 */
const folder = join(import.meta.dirname, 'older-schemas')
const editions = readdirSync(folder).sort()

const ROWS = [
  "INSERT INTO environments (id, client_id, name, created_at) VALUES ('env_1', 'client_env', 'old', 1)",
  `INSERT INTO api_keys (id, environment_id, name, digest, access, created_at)
   VALUES ('key_1', 'env_1', 'admin', zeroblob(32), 'write', 2)`,
  `INSERT INTO applications (id, environment_id, client_id, application_type, name, scopes, organization_id, redirect_uris,
     uses_pkce, is_first_party, created_at, updated_at, event_id)
   VALUES ('conn_app_1', 'env_1', 'client_1', 'm2m', 'Export', '["a"]', 'org_1', '[]', 0, 0, 3, 3, 'event_1')`,
  `INSERT INTO client_secrets (id, environment_id, application_id, digest, secret_hint, name, created_at, updated_at, event_id)
   VALUES ('secret_1', 'env_1', 'conn_app_1', zeroblob(32), 'abcdef', 'CI', 4, 4, 'event_2')`,
]

const KEPT = `SELECT e.name AS environment, k.name AS key, a.name AS application, s.name AS secret, s.secret_hint, s.digest
  FROM environments AS e JOIN api_keys AS k ON k.environment_id = e.id JOIN applications AS a ON a.environment_id = e.id
  JOIN client_secrets AS s ON s.application_id = a.id`

/** Tables, views and indexes with their SQL, without comments and spacing. */
async function schemaOf(database: D1Database): Promise<string[]> {
  const { results } = await database
    .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_cf%' ESCAPE '\\'")
    .all<{ sql: string }>()
  return results.map(({ sql }) => sql.replace(/--.*/g, '').replace(/\s+/g, ' ')).sort()
}

const today = await schemaOf(await newDatabase())

test('a new database of the tests has the same tables and rows as a database that the migrations created', async () => {
  const migrated = await emptyDatabase()
  await applyMigrations(migrated, { count: 1 })
  await applyMigrations(migrated)
  expect(await schemaOf(migrated)).toEqual(today)
  const created = await newDatabase()
  for (const rows of ['* FROM schema_version', 'id, name FROM d1_migrations', '* FROM sqlite_sequence']) {
    const [expected, found] = [migrated, created].map((database) => database.prepare(`SELECT ${rows}`).all())
    expect((await found)?.results, rows).toEqual((await expected)?.results)
  }
})

test.each(editions)(
  'a database from the edition %s of the first migration is migrated with its rows',
  async (edition) => {
    const database = await emptyDatabase()
    const statements = unstable_splitSqlQuery(readFileSync(join(folder, edition), 'utf8'))
    await database.batch([...statements, ...ROWS].map((sql) => database.prepare(sql)))
    await applyMigrations(database, { after: '0001_management.sql' })
    const { results } = await database.prepare(KEPT).all()
    const row = { environment: 'old', key: 'admin', application: 'Export', secret: 'CI', secret_hint: 'abcdef' }
    expect(results).toEqual([{ ...row, digest: Array(32).fill(0) }])
    expect(await schemaOf(database)).toEqual(today)
  },
)
