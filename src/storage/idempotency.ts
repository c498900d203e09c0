import sql, { raw, type Sql } from 'sql-template-tag'
import { type Bytes, sameBytes } from '../credential/digest.ts'
import type { Row } from './database.ts'
import { type Change, insertAlong, remove, type Statement, select } from './statements.ts'

/** How long a create may be sent again and be answered alike. */
export const REPLAY_WINDOW_MS = 60 * 60 * 1000

/** From what, with the API key, a client secret is derived, and derived again. */
export interface Derivation {
  readonly salt: Bytes
  /** What stands before the secret. */
  readonly prefix: string
}

/** A request that named itself by an Idempotency-Key. */
export interface KeyedRequest extends Derivation {
  /** Of the API key's digest and the Idempotency-Key. */
  readonly digest: Bytes
  /** Of method, path and body. */
  readonly requestDigest: Bytes
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
  const { digest, requestDigest, salt, prefix } = request
  const record = { digest, request_digest: requestDigest, salt, secret_prefix: prefix, event_id: change.eventId }
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
  const record = (column: 'event_id' | 'request_digest' | 'salt' | 'secret_prefix') =>
    sql`(SELECT ${raw(column)} FROM idempotency_records WHERE digest = ${request.digest})`
  return select(
    change.caller,
    sql`events.id, data, ${record('request_digest')} AS request_digest, ${record('salt')} AS salt,
      ${record('secret_prefix')} AS secret_prefix, ${columns}`,
    'events',
    sql`events.id = ${record('event_id')}`,
  )
}

/** Reads the row of `selectCreated`. */
export function readCreated(
  row: Row,
  change: Change,
  request: KeyedRequest | null,
): { snapshot: Row; isReplay: boolean; derivation: Derivation | null } | 'idempotency_key_reused' {
  if (request && !sameBytes(bytes(row.request_digest), request.requestDigest)) return 'idempotency_key_reused'
  return {
    snapshot: JSON.parse(row.data as string),
    isReplay: row.id !== change.eventId,
    derivation: request && { salt: bytes(row.salt), prefix: row.secret_prefix as string },
  }
}

/** D1 gives BLOBs as arrays of numbers. */
export function bytes(value: unknown): Bytes {
  return new Uint8Array(value as number[])
}
