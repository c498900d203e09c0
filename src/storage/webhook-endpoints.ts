import sql, { empty, raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import { dependentScope, eventExists, isFrozen, isLatest } from './caller-conditions.ts'
import type { Database } from './database.ts'
import { recordAuditEvent } from './event-statements.ts'
import { type FormRow, type KeyedRequest, keyUnused, rememberRequest } from './idempotency.ts'
import { insertInto, select, updateUnstamped } from './statements.ts'
import { type ChangeRow, selectChangeVerdict } from './verdicts.ts'
import { endpointColumns, endpointFromRow, gone, type WebhookEndpoint } from './webhooks.ts'

export interface NewWebhookEndpoint extends Pick<WebhookEndpoint, 'id' | 'url' | 'events' | 'createdAt'> {
  /** The signing secret. It is stored in plaintext, because it signs deliveries. */
  readonly secret: string
}

/**
 * A caller cannot create an endpoint if its environment already has this many. The number is limited because each
 * endpoint can receive every event.
 */
const MAX_ENDPOINTS = 20

/**
 * SQL for the `data` of an endpoint's events. It cuts the URL at `?` (char 63), because the query may contain a
 * credential.
 */
const endpointData = (id: Sql | string, url: Sql | string, events: Sql | string) =>
  sql`json_object('object', 'webhook_endpoint', 'id', ${id},
    'url', substr(${url}, 1, instr(${url} || char(63), char(63)) - 1), 'events', json(${events}))`
export const endpointSnapshot = endpointData(raw('target.id'), raw('target.url'), raw('target.events'))

/**
 * Creates an endpoint for events that are recorded from now on. Submitting the same form again creates no second
 * endpoint.
 */
export function createCallerEndpoint(
  database: Database,
  change: Change,
  endpoint: NewWebhookEndpoint,
  request: KeyedRequest,
): Promise<Outcome<null, 'idempotency_key_reused' | 'endpoint_limit_reached' | 'environment_frozen'>> {
  const { id, url, events, secret, createdAt } = endpoint
  const count = sql`(SELECT count(*) FROM webhook_endpoints
    WHERE environment_id = caller.environment_id AND deleted_at IS NULL)`
  const isUnused = keyUnused(change, request)
  const frozen = isFrozen(raw('caller.environment_id'))
  const row = {
    id,
    url,
    events: JSON.stringify(events),
    secret,
    cursor: sql`(SELECT max(seq) FROM events)`,
    created_at: createdAt,
  }
  return runBatch(
    database,
    change.caller,
    'write',
    {
      event: recordAuditEvent(
        database,
        change,
        'write',
        'webhook_endpoint.created',
        endpointData(id, url, row.events),
        sql`JOIN (SELECT 1) AS request ON NOT ${frozen} AND ${isUnused} AND ${count} < ${MAX_ENDPOINTS}`,
      ),
      created: insertInto('webhook_endpoints', row, dependentScope(change.caller, 'write'), empty, eventExists(change)),
      record: rememberRequest(change, request),
      verdict: selectChangeVerdict<ChangeRow & FormRow & { is_frozen: 0 | 1 }>(
        change,
        'webhook_endpoint.created',
        sql`${isUnused} AS is_unused, ${frozen} AS is_frozen`,
        empty,
      ),
    },
    ({ verdict }) => {
      if (verdict.is_done) return { granted: null }
      if (verdict.is_frozen) return { refused: 'environment_frozen' }
      return { refused: verdict.is_unused ? 'endpoint_limit_reached' : 'idempotency_key_reused' }
    },
  )
}

/** Returns an endpoint of the caller's environment with its secret. The caller needs write access. */
export function findCallerEndpoint(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<WebhookEndpoint & { readonly secret: string }, 'entity_not_found'>> {
  const active = sql`id = ${id} AND deleted_at IS NULL`
  const found = select<{ secret: string }>(caller, sql`${endpointColumns}, secret`, 'webhook_endpoints', active)
  return runBatch(database, caller, 'write', { found }, ({ found: [row] }) =>
    row ? { granted: { ...endpointFromRow(row), secret: row.secret } } : { refused: 'entity_not_found' },
  )
}

/**
 * Returns the event type, the condition and the new value for pausing or resuming an endpoint. `isLatest` prevents a
 * retry from undoing a later change.
 */
export function pauseOf(isPaused: boolean, now: number, eventId: string) {
  const types = ['webhook_endpoint.paused', 'webhook_endpoint.resumed'] as const
  return {
    type: types[isPaused ? 0 : 1],
    isDue: isPaused ? sql`target.paused_at IS NULL` : sql`target.paused_at IS NOT NULL`,
    set: sql`paused_at = ${isPaused ? now : null}`,
    isLatest: isLatest(eventId, types),
  }
}

/** Pauses or resumes an endpoint. During a pause its events wait, in order. Idempotent. */
export function pauseCallerEndpoint(
  database: Database,
  change: Change,
  id: string,
  isPaused: boolean,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const { caller, now } = change
  const active = sql`id = ${id} AND deleted_at IS NULL`
  const pause = pauseOf(isPaused, now, change.eventId)
  const target = sql`JOIN webhook_endpoints AS target ON target.environment_id = caller.environment_id
    AND target.id = ${id} AND target.deleted_at IS NULL AND ${pause.isDue}`
  return runBatch(
    database,
    caller,
    'write',
    {
      event: recordAuditEvent(database, change, 'write', pause.type, endpointSnapshot, target),
      changed: updateUnstamped(caller, 'write', 'webhook_endpoints', pause.set, sql`${active} AND ${pause.isLatest}`),
      found: select<{ paused_at: number | null }>(caller, sql`paused_at`, 'webhook_endpoints', active),
    },
    ({ found: [endpoint] }) => {
      if (!endpoint) return { refused: 'entity_not_found' }
      return (endpoint.paused_at !== null) === isPaused ? { granted: null } : { refused: 'service_unavailable' }
    },
  )
}

/** Deletes an endpoint and its secret, so that nothing more is delivered to it. Idempotent. */
export function deleteCallerEndpoint(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const { caller, now } = change
  const active = sql`id = ${id} AND deleted_at IS NULL AND ${eventExists(change)}`
  const target = sql`JOIN webhook_endpoints AS target ON target.environment_id = caller.environment_id
    AND target.id = ${id} AND target.deleted_at IS NULL`
  return runBatch(
    database,
    caller,
    'write',
    {
      found: select<{ deleted_at: number | null }>(caller, sql`deleted_at`, 'webhook_endpoints', sql`id = ${id}`),
      event: recordAuditEvent(database, change, 'write', 'webhook_endpoint.deleted', endpointSnapshot, target),
      deleted: updateUnstamped(caller, 'write', 'webhook_endpoints', sql`deleted_at = ${now}, secret = ''`, active),
      deliveries: updateUnstamped(
        caller,
        'write',
        'webhook_deliveries',
        gone(now),
        sql`endpoint_id = ${id} AND state = 'pending' AND ${eventExists(change)}`,
      ),
    },
    ({ found, deleted }) => {
      if (!found[0]) return { refused: 'entity_not_found' }
      return found[0].deleted_at === null && deleted.length === 0
        ? { refused: 'service_unavailable' }
        : { granted: null }
    },
  )
}
