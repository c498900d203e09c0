import sql, { raw, type Sql } from 'sql-template-tag'
import { type Bytes, sameBytes } from '../credential/digest.ts'
import type { Row } from './database.ts'
import { type Change, insertAlong, remove, type Statement, select } from './statements.ts'

/** How long a create may be sent again and be answered alike. */
export const REPLAY_WINDOW_MS = 60 * 60 * 1000

/** A request that named itself by an Idempotency-Key. */
export interface KeyedRequest {
  /** Of the API key's digest and the Idempotency-Key. */
  readonly digest: Bytes
  /** Of method, path and body. */
  readonly requestDigest: Bytes
  readonly salt: Bytes
}

/** Makes room for a key that was used longer ago than the window. */
export function forgetStale(change: Change, request: KeyedRequest): Statement {
  return remove(
    change,
    'idempotency_records',
    sql`digest = ${request.digest} AND created_at <= ${change.now - REPLAY_WINDOW_MS}`,
  )
}

/** A condition for the insert: nothing was made under this key. */
export function isNew(request: KeyedRequest | null): Sql {
  if (!request) return sql`true`
  return sql`NOT EXISTS (SELECT 1 FROM idempotency_records WHERE digest = ${request.digest})`
}

/** Keeps what is needed to answer the request again. */
export function remember(
  change: Change,
  request: KeyedRequest,
  table: 'applications' | 'client_secrets',
  id: string,
): Statement {
  const { digest, requestDigest, salt } = request
  const record = { digest, request_digest: requestDigest, salt, event_id: change.eventId }
  return insertAlong(change, 'idempotency_records', record, table, sql`${raw(table)}.id = ${id}`)
}

/** What was created: by this change, or earlier by the same request. One row, or none. */
export function selectCreated(
  change: Change,
  request: KeyedRequest | null,
  columns: Sql = sql`null AS more`,
): Statement {
  if (!request)
    return select(change.caller, sql`events.id, data, ${columns}`, 'events', sql`events.id = ${change.eventId}`)
  const record = (column: 'event_id' | 'request_digest' | 'salt') =>
    sql`(SELECT ${raw(column)} FROM idempotency_records WHERE digest = ${request.digest})`
  return select(
    change.caller,
    sql`events.id, data, ${record('request_digest')} AS request_digest, ${record('salt')} AS salt, ${columns}`,
    'events',
    sql`events.id = ${record('event_id')}`,
  )
}

/** Reads the row of `selectCreated`. */
export function readCreated(
  row: Row,
  change: Change,
  request: KeyedRequest | null,
): { snapshot: Row; isReplay: boolean; salt: Bytes | null } | 'idempotency_key_reused' {
  if (request && !sameBytes(bytes(row.request_digest), request.requestDigest)) return 'idempotency_key_reused'
  return {
    snapshot: JSON.parse(row.data as string),
    isReplay: row.id !== change.eventId,
    salt: request && bytes(row.salt),
  }
}

/** D1 gives BLOBs as arrays of numbers. */
export function bytes(value: unknown): Bytes {
  return new Uint8Array(value as number[])
}
