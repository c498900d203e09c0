/** Takes a database back to an earlier state, as D1's Time Travel does: rows and triggers. */

interface Table {
  readonly name: string
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly object[]
}
export type Snapshot = readonly Table[]

export async function snapshotOf(database: D1Database): Promise<Snapshot> {
  const { results } = await database
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
    )
    .all<{ name: string }>()
  return Promise.all(
    results.map(async ({ name }) => {
      const info = await database.prepare(`PRAGMA table_info(${name})`).all<{ name: string; type: string }>()
      const selected = info.results.map((column) =>
        column.type === 'BLOB' ? `hex(${column.name}) AS ${column.name}` : column.name,
      )
      const rows = await database.prepare(`SELECT ${selected.join(', ')} FROM ${name}`).all()
      return { name, columns: info.results, rows: rows.results }
    }),
  )
}

export async function restore(database: D1Database, snapshot: Snapshot): Promise<void> {
  const { results } = await database.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()
  await database.batch([
    database.prepare('PRAGMA defer_foreign_keys = on'),
    ...results.map(({ name }) => database.prepare(`DROP TRIGGER ${name}`)),
    ...snapshot.map(({ name }) => database.prepare(`DELETE FROM ${name}`)),
    ...snapshot.flatMap(({ name, columns, rows }) => {
      const values = columns.map((column) =>
        column.type === 'BLOB' ? `unhex(value ->> '${column.name}')` : `value ->> '${column.name}'`,
      )
      const pages = Array.from({ length: Math.ceil(rows.length / 500) }, (_, i) => rows.slice(i * 500, i * 500 + 500))
      const names = columns.map((column) => column.name).join(', ')
      const insert = database.prepare(`INSERT INTO ${name} (${names}) SELECT ${values.join(', ')} FROM json_each(?1)`)
      return pages.map((page) => insert.bind(JSON.stringify(page)))
    }),
  ])
}
