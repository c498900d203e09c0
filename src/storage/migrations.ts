import sql from 'sql-template-tag'
import { type Database, StorageUnavailable, sendBatch } from './database.ts'

/** The newest file in migrations/, which the Worker cannot look for: a test compares. */
export const NEWEST_MIGRATION = '0001_management.sql'

/** Throws StorageUnavailable, unless storage answers and the migrations of this version have been applied. */
export async function requireCurrentSchema(database: Database): Promise<void> {
  // wrangler's own record, made by `wrangler d1 migrations apply`.
  const [applied] = await sendBatch(database, [sql`SELECT 1 FROM d1_migrations WHERE name = ${NEWEST_MIGRATION}`])
  if (applied?.length === 0) throw new StorageUnavailable(`${NEWEST_MIGRATION} has not been applied`, true)
}
