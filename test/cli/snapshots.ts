/** A saved state of a database. */
export interface Kept {
  /** Restores the state, as D1's Time Travel does: rows and triggers. */
  readonly restore: () => Promise<void>
  /** A row of the state. */
  readonly row: (table: string, id: string) => Promise<Record<string, unknown> | null>
}

/** Saves the state of a database in additional tables of this database, so that a restore moves no rows out of it. */
export async function keep(database: D1Database, state: string): Promise<Kept> {
  const { results } = await database
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'kept%'",
    )
    .all<{ name: string }>()
  const tables = await Promise.all(
    results.map(async ({ name }) => {
      // Without generated columns.
      const { results } = await database.prepare(`PRAGMA table_info(${name})`).all<{ name: string }>()
      return { name, kept: `kept_${state}_${name}`, columns: results.map((column) => column.name).join(', ') }
    }),
  )
  await database.batch(
    tables.map(({ name, kept, columns }) => database.prepare(`CREATE TABLE ${kept} AS SELECT ${columns} FROM ${name}`)),
  )
  return {
    restore: async () => {
      const triggers = await database.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()
      await database.batch([
        database.prepare('PRAGMA defer_foreign_keys = on'),
        ...triggers.results.map(({ name }) => database.prepare(`DROP TRIGGER ${name}`)),
        ...tables.map(({ name }) => database.prepare(`DELETE FROM ${name}`)),
        ...tables.map(({ name, kept, columns }) =>
          database.prepare(`INSERT INTO ${name} (${columns}) SELECT ${columns} FROM ${kept}`),
        ),
      ])
    },
    row: (table, id) => database.prepare(`SELECT * FROM kept_${state}_${table} WHERE id = ?`).bind(id).first(),
  }
}
