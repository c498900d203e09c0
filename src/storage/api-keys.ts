import sql, { raw } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Access, Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { flag, mapping } from './mapping.ts'
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

export const callerKeyMapping = mapping<CallerKey>('api_keys', {
  id: 'id',
  name: 'name',
  access: 'access',
  createdAt: 'created_at',
  lastUsedAt: 'last_used_at',
  isOwn: ['is_own', flag],
})

/** A list shows at most this many. */
export const MAX_LISTED_CALLERS = 100

/** The active API keys of the caller's environment, oldest first. */
export function selectCallerKeys(caller: Caller): Statement<object> {
  const own = sql`digest = ${caller.digest} OR id = (SELECT api_key_id FROM sessions WHERE digest = ${caller.digest})`
  const columns = sql`id, name, access, created_at, last_used_at, (${own}) AS is_own`
  return select<object>(
    caller,
    columns,
    'api_keys',
    sql`revoked_at IS NULL`,
    sql`ORDER BY created_at, id LIMIT ${raw(`${MAX_LISTED_CALLERS}`)}`,
  )
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
