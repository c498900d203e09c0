import sql, { type Sql } from 'sql-template-tag'
import { type Bytes, sameBytes } from '../credential/digest.ts'
import type { Change, Result } from './caller.ts'
import type { Blob, UnixMs } from './database.ts'
import { insertRecord, type Statement } from './statements.ts'
import type { ChangeRow } from './verdicts.ts'

/** For this long, a create that is repeated with the same Idempotency-Key gets the same response. */
export const REPLAY_WINDOW_MS = 60 * 60 * 1000

/** The stored values that are needed, in addition to the API key and the request, to derive a client secret again. */
export interface Derivation {
  readonly salt: Bytes
  /** The prefix of the secret. */
  readonly prefix: string
}

/** A request with an Idempotency-Key. */
export interface KeyedRequest extends Derivation {
  /** The digest of the API key's digest and the Idempotency-Key. */
  readonly digest: Bytes
  /** The digest of the request's method, path and body. */
  readonly requestDigest: Bytes
}

/**
 * The columns of the idempotency record. All are null if the request has no Idempotency-Key, or if nothing was created.
 */
interface RecordRow {
  readonly request_digest: Blob
  readonly salt: Blob
  readonly secret_prefix: string
}

/**
 * The verdict on a create. `original` is the event of the creation: by this change, or by an earlier attempt of the
 * same request.
 */
export type OriginalRow = ChangeRow & {
  /** The ID of the event of the creation; null if nothing was created. */
  readonly original_id: string | null
  /** JSON; null if nothing was created. */
  readonly original_data: string | null
} & (RecordRow | { readonly [Column in keyof RecordRow]: null })

function staleAt(change: Change): UnixMs {
  return change.now - REPLAY_WINDOW_MS
}

/** Condition: the idempotency record belongs to this request and is within the replay window. */
function matchesRecord(change: Change, { digest }: KeyedRequest): Sql {
  return sql`record.digest = ${digest} AND record.environment_id = caller.environment_id
    AND record.created_at > ${staleAt(change)}`
}

/** Condition: nothing was created with this Idempotency-Key within the replay window. */
export function keyUnused(change: Change, request: KeyedRequest | null): Sql {
  if (!request) return sql`true`
  return sql`NOT EXISTS (SELECT 1 FROM idempotency_records AS record WHERE ${matchesRecord(change, request)})`
}

/** The verdict on a dashboard form that must create only one object. */
export interface FormRow {
  /** True if nothing was created with this form before. */
  readonly is_unused: 0 | 1
}

/** Stores the idempotency record that a replay of the request needs. */
export function rememberRequest(change: Change, { digest, requestDigest, salt, prefix }: KeyedRequest): Statement {
  const row = { digest, request_digest: requestDigest, salt, secret_prefix: prefix }
  return insertRecord(change, row, staleAt(change))
}

/** Joins the event of the creation to the caller, as `original`. */
export function joinOriginal(change: Change, request: KeyedRequest | null): Sql {
  return request
    ? sql`LEFT JOIN idempotency_records AS record ON ${matchesRecord(change, request)}
        LEFT JOIN events AS original ON original.id = record.event_id AND original.environment_id = caller.environment_id`
    : sql`LEFT JOIN events AS original ON original.id = ${change.eventId}`
}

/** The columns of `OriginalRow`. */
export function originalColumns(request: KeyedRequest | null): Sql {
  const ofRecord = request
    ? sql`record.request_digest, record.salt, record.secret_prefix`
    : sql`NULL AS request_digest, NULL AS salt, NULL AS secret_prefix`
  return sql`original.id AS original_id, original.data AS original_data, ${ofRecord}`
}

export interface Original {
  /** The created row. */
  readonly data: object
  /** Null if this change created the row. */
  readonly replayedFrom: Derivation | null
}

/** Returns the original creation; null if nothing was created. */
export function readOriginal(
  row: OriginalRow,
  change: Change,
  request: KeyedRequest | null,
): Result<Original, 'idempotency_key_reused'> | null {
  if (row.original_data === null) return null
  const data = JSON.parse(row.original_data)
  if (row.salt === null) return { granted: { data, replayedFrom: null } }
  const { requestDigest } = request as KeyedRequest
  if (!sameBytes(bytes(row.request_digest), requestDigest)) return { refused: 'idempotency_key_reused' }
  const isReplay = row.original_id !== change.eventId
  return { granted: { data, replayedFrom: isReplay ? { salt: bytes(row.salt), prefix: row.secret_prefix } : null } }
}

export function bytes(blob: Blob): Bytes {
  return new Uint8Array(blob)
}
