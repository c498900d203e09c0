import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { changeDeadline, type Database, type Row, sendBatch } from './database.ts'
import type { Access, Caller } from './statements.ts'

/** Made, listed and revoked by the operator, who owns the database. The plaintext stays where it was made. */
export interface ApiKey {
  readonly id: string
  readonly environmentId: string
  readonly name: string
  readonly access: Access
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms, to the minute; null until it is used. */
  readonly lastUsedAt: number | null
  /** Unix ms; null while it works. */
  readonly revokedAt: number | null
}

export interface NewApiKey extends Omit<ApiKey, 'lastUsedAt' | 'revokedAt'> {
  readonly digest: Bytes
}

export async function createApiKey(database: Database, key: NewApiKey): Promise<void> {
  const { id, environmentId, name, digest, access, createdAt } = key
  await sendBatch(database, [
    sql`INSERT INTO api_keys (id, environment_id, name, digest, access, created_at)
      VALUES (${id}, ${environmentId}, ${name}, ${digest}, ${access}, ${createdAt}) ON CONFLICT DO NOTHING`,
  ])
}

/** The keys of an environment, revoked ones too, oldest first. */
export async function listApiKeys(database: Database, environmentId: string): Promise<ApiKey[]> {
  const [rows] = await sendBatch(database, [selectApiKeys(sql`environment_id = ${environmentId}`)])
  return (rows ?? []).map(fromRow)
}

export async function findApiKey(database: Database, by: { id: string } | { digest: Bytes }): Promise<ApiKey | null> {
  const [rows] = await sendBatch(database, [
    selectApiKeys('id' in by ? sql`id = ${by.id}` : sql`digest = ${by.digest}`),
  ])
  return rows?.[0] ? fromRow(rows[0]) : null
}

/** Revokes a key, for good. Gives it as it is now; null where there is none. */
export async function revokeApiKey(database: Database, id: string, now: number): Promise<ApiKey | null> {
  const [, rows] = await sendBatch(database, [
    sql`UPDATE api_keys SET revoked_at = ${now} WHERE id = ${id} AND revoked_at IS NULL`,
    selectApiKeys(sql`id = ${id}`),
  ])
  return rows?.[0] ? fromRow(rows[0]) : null
}

/** How fine `last_used_at` is. */
const USE_GRANULARITY_MS = 60_000

/**
 * When this isolate last noted the use of a key (unix ms), by its digest. It decides nothing, for the statement guards
 * itself; it spares the statement. Nearly every read is then a batch that only reads, which the platform repeats by
 * itself, and a lasting failure is not tried again for the sake of bookkeeping.
 */
const noted = new Map<string, number>()
const MOST_NOTED = 1_000

/** After how long a rest a session is over. The view `callers` has the same number. */
export const SESSION_REST_MS = 30 * 60_000

/** Notes that a key or a session is used, at most once a minute, and never backwards; null where that was just done. */
export function noteKeyUse(database: Database, { digest, session }: Caller, now: number): Sql | null {
  if (now - (noted.get(String(digest)) ?? 0) < USE_GRANULARITY_MS) return null
  const isGood = session ? sql`ended_at IS NULL AND last_used_at > ${now - SESSION_REST_MS}` : sql`revoked_at IS NULL`
  return sql`UPDATE ${raw(session ? 'sessions' : 'api_keys')} SET last_used_at = ${now}
      WHERE digest = ${digest} AND ${isGood}
      AND (last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS})
      AND unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

/** To be called once a use was noted, of a key that there is: others would fill the memory. */
export function rememberKeyUse({ digest }: Caller, now: number): void {
  if (noted.size >= MOST_NOTED) noted.clear()
  noted.set(String(digest), now)
}

function selectApiKeys(where: Sql): Sql {
  return sql`SELECT id, environment_id, name, access, created_at, last_used_at, revoked_at FROM api_keys
    WHERE ${where} ORDER BY created_at, id`
}

function fromRow(row: Row): ApiKey {
  return {
    id: row.id as string,
    environmentId: row.environment_id as string,
    name: row.name as string,
    access: row.access as Access,
    createdAt: row.created_at as number,
    lastUsedAt: row.last_used_at as number | null,
    revokedAt: row.revoked_at as number | null,
  }
}
