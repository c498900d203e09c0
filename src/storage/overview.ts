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

/** The data of the dashboard's overview. */
export interface Overview {
  readonly applications: number
  readonly secrets: SecretCounts
  /** The time of the latest use of the counted secrets; null if none of them was used. */
  readonly lastUsedAt: UnixMs | null
  /** The number of expiring secrets. */
  readonly expiringCount: number
  /** The secrets that expire next. */
  readonly expiring: readonly ListedSecret[]
  /** Secrets that were reported as leaked, latest report first. An ended secret is left out a week after its report. */
  readonly leaked: readonly ListedSecret[]
  readonly areMoreLeaked: boolean
  readonly endpoints: readonly WebhookEndpoint[]
  readonly keys: readonly CallerKey[]
  /** The latest events, without sign-ins and sign-outs. */
  readonly activities: readonly Activity[]
}

/**
 * Maximum number of secrets that are read to find expiring ones. It is higher than for the counts, because a program
 * stops working when its secret expires.
 */
const MAX_READ_EXPIRING = 10_000
/** Maximum number of events that are read to find the latest ones other than sign-ins and sign-outs. */
const MAX_READ_EVENTS = 200
/** How long the overview shows a leak report of an ended secret. */
const LEAK_SHOWN_MS = 7 * 24 * 60 * 60_000

/** Returns the overview. `limit` is the maximum number of secrets, and of events, in each list. */
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
        sql`leak_reported_at IS NOT NULL ORDER BY leak_reported_at DESC ${limitTo(MAX_READ)}`,
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
