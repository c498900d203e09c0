import sql, { raw } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Access, Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { type Statement, select, updateQuietly } from './statements.ts'

/** An API key as callers of its environment see it. */
export interface CallerKey {
  readonly id: string
  readonly name: string
  readonly access: Access
  readonly createdAt: UnixMs
  /** Accurate to the minute; null before the first use. */
  readonly lastUsedAt: UnixMs | null
  /** Whether the caller is this key, or a session of it. */
  readonly isOwn: boolean
}

interface CallerKeyRow {
  readonly id: string
  readonly name: string
  readonly access: Access
  readonly created_at: UnixMs
  readonly last_used_at: UnixMs | null
  readonly is_own: 0 | 1
}

/** A list shows at most this many. */
export const MAX_LISTED_CALLERS = 100

/** The active API keys of the caller's environment, oldest first. */
export function selectCallerKeys(caller: Caller): Statement<CallerKeyRow> {
  const own = sql`digest = ${caller.digest} OR id = (SELECT api_key_id FROM sessions WHERE digest = ${caller.digest})`
  const columns = sql`id, name, access, created_at, last_used_at, (${own}) AS is_own`
  return select<CallerKeyRow>(
    caller,
    columns,
    'api_keys',
    sql`revoked_at IS NULL`,
    sql`ORDER BY created_at, id LIMIT ${raw(`${MAX_LISTED_CALLERS}`)}`,
  )
}

export function callerKeyFromRow(row: CallerKeyRow): CallerKey {
  return {
    id: row.id,
    name: row.name,
    access: row.access,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
    isOwn: row.is_own === 1,
  }
}

/** Revokes an API key of the caller's environment, which ends its sessions too. Idempotent. */
export function revokeCallerKey(
  database: Database,
  caller: Caller,
  id: string,
  now: UnixMs,
): Promise<Outcome<null, 'entity_not_found'>> {
  const found = select(caller, sql`1`, 'api_keys', sql`id = ${id}`)
  const revoked = updateQuietly(
    caller,
    'write',
    'api_keys',
    sql`revoked_at = ${now}`,
    sql`id = ${id} AND revoked_at IS NULL`,
  )
  return runBatch(database, caller, 'write', { found, revoked }, ({ found }) =>
    found.length > 0 ? { granted: null } : { refused: 'entity_not_found' },
  )
}
