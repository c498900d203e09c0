import sql from 'sql-template-tag'
import { type Database, query, StorageUnavailable, sendBatch } from './database.ts'

/**
 * The version of the newest file in migrations/. The Worker cannot list the files, so a test compares this number with
 * them.
 */
export const SCHEMA_VERSION = 5

/** Throws StorageUnavailable if the database does not respond or does not have this schema version. */
export async function requireCurrentSchema(database: Database): Promise<void> {
  const { schema } = await sendBatch(database, {
    schema: query<{ version: number }>(sql`SELECT version FROM schema_version`),
  })
  const version = schema[0]?.version ?? 0
  if (version === SCHEMA_VERSION) return
  throw new StorageUnavailable(
    `The schema has version ${version} instead of ${SCHEMA_VERSION}.`,
    version < SCHEMA_VERSION ? 'not_migrated' : 'newer_schema',
  )
}
