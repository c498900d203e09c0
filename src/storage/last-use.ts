import { afterResponse, type Database, measuredApart, type Query, sendBatch, type UnixMs } from './database.ts'

/** The `last_used_at` of a credential is written at most once in this time. */
export const USE_GRANULARITY_MS = 60_000

/**
 * For the ID of each credential, the time of this isolate's latest write. It prevents concurrent requests from writing
 * the same row.
 */
const touchedAt = new Map<string, UnixMs>()
const MAX_TOUCHED = 1_000

/**
 * For each request, the statements to send after the response, by the ID of the credential. They are sent as one batch.
 */
const pending = new WeakMap<Database, Map<string, readonly Query[]>>()

/**
 * Sends statements that set the `last_used_at` of a credential, after the response and at most once a minute. The limit
 * applies to this isolate only, so the statements themselves must check for writes of other isolates. After a failure,
 * the next use sends them again.
 */
export function touchAfterResponse(
  database: Database,
  id: string,
  lastUsedAt: UnixMs | null,
  now: UnixMs,
  statements: () => Query | readonly Query[],
): void {
  const latest = Math.max(lastUsedAt ?? 0, touchedAt.get(id) ?? 0)
  if (now - latest < USE_GRANULARITY_MS) return
  if (touchedAt.size >= MAX_TOUCHED) touchedAt.clear()
  touchedAt.set(id, now)
  const touches = pending.get(database)
  if (touches) {
    touches.set(id, [statements()].flat())
    return
  }
  const first = new Map([[id, [statements()].flat()]])
  pending.set(database, first)
  afterResponse(database, async () => {
    pending.delete(database)
    const queries = Object.fromEntries(Object.entries([...first.values()].flat()))
    await sendBatch(measuredApart(database), queries).catch((error) => {
      for (const touched of first.keys()) touchedAt.delete(touched)
      console.error({ message: 'last use not recorded', error: String(error) })
    })
  })
}
