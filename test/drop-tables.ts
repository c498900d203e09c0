interface SchemaObject {
  readonly type: 'table' | 'view' | 'trigger' | 'index'
  readonly name: string
  readonly sql: string | null
}

/** The tables, views, triggers and indexes of a database, without those of the platform. */
export async function schemaOf(database: D1Database): Promise<SchemaObject[]> {
  const query = `SELECT type, name, sql FROM sqlite_schema WHERE name NOT GLOB '_cf_*' AND name NOT GLOB 'sqlite_*'
    ORDER BY type, name`
  return (await database.prepare(query).all<SchemaObject>()).results
}

/** Removes everything from a database. `reset()` of cloudflare:test leaves tables and rows at times. */
export async function dropTables(database: D1Database): Promise<void> {
  const schema = await schemaOf(database)
  const drops = ['view', 'trigger', 'table'].flatMap((type) =>
    schema.filter((object) => object.type === type).map(({ name }) => `DROP ${type} ${name}`),
  )
  const statements = ['PRAGMA defer_foreign_keys = ON', ...drops]
  await database.batch(statements.map((statement) => database.prepare(statement)))
}
