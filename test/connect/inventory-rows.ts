import { env } from 'cloudflare:workers'
import { newId } from '../../src/credential/id.ts'

/** Stores many secrets at once, with the columns that lists look at. */

export const DAY_MS = 86_400_000

export interface SecretRow {
  readonly createdAt: number
  readonly hint?: string
  readonly name?: string | null
  readonly lastUsedAt?: number | null
  readonly expiresAt?: number | null
  readonly retiresAt?: number | null
  readonly notedAt?: number | null
  readonly disabledAt?: number | null
  readonly revokedAt?: number | null
  readonly createdBy?: string | null
}

/** Returns their IDs, which have the times of their creation. */
export async function storeSecrets(environmentId: string, applicationId: string, rows: SecretRow[]): Promise<string[]> {
  const stored = rows.map((row) => ({ hint: '0000aa', ...row, id: newId('secret', row.createdAt) }))
  const value = (name: string) => `value ->> '${name}'`
  await env.DB.prepare(
    `INSERT INTO client_secrets (environment_id, id, application_id, digest, secret_hint, name, created_by, last_used_at,
       expires_at, retires_at, expiry_noted_at, disabled_at, revoked_at, created_at, updated_at, event_id)
     SELECT ?, ${value('id')}, ?, randomblob(32), ${['hint', 'name', 'createdBy', 'lastUsedAt', 'expiresAt', 'retiresAt', 'notedAt', 'disabledAt', 'revokedAt', 'createdAt', 'createdAt'].map(value).join(', ')}, 'event_x'
     FROM json_each(?)`,
  )
    .bind(environmentId, applicationId, JSON.stringify(stored))
    .run()
  return stored.map(({ id }) => id)
}

/** Stores so many secrets in one statement. Their IDs end in their numbers, from 1. */
export async function storeManySecrets(environmentId: string, count: number): Promise<void> {
  await env.DB.prepare(
    `INSERT INTO client_secrets (environment_id, id, application_id, digest, secret_hint, created_at, updated_at, event_id)
    SELECT ?1, 'secret_' || printf('%026d', value), 'x', randomblob(32), 'abcdef', 1, 1, 'x'
    FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?2) SELECT value FROM n)`,
  )
    .bind(environmentId, count)
    .run()
}
