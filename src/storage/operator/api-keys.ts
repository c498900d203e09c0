import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../../credential/digest.ts'
import { apiKeySnapshot, type KeyLimits, keyRow, limitMembers, type NewCallerKey } from '../api-keys.ts'
import type { Access } from '../caller.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'
import type { EventType } from '../events.ts'
import { mapping } from '../mapping.ts'
import { recordOperatorEvent } from './events.ts'

/** An API key, as the operator sees it. The plaintext is not stored. */
export interface ApiKey extends KeyLimits {
  readonly id: string
  readonly environmentId: string
  readonly name: string
  readonly access: Access
  readonly createdAt: UnixMs
  /** Accurate to the minute; null before the first use. */
  readonly lastUsedAt: UnixMs | null
  readonly revokedAt: UnixMs | null
}

export interface NewApiKey extends NewCallerKey, Pick<ApiKey, 'environmentId' | 'createdAt'> {}

const { columns, fromRow } = mapping<ApiKey>('api_keys', {
  id: 'id',
  environmentId: 'environment_id',
  name: 'name',
  access: 'access',
  createdAt: 'created_at',
  lastUsedAt: 'last_used_at',
  revokedAt: 'revoked_at',
  ...limitMembers,
})

export async function createApiKey(database: Database, key: NewApiKey): Promise<void> {
  const row = { environment_id: key.environmentId, ...keyRow(key) }
  await sendBatch(database, {
    created: query(sql`INSERT INTO api_keys (${raw(Object.keys(row).join(', '))})
      VALUES (${join(Object.values(row))}) ON CONFLICT DO NOTHING`),
    event: recordKeyEvent('api_key.created', key.id, key.createdAt),
  })
}

/** Returns the API keys of an environment, oldest first. Revoked keys are included. */
export async function listApiKeys(database: Database, environmentId: string): Promise<ApiKey[]> {
  const { keys } = await sendBatch(database, { keys: selectApiKeys(sql`environment_id = ${environmentId}`) })
  return keys.map(fromRow)
}

export async function findApiKey(database: Database, by: { id: string } | { digest: Bytes }): Promise<ApiKey | null> {
  const where = 'id' in by ? sql`id = ${by.id}` : sql`digest = ${by.digest}`
  const { keys } = await sendBatch(database, { keys: selectApiKeys(where) })
  return keys[0] ? fromRow(keys[0]) : null
}

/** Revokes an API key, which can't be undone. Returns the key after the change; null if it does not exist. */
export async function revokeApiKey(database: Database, id: string, now: UnixMs): Promise<ApiKey | null> {
  const { keys } = await sendBatch(database, {
    event: recordKeyEvent('api_key.revoked', id, now),
    revoked: query(sql`UPDATE api_keys SET revoked_at = ${now} WHERE id = ${id} AND revoked_at IS NULL`),
    keys: selectApiKeys(sql`id = ${id}`),
  })
  return keys[0] ? fromRow(keys[0]) : null
}

/** Renames an API key, unless it is revoked. Returns the key as it is then stored; null if it does not exist. */
export async function renameApiKey(database: Database, id: string, name: string, now: UnixMs): Promise<ApiKey | null> {
  const isOther = sql`id = ${id} AND revoked_at IS NULL AND name <> ${name}`
  const target = sql`api_keys AS target WHERE ${isOther}`
  const data = sql`json_set(${apiKeySnapshot}, '$.name', ${name})`
  const { keys } = await sendBatch(database, {
    event: recordOperatorEvent('api_key.updated', id, now, data, target),
    renamed: query(sql`UPDATE api_keys SET name = ${name} WHERE ${isOther}`),
    keys: selectApiKeys(sql`id = ${id}`),
  })
  return keys[0] ? fromRow(keys[0]) : null
}

/**
 * Records an event of an API key that is not revoked. So in a batch, this statement comes before a revocation, and
 * after a creation.
 */
function recordKeyEvent(type: EventType, id: string, now: UnixMs): Query {
  const target = sql`api_keys AS target WHERE target.id = ${id} AND target.revoked_at IS NULL`
  return recordOperatorEvent(type, id, now, apiKeySnapshot, target)
}

function selectApiKeys(where: Sql): Query<object> {
  return query(sql`SELECT ${columns} FROM api_keys WHERE ${where} ORDER BY created_at, id`)
}
