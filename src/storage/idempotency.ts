import sql, { raw, type Sql } from 'sql-template-tag'
import { type Bytes, sameBytes } from '../credential/digest.ts'
import type { Change } from './caller.ts'
import type { UnixMs } from './database.ts'
import { insertDependent, remove, type Statement, select } from './statements.ts'

/** A create can be repeated with the same Idempotency-Key, and returns the same response, for this long. */
export const REPLAY_WINDOW_MS: UnixMs = 60 * 60 * 1000

/** The stored inputs from which, with the API key, a client secret is derived. */
export interface Derivation {
  readonly salt: Bytes
  /** The prefix of the secret. */
  readonly prefix: string
}

/** A request with an Idempotency-Key. */
export interface KeyedRequest extends Derivation {
  /** Of the API key's digest and the Idempotency-Key. */
  readonly digest: Bytes
  /** Of method, path and body. */
  readonly requestDigest: Bytes
}

/** D1 returns BLOBs as arrays of numbers. */
export type Blob = readonly number[]

/** The columns are null if the request has no Idempotency-Key. */
export interface CreatedRow {
  readonly id: string
  /** JSON. */
  readonly data: string
  readonly request_digest: Blob | null
  readonly salt: Blob | null
  readonly secret_prefix: string | null
}

/** Removes the record of a key that was last used before the window. */
export function forgetStale(change: Change, request: KeyedRequest): Statement {
  return remove(
    change,
    'idempotency_records',
    sql`digest = ${request.digest} AND created_at <= ${change.now - REPLAY_WINDOW_MS}`,
  )
}

/** Condition for the insert: nothing was created with this key. */
export function keyUnused(request: KeyedRequest | null): Sql {
  if (!request) return sql`true`
  return sql`NOT EXISTS (SELECT 1 FROM idempotency_records WHERE digest = ${request.digest})`
}

/** Stores what a replay of the request needs. */
export function rememberRequest(
  change: Change,
  request: KeyedRequest,
  table: 'applications' | 'client_secrets',
  id: string,
): Statement {
  const { digest, requestDigest, salt, prefix } = request
  const record = { digest, request_digest: requestDigest, salt, secret_prefix: prefix, event_id: change.eventId }
  return insertDependent(change, 'idempotency_records', record, table, sql`${raw(table)}.id = ${id}`)
}

/** The created object: by this change, or earlier by the same request. At most one row. */
export function selectCreated<Row extends CreatedRow>(
  change: Change,
  request: KeyedRequest | null,
  columns: Sql = sql`null AS more`,
): Statement<Row> {
  const record = (column: 'event_id' | 'request_digest' | 'salt' | 'secret_prefix') =>
    request
      ? sql`(SELECT ${raw(column)} FROM idempotency_records WHERE digest = ${request.digest})`
      : sql`${column === 'event_id' ? change.eventId : null}`
  return select(
    change.caller,
    sql`events.id, data, ${record('request_digest')} AS request_digest, ${record('salt')} AS salt,
      ${record('secret_prefix')} AS secret_prefix, ${columns}`,
    'events',
    sql`events.id = ${record('event_id')}`,
  )
}

export function readCreated(
  { id, data, request_digest, salt, secret_prefix }: CreatedRow,
  change: Change,
  request: KeyedRequest | null,
): { data: string; isReplay: boolean; derivation: Derivation | null } | 'idempotency_key_reused' {
  if (request && request_digest && !sameBytes(bytes(request_digest), request.requestDigest)) {
    return 'idempotency_key_reused'
  }
  return {
    data,
    isReplay: id !== change.eventId,
    derivation: salt && secret_prefix !== null ? { salt: bytes(salt), prefix: secret_prefix } : null,
  }
}

export function bytes(blob: Blob): Bytes {
  return new Uint8Array(blob)
}
