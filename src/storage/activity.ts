import sql, { empty, join, type Sql } from 'sql-template-tag'
import { type CallerKey, callerKeyMapping, selectCallerKeys } from './api-keys.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { EVENT_TYPES, type Event, type EventType, eventFromRow, inPeriod, type Snapshot } from './events.ts'
import { allOf, limitTo, select, selectFromFirst } from './statements.ts'

/**
 * The audit log of an environment. It has each event with the name of its application and the values before the change.
 */

/** An event, with the name of its application and the values before the change. */
export interface Activity {
  readonly event: Event
  /**
   * The name of the secret's application. Null if the event is not about a secret, or if the application is no longer
   * stored.
   */
  readonly applicationName: string | null
  /**
   * The data of the previous event about the same object. Null if no previous event was found. In the audit log, it is
   * also null unless the event is an update.
   */
  readonly before: Snapshot | null
}

export interface ActivityFilter {
  readonly limit: number
  /** The ID of an event. The page has the events that are older than this event. Null for the newest events. */
  readonly after: string | null
  readonly type: EventType | null
  /**
   * Selects the events of one actor: an API key by its ID, a person by email address, or a type of actor, such as
   * `operator`. Null selects all events.
   */
  readonly actor: string | null
  /**
   * Selects the events that have exactly this value (an ID, a name or a hint) in their data, and the events of the
   * organization with this ID. Null selects all events.
   */
  readonly target: string | null
  /** The start of the period, inclusive. */
  readonly from: UnixMs | null
  /** The end of the period, exclusive. */
  readonly until: UnixMs | null
}

export interface ActivityPage {
  readonly activities: readonly Activity[]
  /** The cursor of the next page; null on the last page. */
  readonly next: string | null
  /** True if the page may be incomplete, because one request searches a limited number of events. */
  readonly isPartial: boolean
  /** The API keys that a filter can select. */
  readonly keys: readonly CallerKey[]
}

/** With a filter by actor or target, one request reads at most this many events. */
export const MAX_SEARCHED = 2000

/** Maximum number of events of each type that are read to find the previous change of an application. */
const MAX_LOOKED_BACK = 100

export interface ActivityRow {
  readonly application_name: string | null
  readonly before: string | null
}

const applicationName = sql`(SELECT name FROM applications WHERE environment_id = first.environment_id
  AND id = first.data ->> 'application_id') AS application_name`

/** The `history` of a secret has the IDs of its events, in order. */
const previousOfSecret = sql`SELECT data FROM events WHERE id = (
  SELECT previous.value FROM client_secrets JOIN json_each(history) AS change ON change.value = first.id
  JOIN json_each(history) AS previous ON previous.key = change.key - 1
  WHERE client_secrets.environment_id = first.environment_id AND client_secrets.id = first.data ->> 'id')`

const previousOfApplication = sql`SELECT data FROM (${join(
  ['connect_application.created', 'connect_application.updated'].map(
    (type) => sql`SELECT seq, data FROM (SELECT seq, data FROM events WHERE environment_id = first.environment_id
      AND type = ${type} AND seq < first.seq ORDER BY seq DESC ${limitTo(MAX_LOOKED_BACK)})
      WHERE data ->> 'id' = first.data ->> 'id'`,
  ),
  ' UNION ALL ',
)}) ORDER BY seq DESC LIMIT 1`

/** SQL for the data of the previous event about the same object, if the event is an update. */
const before = sql`CASE first.type WHEN 'connect_application_secret.updated' THEN (${previousOfSecret})
  WHEN 'connect_application.updated' THEN (${previousOfApplication}) END AS before`

/** SQL for the columns of an event, for `selectFromFirst` and `selectSorted`. */
export const activityColumns = sql`first.*, ${applicationName}, ${before}`

/** The number of events that a search has read, and the ID of the oldest. */
interface Searched {
  readonly count: number
  readonly id: string | null
}

/** Returns a page of the environment's events, newest first. */
export function listActivity(
  database: Database,
  caller: Caller,
  filter: ActivityFilter,
): Promise<Outcome<ActivityPage, 'invalid_cursor'>> {
  const { limit, after, type, actor, target } = filter
  const isSearch = actor !== null || target !== null
  const scanned = isSearch ? MAX_SEARCHED : limit + 1
  const newestFirst = sql`ORDER BY seq DESC`
  const first = sql`${inRange(filter)} ${newestFirst} ${limitTo(scanned)}`
  const matches = allOf([
    ...(actor === null ? [] : [sql`(caller_id = ${actor} OR actor_person = ${actor} OR actor_type = ${actor})`]),
    // Finds events with exactly this value in their data, or with this organization.
    ...(target === null ? [] : [sql`(instr(data, ${JSON.stringify(target)}) > 0 OR organization_id = ${target})`]),
  ])
  const source = type === null ? 'events INDEXED BY events_by_environment' : 'events INDEXED BY events_by_type'
  const statements = {
    page: selectFromFirst<ActivityRow & { id: string }>(
      caller,
      activityColumns,
      source,
      first,
      sql`WHERE ${matches} ${newestFirst} ${limitTo(limit + 1)}`,
    ),
    ...(isSearch && {
      // In SQLite, bare columns in a query with min() come from the row with the minimum.
      searched: selectFromFirst<Searched>(caller, sql`count(*) AS count, min(seq), id`, source, first, empty),
    }),
    ...(after !== null && { cursor: select(caller, sql`1`, 'events', sql`id = ${after}`) }),
    keys: selectCallerKeys(caller),
  }
  return runBatch(database, caller, 'events:read', statements, ({ page, searched, cursor, keys }) => {
    if (cursor?.length === 0) return { refused: 'invalid_cursor' }
    const activities = page.slice(0, limit).map(activityFromRow)
    const isPartial = page.length <= limit && (searched?.[0]?.count ?? 0) >= MAX_SEARCHED
    const next = page.length > limit ? activities.at(-1)?.event.id : isPartial ? searched?.[0]?.id : undefined
    return { granted: { activities, next: next ?? null, isPartial, keys: keys.map(callerKeyMapping.fromRow) } }
  })
}

/** Returns an event of the environment. */
export function findActivity(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<Activity, 'entity_not_found'>> {
  const found = selectFromFirst<ActivityRow>(caller, activityColumns, 'events', sql`id = ${id}`, empty)
  return runBatch(database, caller, 'events:read', { found }, ({ found: [row] }) =>
    row ? { granted: activityFromRow(row) } : { refused: 'entity_not_found' },
  )
}

function inRange({ after, type, from, until }: ActivityFilter): Sql {
  return allOf([
    ...(type === null ? [] : [sql`type = ${type}`]),
    ...(after === null ? [] : [sql`seq < (SELECT seq FROM events WHERE id = ${after})`]),
    ...inPeriod(from, until),
  ])
}

export function activityFromRow(row: ActivityRow): Activity {
  return {
    event: eventFromRow(row),
    applicationName: row.application_name,
    before: row.before === null ? null : JSON.parse(row.before),
  }
}

/** Returns the event type of this name; null for any other text. */
export function eventTypeOf(text: string): EventType | null {
  return EVENT_TYPES.find((type) => type === text) ?? null
}
