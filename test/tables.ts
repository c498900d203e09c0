import { DatabaseSync } from 'node:sqlite'
import type { D1Migration } from '@cloudflare/vitest-plugin'

/**
 * Statements that create the tables as the migrations leave them, with their rows. The migrations make and drop tables on
 * the way, and take D1 ten times as long.
 */
export function statementsOfTables(migrations: readonly D1Migration[]): string[] {
  const database = new DatabaseSync(':memory:')
  const rowsOf = <Row>(sql: string) => database.prepare(sql).all() as Row[]
  try {
    for (const { queries } of migrations) for (const query of ['BEGIN', ...queries, 'COMMIT']) database.exec(query)
    const schema = rowsOf<{ type: string; name: string; sql: string }>(
      "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY rowid",
    )
    const tables = schema.filter(({ type }) => type === 'table')
    const inserts = tables.flatMap(({ name }) => {
      const columns = rowsOf<{ name: string }>(`PRAGMA table_info(${name})`).map((column) => column.name)
      const values = columns.map((column) => `quote(${column})`).join(" || ', ' || ")
      return rowsOf<{ row: string }>(`SELECT ${values} AS row FROM ${name}`).map(
        ({ row }) => `INSERT INTO ${name} (${columns.join(', ')}) VALUES (${row})`,
      )
    })
    return [...schema.map(({ sql }) => sql), ...inserts]
  } finally {
    database.close()
  }
}
