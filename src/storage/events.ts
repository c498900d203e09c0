import sql, { join, raw, type Sql } from 'sql-template-tag'

/** SQL for the JSON of a row: what an event keeps of it, and what its mapper reads back. Columns are ours, not input. */
export function snapshotOf(table: string, columns: readonly string[]): Sql {
  return sql`json_object(${join(
    columns.map((column) => raw(`'${column}', ${table}.${column}`)),
    ', ',
  )})`
}
