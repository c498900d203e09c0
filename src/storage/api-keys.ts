import sql from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type Database, sendBatch } from './database.ts'
import type { Access } from './statements.ts'

/** An API key at its birth, for the operator to make. Its plaintext stays where it was made. */
export interface NewApiKey {
  readonly id: string
  readonly environmentId: string
  readonly name: string
  readonly digest: Bytes
  readonly access: Access
  /** Unix ms. */
  readonly createdAt: number
}

export async function createApiKey(database: Database, key: NewApiKey): Promise<void> {
  const { id, environmentId, name, digest, access, createdAt } = key
  await sendBatch(database, [
    sql`INSERT INTO api_keys (id, environment_id, name, digest, access, created_at)
      VALUES (${id}, ${environmentId}, ${name}, ${digest}, ${access}, ${createdAt}) ON CONFLICT DO NOTHING`,
  ])
}
