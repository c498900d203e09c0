import sql, { raw } from 'sql-template-tag'
import type { Database, Row } from './database.ts'
import { ask, type Caller, type Outcome, select } from './statements.ts'

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

export interface Event {
  readonly id: string
  readonly type: EventType
  /** The row as the change left it; its mapper reads it. */
  readonly data: Row
  /** Which API key did it; null when time did. */
  readonly apiKey: { readonly id: string; readonly name: string } | null
  readonly requestId: string | null
  /** Unix ms. */
  readonly createdAt: number
}

export interface EventFilter {
  readonly limit: number
  /** As they were committed, or the newest first. */
  readonly order: 'asc' | 'desc'
  /** The id of the event that the page follows. */
  readonly after: string | null
  /** Empty for all. */
  readonly types: readonly EventType[]
  readonly organizationId: string | null
  /** Unix ms, the first included and the last not. */
  readonly from: number | null
  readonly until: number | null
}

const COLUMNS = ['id', 'type', 'data', 'caller_id', 'caller_name', 'request_id', 'created_at'] as const
export const eventColumns = raw(COLUMNS.map((column) => `events.${column}`).join(', '))

/**
 * A page of the environment's events, in the order in which they were committed: whoever reads on after the last one
 * that it has seen misses none, whatever is written meanwhile.
 */
export function listEvents(
  database: Database,
  caller: Caller,
  { limit, order, after, types, organizationId, from, until }: EventFilter,
): Promise<Outcome<{ events: Event[]; hasMore: boolean }, 'invalid_cursor'>> {
  const isAscending = order === 'asc'
  const conditions = [
    sql`true`,
    ...(after === null ? [] : [sql`seq ${raw(isAscending ? '>' : '<')} (SELECT seq FROM events WHERE id = ${after})`]),
    ...(types.length === 0 ? [] : [sql`type IN (SELECT value FROM json_each(${JSON.stringify(types)}))`]),
    ...(organizationId === null ? [] : [sql`organization_id = ${organizationId}`]),
    ...(from === null ? [] : [sql`created_at >= ${from}`]),
    ...(until === null ? [] : [sql`created_at < ${until}`]),
  ]
  const isListed = conditions.reduce((all, one) => sql`${all} AND ${one}`)
  const direction = raw(isAscending ? 'ASC' : 'DESC')
  return ask(
    database,
    caller,
    'read',
    [
      select(caller, eventColumns, 'events', isListed, sql`ORDER BY seq ${direction} LIMIT ${limit + 1}`),
      select(caller, sql`1`, 'events', sql`id = ${after}`),
    ],
    ([page = [], mark = []]) => {
      if (after !== null && mark.length === 0) return { refused: 'invalid_cursor' }
      return { granted: { events: page.slice(0, limit).map(eventFromRow), hasMore: page.length > limit } }
    },
  )
}

export function eventFromRow(row: Row): Event {
  return {
    id: row.id as string,
    type: row.type as EventType,
    data: JSON.parse(row.data as string),
    apiKey: row.caller_id === null ? null : { id: row.caller_id as string, name: row.caller_name as string },
    requestId: row.request_id as string | null,
    createdAt: row.created_at as number,
  }
}
