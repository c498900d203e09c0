import sql, { empty, raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { runBatch } from './batch.ts'
import type { Access, Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { recordAuditEvent } from './event-statements.ts'
import { type FormRow, type KeyedRequest, keyUnused, rememberRequest } from './idempotency.ts'
import { flag, mapping } from './mapping.ts'
import { eventExists, isFrozen, scopeOf } from './scope.ts'
import { insertInto, type Statement, select, updateUnstamped } from './statements.ts'
import { type ChangeRow, selectChangeVerdict } from './verdicts.ts'

/** An API key as callers of its environment see it. */
export interface CallerKey {
  readonly id: string
  readonly name: string
  readonly access: Access
  readonly createdAt: UnixMs
  /** Accurate to the minute; null before the first use. */
  readonly lastUsedAt: UnixMs | null
  /** True if the caller is this key, or a session of it. */
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

/** SQL for the JSON of an API key: data of its events. */
const keyData = (id: Sql | string, name: Sql | string, access: Sql | string) =>
  sql`json_object('object', 'api_key', 'id', ${id}, 'name', ${name}, 'access', ${access})`
export const apiKeySnapshot = keyData(raw('target.id'), raw('target.name'), raw('target.access'))

export interface NewCallerKey extends Pick<CallerKey, 'id' | 'name' | 'access'> {
  readonly digest: Bytes
}

/** Creates an API key of the caller's environment, once for each form, if it has fewer than a list shows. */
export function createCallerKey(
  database: Database,
  change: Change,
  { id, name, access, digest }: NewCallerKey,
  request: KeyedRequest,
): Promise<Outcome<null, 'idempotency_key_reused' | 'api_key_limit_reached' | 'environment_frozen'>> {
  const { caller, now } = change
  const isUnused = keyUnused(change, request)
  const count = sql`(SELECT count(*) FROM (SELECT 1 FROM api_keys WHERE environment_id = caller.environment_id
    AND revoked_at IS NULL LIMIT ${raw(`${MAX_LISTED_CALLERS}`)}))`
  const frozen = isFrozen(raw('caller.environment_id'))
  const allowed = sql`JOIN (SELECT 1) AS request ON NOT ${frozen} AND ${isUnused} AND ${count} < ${MAX_LISTED_CALLERS}`
  const row = { id, name, digest, access, created_at: now }
  return runBatch(
    database,
    caller,
    'write',
    {
      event: recordAuditEvent(database, change, 'write', 'api_key.created', keyData(id, name, access), allowed),
      created: insertInto('api_keys', row, scopeOf(caller, 'write'), empty, eventExists(change)),
      record: rememberRequest(change, request),
      verdict: selectChangeVerdict<ChangeRow & FormRow & { is_frozen: 0 | 1 }>(
        change,
        'api_key.created',
        sql`${isUnused} AS is_unused, ${frozen} AS is_frozen`,
        empty,
      ),
    },
    ({ verdict }) => {
      if (verdict.is_done) return { granted: null }
      if (verdict.is_frozen) return { refused: 'environment_frozen' }
      return { refused: verdict.is_unused ? 'api_key_limit_reached' : 'idempotency_key_reused' }
    },
  )
}

/** Revokes an API key of the caller's environment, which ends its sessions too. Idempotent. */
export function revokeCallerKey(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const { caller, now } = change
  const target = sql`JOIN api_keys AS target ON target.environment_id = caller.environment_id
    AND target.id = ${id} AND target.revoked_at IS NULL`
  return runBatch(
    database,
    caller,
    'write',
    {
      // The verdict is read before the change, because a caller that revokes its own key is unknown afterwards.
      found: select<{ revoked_at: UnixMs | null }>(caller, sql`revoked_at`, 'api_keys', sql`id = ${id}`),
      event: recordAuditEvent(database, change, 'write', 'api_key.revoked', apiKeySnapshot, target),
      revoked: updateUnstamped(
        caller,
        'write',
        'api_keys',
        sql`revoked_at = ${now}`,
        sql`id = ${id} AND revoked_at IS NULL AND ${eventExists(change)}`,
      ),
    },
    ({ found, revoked }) => {
      if (!found[0]) return { refused: 'entity_not_found' }
      return found[0].revoked_at === null && revoked.length === 0
        ? { refused: 'service_unavailable' }
        : { granted: null }
    },
  )
}
