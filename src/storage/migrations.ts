import sql from 'sql-template-tag'
import { type Database, query, StorageUnavailable, sendBatch } from './database.ts'

/** The newest file in migrations/, which the Worker cannot list: a test compares them. */
export const NEWEST_MIGRATION = '0001_management.sql'

/** Throws StorageUnavailable unless the database responds and has the schema of this version. */
export async function requireCurrentSchema(database: Database): Promise<void> {
  const { applied } = await sendBatch(database, {
    // wrangler's own record, made by `wrangler d1 migrations apply`.
    applied: query(sql`SELECT 1 FROM d1_migrations WHERE name = ${NEWEST_MIGRATION}`),
  })
  if (applied.length === 0) throw new StorageUnavailable(`${NEWEST_MIGRATION} has not been applied`, true)
}
