import sql, { empty, raw } from 'sql-template-tag'
import { type Activity, type ActivityRow, activityColumns, activityFromRow } from './activity.ts'
import { type CallerKey, callerKeyMapping, selectCallerKeys } from './api-keys.ts'
import { selectApplicationCount } from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { MAX_READ } from './inventory.ts'
import {
  conditionsOf,
  countColumns,
  type ListedRow,
  type ListedSecret,
  listedColumns,
  listedFromRow,
  NO_FILTER,
  type SecretCounts,
} from './listed-secrets.ts'
import { allOf, limitTo, select, selectFromFirst } from './statements.ts'
import { endpointColumns, endpointFromRow, MAX_LISTED_ENDPOINTS, type WebhookEndpoint } from './webhooks.ts'

/** An environment at a glance. */
export interface Overview {
  readonly applications: number
  readonly secrets: SecretCounts
  /** The time of the latest use of any of the secrets; null if none was used. */
  readonly lastUsedAt: UnixMs | null
  /** The number of secrets that are expiring. */
  readonly expiringCount: number
  /** The secrets that are the next to expire. */
  readonly expiring: readonly ListedSecret[]
  /** Secrets that are reported as leaked, latest first. An ended one is left out a week after its report. */
  readonly leaked: readonly ListedSecret[]
  readonly areMoreLeaked: boolean
  readonly endpoints: readonly WebhookEndpoint[]
  readonly keys: readonly CallerKey[]
  /** The latest events, without sign-ins. */
  readonly activities: readonly Activity[]
}

/** Secrets that expire are looked for among this many: programs stop working, so more of them than are counted. */
const MAX_READ_EXPIRING = 10_000
/** Sign-ins are left out of the latest events, which are looked for among this many. */
const MAX_READ_EVENTS = 200
/** The overview shows the report of an ended secret for this long. */
const LEAK_SHOWN_MS = 7 * 24 * 60 * 60_000

/** `limit` is the maximum number of secrets and of events in the result. */
export function findOverview(
  database: Database,
  caller: Caller,
  now: UnixMs,
  limit: number,
): Promise<Outcome<Overview>> {
  const newest = (limit: number) => sql`true ORDER BY id DESC LIMIT ${raw(`${limit}`)}`
  const expiring = conditionsOf({ ...NO_FILTER, states: ['expiring'] }, now)
  const undeleted = sql`deleted_at IS NULL`
  const isLeakCurrent = sql`first.ended_at = 0 OR first.leak_reported_at > ${now - LEAK_SHOWN_MS}`
  return runBatch(
    database,
    caller,
    'secrets:read',
    {
      verdict: selectApplicationCount(caller),
      secrets: selectFromFirst<SecretCounts & { last_used_at: UnixMs | null }>(
        caller,
        sql`${countColumns(NO_FILTER, now)}, max(first.last_used_at) AS last_used_at`,
        'client_secrets',
        newest(MAX_READ + 1),
        empty,
      ),
      expiring: selectFromFirst<ListedRow & { total: number }>(
        caller,
        sql`${listedColumns(now)}, count(*) OVER () AS total`,
        'client_secrets',
        newest(MAX_READ_EXPIRING),
        sql`WHERE ${allOf(expiring)} ORDER BY expires_at, id ${limitTo(limit)}`,
      ),
      leaked: selectFromFirst<ListedRow>(
        caller,
        listedColumns(now),
        'client_secrets INDEXED BY client_secrets_leaked',
        sql`leak_reported_at > 0 ORDER BY leak_reported_at DESC ${limitTo(MAX_READ)}`,
        sql`WHERE ${isLeakCurrent} ORDER BY leak_reported_at DESC, id ${limitTo(limit + 1)}`,
      ),
      endpoints: select<object>(
        caller,
        endpointColumns,
        'webhook_endpoints',
        undeleted,
        sql`ORDER BY created_at, id ${limitTo(MAX_LISTED_ENDPOINTS)}`,
      ),
      keys: selectCallerKeys(caller),
      events: selectFromFirst<ActivityRow>(
        caller,
        activityColumns,
        'events INDEXED BY events_by_environment',
        sql`true ORDER BY seq DESC ${limitTo(MAX_READ_EVENTS)}`,
        sql`WHERE type NOT IN ('session.created', 'session.revoked') ORDER BY seq DESC ${limitTo(limit)}`,
      ),
    },
    ({ verdict, secrets: [counts], expiring, leaked, endpoints, keys, events }) => ({
      granted: {
        applications: verdict.application_count,
        secrets: counts as SecretCounts,
        lastUsedAt: counts?.last_used_at ?? null,
        expiringCount: expiring[0]?.total ?? 0,
        expiring: expiring.map(listedFromRow),
        leaked: leaked.slice(0, limit).map(listedFromRow),
        areMoreLeaked: leaked.length > limit,
        endpoints: endpoints.map(endpointFromRow),
        keys: keys.map(callerKeyMapping.fromRow),
        activities: events.map(activityFromRow),
      },
    }),
  )
}
