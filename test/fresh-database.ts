import { applyD1Migrations, env } from 'cloudflare:test'
import { dropTables, schemaOf } from './drop-tables.ts'

// No test file sees the rows, tables or triggers of another.
await Promise.all([env.DB, env.DB_1, env.DB_2].map(renew))

async function renew(database: D1Database): Promise<void> {
  const holder = globalThis as { [key: symbol]: string | undefined }
  const key = Symbol.for('oncekey.schema')
  const schema = await schemaOf(database)
  if (JSON.stringify(schema) !== holder[key]) {
    await dropTables(database)
    await applyD1Migrations(database, env.MIGRATIONS)
    holder[key] = JSON.stringify(await schemaOf(database))
    return
  }
  const tables = schema.filter(({ type, name }) => type === 'table' && !/^(d1_migrations|schema_version)$/.test(name))
  const version = Number.parseInt(env.MIGRATIONS.at(-1)?.name ?? '', 10)
  const statements = [
    'PRAGMA defer_foreign_keys = ON',
    ...tables.map(({ name }) => `DELETE FROM ${name}`),
    `UPDATE schema_version SET version = ${version}`,
  ]
  await database.batch(statements.map((statement) => database.prepare(statement)))
}
