import sql, { empty, raw } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { readRange } from '../credential/ip-ranges.ts'
import { runBatch } from './batch.ts'
import type { Access, Caller, Change, Outcome, Permission } from './caller.ts'
import { activeKey, dependentScope, eventExists, isFrozen, isLatest } from './caller-conditions.ts'
import type { Database, UnixMs } from './database.ts'
import { recordAuditEvent } from './event-statements.ts'
import { type FormRow, type KeyedRequest, keyUnused, rememberRequest } from './idempotency.ts'
import { flag, json, mapping } from './mapping.ts'
import { insertInto, type Statement, select, updateUnstamped } from './statements.ts'
import { type ChangeRow, selectChangeVerdict } from './verdicts.ts'

/** The limits of an API key. A null member is no limit. */
export interface KeyLimits {
  readonly permissions: readonly Permission[] | null
  /** IP addresses and CIDR ranges, in the format of `readRange`. */
  readonly allowedIps: readonly string[] | null
  readonly expiresAt: UnixMs | null
}

/** The column of each limit of an API key, and the function that parses its value. */
export const limitMembers = {
  permissions: ['permissions', json],
  allowedIps: ['allowed_ips', (text: string | null) => (text === null ? null : Object.keys(JSON.parse(text)))],
  expiresAt: ['key_expires_at', (time: UnixMs | null) => time],
} as const

/**
 * Returns the row of a new key, except its environment. Each IP range is stored with the bits of its prefix, which
 * `scopeOf` compares with the caller's IP address.
 */
export function keyRow({ id, name, digest, access, createdAt, ...limits }: NewCallerKey & { createdAt: UnixMs }) {
  const { permissions = null, allowedIps = null, expiresAt = null } = limits
  const ranges = allowedIps?.map((text) => {
    const range = readRange(text)
    if (typeof range === 'string') throw new Error(`an IP range is ${range}`)
    return [range.text, range.prefix]
  })
  return {
    id,
    name,
    digest,
    // Older versions of the Worker ignore permissions. Because of access `read`, they do not let a key with permissions
    // write.
    access: permissions ? 'read' : access,
    permissions: permissions && JSON.stringify(permissions),
    allowed_ips: ranges ? JSON.stringify(Object.fromEntries(ranges)) : null,
    key_expires_at: expiresAt,
    created_at: createdAt,
  }
}

/** An API key, as callers of its environment see it. */
export interface CallerKey extends KeyLimits {
  readonly id: string
  readonly name: string
  readonly access: Access
  readonly createdAt: UnixMs
  /** Accurate to the minute; null before the first use. */
  readonly lastUsedAt: UnixMs | null
  readonly leakReportedAt: UnixMs | null
  /** True if the caller uses this key, or a session of it. */
  readonly isOwn: boolean
}

export const callerKeyMapping = mapping<CallerKey>('api_keys', {
  id: 'id',
  name: 'name',
  access: 'access',
  createdAt: 'created_at',
  lastUsedAt: 'last_used_at',
  leakReportedAt: 'leak_reported_at',
  isOwn: ['is_own', flag],
  ...limitMembers,
})

/** Maximum number of API keys, or of sessions, in a list. */
export const MAX_LISTED_CALLERS = 100

/** Selects the API keys of the caller's environment that are not revoked, oldest first. Expired keys come last. */
export function selectCallerKeys(caller: Caller): Statement<object> {
  const own = sql`digest = ${caller.digest} OR id = (SELECT api_key_id FROM sessions WHERE digest = ${caller.digest})`
  const columns = sql`id, name, access, permissions, allowed_ips, key_expires_at, created_at, last_used_at, leak_reported_at, (${own}) AS is_own`
  return select<object>(
    caller,
    columns,
    'api_keys',
    sql`revoked_at IS NULL`,
    sql`ORDER BY NOT (${activeKey}), created_at, id LIMIT ${raw(`${MAX_LISTED_CALLERS}`)}`,
  )
}

/** SQL for the data of an API key's event. `row` is the table or alias of the key's row. */
const keyData = (row: string) =>
  raw(`json_object('object', 'api_key', 'id', ${row}.id, 'name', ${row}.name, 'access', ${row}.access,
  'permissions', json(${row}.permissions), 'allowed_ips', json(CASE
    WHEN ${row}.allowed_ips IS NOT NULL THEN (SELECT json_group_array(key) FROM json_each(${row}.allowed_ips)) END),
  'expires_at', ${row}.key_expires_at)`)
export const apiKeySnapshot = keyData('target')

export interface NewCallerKey extends Pick<CallerKey, 'id' | 'name' | 'access'>, Partial<KeyLimits> {
  readonly digest: Bytes
}

/**
 * Creates an API key in the caller's environment, if it has fewer than `MAX_LISTED_CALLERS` active keys. Submitting the
 * same form again creates no second key.
 */
export function createCallerKey(
  database: Database,
  change: Change,
  key: NewCallerKey,
  request: KeyedRequest,
): Promise<Outcome<null, 'forbidden' | 'idempotency_key_reused' | 'api_key_limit_reached' | 'environment_frozen'>> {
  const { caller, now } = change
  const isUnused = keyUnused(change, request)
  const count = sql`(SELECT count(*) FROM (SELECT 1 FROM api_keys WHERE environment_id = caller.environment_id
    AND ${activeKey} LIMIT ${raw(`${MAX_LISTED_CALLERS}`)}))`
  const frozen = isFrozen(raw('caller.environment_id'))
  // A key with limits may not create keys, because a new key could have fewer limits.
  const limited = sql`EXISTS (SELECT 1 FROM api_keys AS own WHERE own.id = caller.id
    AND (own.key_expires_at IS NOT NULL OR own.allowed_ips IS NOT NULL))`
  const row = keyRow({ ...key, createdAt: now })
  const source = sql`JOIN (SELECT ${row.id} AS id, ${row.name} AS name, ${row.access} AS access,
    ${row.permissions} AS permissions, ${row.allowed_ips} AS allowed_ips, ${row.key_expires_at} AS key_expires_at) AS request
    ON NOT ${frozen} AND NOT ${limited} AND ${isUnused} AND ${count} < ${MAX_LISTED_CALLERS}`
  return runBatch(
    database,
    caller,
    'write',
    {
      event: recordAuditEvent(database, change, 'write', 'api_key.created', keyData('request'), source),
      created: insertInto('api_keys', row, dependentScope(caller, 'write'), empty, eventExists(change)),
      record: rememberRequest(change, request),
      verdict: selectChangeVerdict<ChangeRow & FormRow & { is_frozen: 0 | 1; is_limited: 0 | 1 }>(
        change,
        'api_key.created',
        sql`${isUnused} AS is_unused, ${frozen} AS is_frozen, ${limited} AS is_limited`,
        empty,
      ),
    },
    ({ verdict }) => {
      if (verdict.is_done) return { granted: null }
      if (verdict.is_frozen) return { refused: 'environment_frozen' }
      if (verdict.is_limited) return { refused: 'forbidden' }
      return { refused: verdict.is_unused ? 'api_key_limit_reached' : 'idempotency_key_reused' }
    },
  )
}

/** Joins to the caller, as `target`, an API key of its environment that is not revoked. */
const joinKey = (id: string) => sql`JOIN api_keys AS target ON target.environment_id = caller.environment_id
  AND target.id = ${id} AND target.revoked_at IS NULL`

/** Renames an API key of the caller's environment. Earlier events keep the old name. Idempotent. */
export function renameCallerKey(
  database: Database,
  change: Change,
  id: string,
  name: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const { caller } = change
  const isKey = sql`id = ${id} AND revoked_at IS NULL`
  const data = sql`json_set(${apiKeySnapshot}, '$.name', ${name})`
  const target = sql`${joinKey(id)} AND target.name <> ${name}`
  return runBatch(
    database,
    caller,
    'write',
    {
      event: recordAuditEvent(database, change, 'write', 'api_key.updated', data, target),
      renamed: updateUnstamped(
        caller,
        'write',
        'api_keys',
        sql`name = ${name}`,
        sql`${isKey} AND ${isLatest(change.eventId, ['api_key.updated'])}`,
      ),
      found: select<{ name: string }>(caller, sql`name`, 'api_keys', isKey),
    },
    ({ found: [key] }) => {
      if (!key) return { refused: 'entity_not_found' }
      return key.name === name ? { granted: null } : { refused: 'service_unavailable' }
    },
  )
}

/** Revokes an API key of the caller's environment, which also ends the key's sessions. Idempotent. */
export function revokeCallerKey(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const { caller, now } = change
  return runBatch(
    database,
    caller,
    'write',
    {
      // `found` is read before the change. A caller that revokes its own key could not read it afterwards.
      found: select<{ revoked_at: UnixMs | null }>(caller, sql`revoked_at`, 'api_keys', sql`id = ${id}`),
      event: recordAuditEvent(database, change, 'write', 'api_key.revoked', apiKeySnapshot, joinKey(id)),
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
