import sql, { empty, type Sql } from 'sql-template-tag'
import { startOfIds, timeOfId } from '../credential/id.ts'
import type { Activity } from './activity.ts'
import type { Application } from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import { environmentOf } from './caller-conditions.ts'
import { liveAt } from './client-secrets.ts'
import type { Database, UnixMs } from './database.ts'
import { type Event, eventColumns, eventFromRow, type Snapshot } from './events.ts'
import { type ListedRow, type ListedSecret, listedColumns, listedFromRow } from './listed-secrets.ts'
import { BY_APPLICATION, select, selectFromFirst } from './statements.ts'

/** A secret in any state, with its history. */
export interface SecretDetails {
  readonly secret: ListedSecret
  readonly applicationType: Application['applicationType']
  /** True if the application is deleted. */
  readonly isOrphaned: boolean
  /** The events of its changes and refused uses, newest first. */
  readonly history: readonly Activity[]
  /** The number of other secrets of the application that are active and not rotated out. */
  readonly otherActive: number
}

const HOUR_MS = 60 * 60 * 1000
/** The history has the refused uses of this number of hours. There is at most one such event per hour. */
const REFUSED_HOURS = 7 * 24
/** The number of symbols of an ID that derived IDs share: the region and the random symbols. */
const DERIVED_SYMBOLS = 16

interface DetailsRow extends ListedRow {
  readonly application_type: Application['applicationType']
  readonly deleted_at: UnixMs | null
}

/** Returns a secret that cleanup has not removed, and its events, which this function finds by their IDs. */
export function findSecretDetails(
  database: Database,
  caller: Caller,
  id: string,
  now: UnixMs,
): Promise<Outcome<SecretDetails, 'entity_not_found'>> {
  const own = sql`environment_id = ${environmentOf(caller)} AND id = ${id}`
  const ofSecret = (column: Sql) => sql`(SELECT ${column} FROM client_secrets WHERE ${own})`
  const application = (column: Sql) => sql`(SELECT ${column} FROM applications
    WHERE environment_id = first.environment_id AND id = first.application_id)`
  const columns = sql`${listedColumns(now)}, ${application(sql`application_type`)} AS application_type,
    ${application(sql`deleted_at`)} AS deleted_at`
  const ids = sql`SELECT value FROM json_each(${ofSecret(sql`coalesce(history, json_array(event_id))`)})
    UNION SELECT value FROM json_each(${JSON.stringify(derivedEvents(id, now))})`
  const working = sql`disabled_at IS NULL AND NOT is_rotated_out AND ${liveAt(now)}`
  const statements = {
    found: selectFromFirst<DetailsRow>(caller, columns, 'client_secrets', sql`id = ${id}`, empty),
    // The index is named, because SQLite would otherwise read all events of the environment.
    events: select<object>(
      caller,
      eventColumns,
      'events INDEXED BY sqlite_autoindex_events_1',
      sql`id IN (${ids})`,
      sql`ORDER BY seq`,
      'secrets:read',
    ),
    others: select<{ count: number }>(
      caller,
      sql`count(*) AS count`,
      BY_APPLICATION,
      sql`application_id = ${ofSecret(sql`application_id`)} AND id <> ${id} AND ${working}`,
    ),
  }
  return runBatch(database, caller, 'secrets:read', statements, ({ found: [row], events, others }) => {
    if (!row) return { refused: 'entity_not_found' }
    return {
      granted: {
        secret: listedFromRow(row),
        applicationType: row.application_type,
        isOrphaned: row.deleted_at !== null,
        history: historyOf(row, events.map(eventFromRow)),
        otherActive: others[0]?.count ?? 0,
      },
    }
  })
}

/**
 * Returns the IDs of events that are derived from the ID of a secret: the expiry, and the refused uses of each hour.
 */
function derivedEvents(id: string, now: UnixMs): string[] {
  if (timeOfId(id) === null) return []
  const hour = now - (now % HOUR_MS)
  const refused = Array.from(
    { length: REFUSED_HOURS },
    (_, i) => startOfIds('event', hour - i * HOUR_MS) + id.slice(-DERIVED_SYMBOLS),
  )
  return [`event${id.slice('secret'.length)}`, ...refused]
}

/** Adds the previous data to each event, and sorts the events newest first. */
function historyOf({ id, application_name }: ListedRow, events: readonly Event[]): Activity[] {
  let before: Snapshot | null = null
  const history = events.map((event) => {
    const activity = { event, applicationName: application_name, before }
    if (event.data.id === id) before = event.data
    return activity
  })
  return history.reverse()
}
