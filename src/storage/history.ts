import sql, { raw, type Sql } from 'sql-template-tag'

/** How many events the history of a secret names. */
const MAX_HISTORY = 100

/** SQL for the history of a secret with one more event: a column of its row, so that its events are found by their IDs. */
export function withEvent(eventId: string | Sql): Sql {
  const known = sql`coalesce(history, json_array(event_id))`
  const latest = sql`iif(json_array_length(${known}) < ${raw(`${MAX_HISTORY}`)}, ${known}, json_remove(${known}, '$[0]'))`
  return sql`json_insert(${latest}, '$[#]', ${eventId})`
}
