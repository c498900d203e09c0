import { afterResponse, type Database, measuredApart, type Query, sendBatch, type UnixMs } from './database.ts'

/** `last_used_at` of a credential in use is written at most once in this time. */
export const USE_GRANULARITY_MS = 60_000

/**
 * When this isolate last touched a credential, by its ID. It keeps concurrent requests from all writing the same row.
 */
const touchedAt = new Map<string, UnixMs>()
const MAX_TOUCHED = 1_000

/** The touches of one request, which go into one batch. */
const pending = new WeakMap<Database, Map<string, readonly Query[]>>()

/**
 * Sends statements, which set `last_used_at` of a credential, after the response: at most once a minute per credential
 * and isolate. The statements must guard against other isolates. After a failure, the next use sets the time.
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
