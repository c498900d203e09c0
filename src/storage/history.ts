import sql, { raw, type Sql } from 'sql-template-tag'

/** Maximum number of events in the history of a secret. */
const MAX_HISTORY = 100

/**
 * SQL for the history of a secret after one more event. The history is a column with the IDs of the secret's events, so
 * that they are found without a search.
 */
export function withEvent(eventId: string | Sql): Sql {
  const known = sql`coalesce(history, json_array(event_id))`
  const latest = sql`iif(json_array_length(${known}) < ${raw(`${MAX_HISTORY}`)}, ${known}, json_remove(${known}, '$[0]'))`
  return sql`json_insert(${latest}, '$[#]', ${eventId})`
}
