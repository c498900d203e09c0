import sql, { raw, type Sql } from 'sql-template-tag'
import { timeOfId } from '../credential/id.ts'
import { runBatch } from './batch.ts'
import type { Caller, Origin, Outcome } from './caller.ts'
import { environmentOf } from './caller-conditions.ts'
import type { Database, UnixMs } from './database.ts'
import { json, mapping } from './mapping.ts'
import { isAscending, limitToPage, orderBy, type Page, type PageRequest, toPage } from './paging.ts'
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
  'connect_application_secret.replayed',
  'connect_application_secret.refused',
  'connect_application_secret.used_while_expiring',
  'connect_application_secret.leaked',
  'connect_application_secret.expiring',
  'connect_application_secret.unused',
  'api_key.created',
  'api_key.updated',
  'api_key.revoked',
  'api_key.leaked',
  'session.created',
  'session.revoked',
  'webhook_endpoint.created',
  'webhook_endpoint.paused',
  'webhook_endpoint.resumed',
  'webhook_endpoint.deleted',
  'webhook_endpoint.leaked',
  'signing_key.rotated',
  'environment.updated',
  'environment.frozen',
  'environment.unfrozen',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** The row of an object after a change. */
export type Snapshot = Readonly<Record<string, unknown>>

/** The actor of a change. */
export type Actor = 'api_key' | 'session' | 'operator' | 'system'

export interface Event {
  readonly id: string
  readonly type: EventType
  /** The object after the change. The mapping of its table converts it. */
  readonly data: Snapshot
  readonly actor: Actor
  /** The API key that made the change, or whose session made it. Null if the operator or the system made the change. */
  readonly apiKey: { readonly id: string; readonly name: string } | null
  /** The ID of the dashboard session that made the change; null for other callers. */
  readonly sessionId: string | null
  /** The email address of a person who signed in through Cloudflare Access; null otherwise. */
  readonly person: string | null
  readonly requestId: string | null
  readonly origin: Origin
  readonly createdAt: UnixMs
}

export interface EventFilter extends PageRequest {
  /** The event types; all types if empty. */
  readonly types: readonly EventType[]
  readonly organizationId: string | null
  /** The start of the period, inclusive. */
  readonly from: UnixMs | null
  /** The end of the period, exclusive. */
  readonly until: UnixMs | null
}

interface StoredEvent extends Omit<Event, 'apiKey' | 'actor' | 'origin'>, Origin {
  readonly callerId: string | null
  readonly callerName: string
  /** Null if the event is older than this column. */
  readonly actorType: Actor | null
}

const stored = mapping<StoredEvent>('events', {
  id: 'id',
  type: 'type',
  data: ['data', json],
  actorType: 'actor_type',
  callerId: 'caller_id',
  callerName: 'caller_name',
  sessionId: 'session_id',
  person: 'actor_person',
  requestId: 'request_id',
  clientRequestId: 'client_request_id',
  address: 'address',
  country: 'country',
  userAgent: 'user_agent',
  createdAt: 'created_at',
})
export const eventColumns = stored.columns

/**
 * How far `seq` can be ahead of an event's time. Normally `seq` is the time in microseconds. It is higher if several
 * events were recorded in the same millisecond, or if an earlier event came from a machine whose clock was ahead.
 */
const MAX_SKEW_MS = 60 * 60_000

/**
 * Returns a page of events in commit order. A reader that continues after its last event misses no event. With a filter
 * by type or organization, only matching events are read.
 */
export function listEvents(
  database: Database,
  caller: Caller,
  filter: EventFilter,
): Promise<Outcome<Page<Event>, 'invalid_cursor'>> {
  const { limit, cursor, types, organizationId, from, until } = filter
  const inOrder = sql`${orderBy('seq', filter)} ${limitToPage(filter)}`
  // If the cursor's event was removed, it is older than all stored events.
  const cursorSeq = sql`coalesce((SELECT seq FROM events WHERE id = ${cursor?.id ?? null}), 0)`
  const inRange = allOf([
    ...(cursor ? [sql`seq ${raw(isAscending(filter) ? '>' : '<')} ${cursorSeq}`] : []),
    ...inPeriod(from, until),
  ])
  const wanted = JSON.stringify(types.length > 0 ? types : EVENT_TYPES)
  const ofOrganization = organizationId === null ? sql`true` : sql`organization_id = ${organizationId}`
  const whereListed =
    types.length === 0 && organizationId === null
      ? inRange
      : sql`seq IN (SELECT first.seq FROM json_each(${wanted}) AS wanted JOIN events AS first ON first.seq IN (
          SELECT seq FROM events WHERE environment_id = ${environmentOf(caller)} AND ${ofOrganization}
          AND type = wanted.value AND ${inRange} ${inOrder}))`
  const oldest = select<{ created_at: UnixMs }>(caller, sql`created_at`, 'events', sql`true`, sql`ORDER BY seq LIMIT 1`)
  const statements = {
    page: select<object>(caller, eventColumns, 'events', whereListed, inOrder),
    ...(cursor ? { cursorRow: select(caller, sql`1`, 'events', sql`id = ${cursor.id}`), oldest } : {}),
  }
  return runBatch(database, caller, 'events:read', statements, ({ page, cursorRow, oldest }) => {
    if (cursor && cursorRow?.length === 0 && !isPast(cursor.id, oldest?.[0]?.created_at)) {
      return { refused: 'invalid_cursor' }
    }
    const events = page.slice(0, limit).map(eventFromRow)
    const next = page.length > limit ? events.at(-1)?.id : null
    const back = cursor ? events[0]?.id : null
    return { granted: toPage(filter, events, next, back) }
  })
}

/** Conditions: the event was recorded in the period. The condition on `seq` limits the number of rows that are read. */
export function inPeriod(from: UnixMs | null, until: UnixMs | null): Sql[] {
  return [
    ...(from === null ? [] : [sql`seq >= ${from * 1000} AND created_at >= ${from}`]),
    ...(until === null ? [] : [sql`seq < ${(until + MAX_SKEW_MS) * 1000} AND created_at < ${until}`]),
  ]
}

/**
 * Returns true if `id` is the ID of an event that is older than the oldest stored event. Cleanup removes such an event
 * after its retention.
 */
function isPast(id: string, oldest: UnixMs = Date.now()): boolean {
  const time = id.startsWith('event_') ? timeOfId(id) : null
  return time !== null && time < oldest
}

export function eventFromRow(row: object): Event {
  const { callerId, callerName, actorType, clientRequestId, address, country, userAgent, ...event } =
    stored.fromRow(row)
  return {
    ...event,
    actor: actorType ?? (callerId === null ? 'system' : 'api_key'),
    apiKey: callerId === null ? null : { id: callerId, name: callerName },
    origin: { clientRequestId, address, country, userAgent },
  }
}
