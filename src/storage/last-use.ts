import sql, { raw } from 'sql-template-tag'
import type { Caller } from './caller.ts'
import { changeDeadline, type Database, type Query, query, type UnixMs } from './database.ts'

/** `last_used_at` of a credential in use is written at most once in this time. */
export const USE_GRANULARITY_MS = 60_000

/** A session without use ends after this. The view `callers` has the same number. */
export const SESSION_REST_MS = 30 * 60_000

/**
 * When this isolate last recorded the use of a caller, by its digest. It only spares the statement, which guards itself:
 * most batches that read then contain nothing but SELECTs, which D1 retries by itself.
 */
const recorded = new Map<string, UnixMs>()
const MAX_RECORDED = 1_000

/** Records the use of an API key or session, at most once a minute and never backwards; null if that was just done. */
export function touchCaller(database: Database, { kind, digest }: Caller, now: UnixMs): Query | null {
  if (now - (recorded.get(String(digest)) ?? 0) < USE_GRANULARITY_MS) return null
  const active =
    kind === 'session' ? sql`ended_at IS NULL AND last_used_at > ${now - SESSION_REST_MS}` : sql`revoked_at IS NULL`
  return query(sql`UPDATE ${raw(kind === 'session' ? 'sessions' : 'api_keys')} SET last_used_at = ${now}
    WHERE digest = ${digest} AND ${active} AND (last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS})
    AND unixepoch('subsec') * 1000 < ${changeDeadline(database)}`)
}

/** For callers that exist only: unknown digests must not fill the memory. */
export function rememberUse({ digest }: Caller, now: UnixMs): void {
  if (recorded.size >= MAX_RECORDED) recorded.clear()
  recorded.set(String(digest), now)
}
