import sql, { raw } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { allOf, select } from './statements.ts'

export const EVENT_TYPES = [
  'connect_application.created',
  'connect_application.updated',
  'connect_application.deleted',
  'connect_application_secret.created',
  'connect_application_secret.updated',
  'connect_application_secret.rotated',
  'connect_application_secret.expired',
  'connect_application_secret.deleted',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** A row as a change left it. */
export type Snapshot = Readonly<Record<string, unknown>>

export interface Event {
  readonly id: string
  readonly type: EventType
  /** Read by the mapper of its table. */
  readonly data: Snapshot
  /** Of the caller; null for system events. */
  readonly apiKey: { readonly id: string; readonly name: string } | null
  readonly requestId: string | null
  readonly createdAt: UnixMs
}

export interface EventFilter {
  readonly limit: number
  /** In the order of commits, or newest first. */
  readonly order: 'asc' | 'desc'
  /** The id of the event that the page follows. */
  readonly after: string | null
  /** All types if empty. */
  readonly types: readonly EventType[]
  readonly organizationId: string | null
  /** Inclusive. */
  readonly from: UnixMs | null
  /** Exclusive. */
  readonly until: UnixMs | null
}

export interface EventRow {
  readonly id: string
  readonly type: EventType
  /** JSON. */
  readonly data: string
  readonly caller_id: string | null
  readonly caller_name: string | null
  readonly request_id: string | null
  readonly created_at: UnixMs
}

const COLUMNS: readonly (keyof EventRow)[] = [
  'id',
  'type',
  'data',
  'caller_id',
  'caller_name',
  'request_id',
  'created_at',
]
export const eventColumns = raw(COLUMNS.map((column) => `events.${column}`).join(', '))

/**
 * A page of the environment's events in the order of their commits, so that a reader who continues after the last event
 * it has seen misses none, whatever is written meanwhile.
 */
export function listEvents(
  database: Database,
  caller: Caller,
  { limit, order, after, types, organizationId, from, until }: EventFilter,
): Promise<Outcome<{ events: Event[]; hasMore: boolean }, 'invalid_cursor'>> {
  const whereListed = allOf([
    ...(after === null
      ? []
      : [sql`seq ${raw(order === 'asc' ? '>' : '<')} (SELECT seq FROM events WHERE id = ${after})`]),
    ...(types.length === 0 ? [] : [sql`type IN (SELECT value FROM json_each(${JSON.stringify(types)}))`]),
    ...(organizationId === null ? [] : [sql`organization_id = ${organizationId}`]),
    ...(from === null ? [] : [sql`created_at >= ${from}`]),
    ...(until === null ? [] : [sql`created_at < ${until}`]),
  ])
  const inOrder = sql`ORDER BY seq ${raw(order)} LIMIT ${limit + 1}`
  return runBatch(
    database,
    caller,
    'read',
    {
      page: select<EventRow>(caller, eventColumns, 'events', whereListed, inOrder),
      cursor: select(caller, sql`1`, 'events', sql`id = ${after}`),
    },
    ({ page, cursor }) => {
      if (after !== null && cursor.length === 0) return { refused: 'invalid_cursor' }
      return { granted: { events: page.slice(0, limit).map(eventFromRow), hasMore: page.length > limit } }
    },
  )
}

export function eventFromRow(row: EventRow): Event {
  return {
    id: row.id,
    type: row.type,
    data: JSON.parse(row.data),
    apiKey: row.caller_id === null ? null : { id: row.caller_id, name: row.caller_name ?? '' },
    requestId: row.request_id,
    createdAt: row.created_at,
  }
}
