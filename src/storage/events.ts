import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { Change } from './statements.ts'

/** SQL for the JSON of a row: what an event keeps of it, and what its mapper reads back. Columns are ours, not input. */
export function snapshotOf(table: string, columns: readonly string[]): Sql {
  return sql`json_object(${join(
    columns.map((column) => raw(`'${column}', ${table}.${column}`)),
    ', ',
  )})`
}

/** The secrets that a change touched in an application, but for one: as JSON, for its event. */
export function touchedSecrets(change: Change, applicationId: Sql, except = ''): Sql {
  return sql`json((SELECT json_group_array(json_object('id', touched.id, 'secret_hint', touched.secret_hint))
    FROM client_secrets AS touched
    WHERE touched.application_id = ${applicationId} AND touched.event_id = ${change.eventId} AND touched.id <> ${except}))`
}
