import sql, { raw, type Sql } from 'sql-template-tag'
import { API_KEY_PREFIX, SIGNING_SECRET_PREFIX } from '../credential/credential.ts'
import { sha256, toHex } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { apiKeySnapshot } from './api-keys.ts'
import { activeKey, inTime } from './caller-conditions.ts'
import { clientSecretMapping, liveAt } from './client-secrets.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from './database.ts'
import { nextSeq, organizationOfSecret } from './event-statements.ts'
import type { EventType } from './events.ts'
import { withEvent } from './history.ts'
import { wantedByWebhook } from './verdicts.ts'
import { endpointSnapshot } from './webhook-endpoints.ts'
import { gone } from './webhooks.ts'

/** A report of a leaked credential. The reporter needs no other authorization: having the credential is enough. */
export interface LeakReport {
  readonly credential: string
  readonly prefix: string
  /** The URL where the credential was found; null if it is unknown. */
  readonly source: string | null
}

/**
 * The event ID and the source of each report. The key is the digest (hex) of a client secret or API key, or a webhook
 * signing secret in plaintext.
 */
type Items = Readonly<Record<string, { readonly event_id: string; readonly source: string | null }>>

/** The event of a report that was handled. */
export interface HandledLeak {
  /** The ID of the secret, API key or webhook endpoint. */
  readonly id: string
  readonly event_id: string
  readonly environment_id: string
  /** True if a webhook endpoint is subscribed to the event. */
  readonly has_delivery: 0 | 1
}

/**
 * Handles reported credentials in one batch, as their environments have configured. The first report of a credential
 * records an event. A later report records one only if its reaction disables or ends the credential. Unknown and ended
 * credentials are not changed.
 */
export async function handleLeaks(
  database: Database,
  reports: readonly LeakReport[],
  now: UnixMs,
): Promise<HandledLeak[]> {
  const items: Record<'secrets' | 'keys' | 'endpoints', Record<string, Items[string]>> = {
    secrets: {},
    keys: {},
    endpoints: {},
  }
  for (const { credential, prefix, source } of reports) {
    const item = { event_id: newId('event', now, database.region), source }
    if (prefix === SIGNING_SECRET_PREFIX) items.endpoints[credential] = item
    else items[prefix === API_KEY_PREFIX ? 'keys' : 'secrets'][toHex(await sha256(credential))] = item
  }
  const has = (kind: keyof typeof items) => Object.keys(items[kind]).length > 0
  const eventIds = Object.values(items).flatMap((each) => Object.values(each).map(({ event_id }) => event_id))
  const { handled } = await sendBatch(database, {
    ...(has('secrets') && handleSecrets(database, JSON.stringify(items.secrets), now)),
    ...(has('keys') && handleKeys(database, JSON.stringify(items.keys), now)),
    ...(has('endpoints') && handleEndpoints(database, JSON.stringify(items.endpoints), now)),
    handled: query<HandledLeak>(sql`SELECT data ->> 'id' AS id, events.id AS event_id, environment_id,
        ${wantedByWebhook(sql`events.type`, sql`events.environment_id`)} AS has_delivery
      FROM events WHERE events.id IN (SELECT value FROM json_each(${JSON.stringify(eventIds)}))`),
  })
  return handled
}

/** SQL for the reaction that the row's environment has configured. */
const reactionOf = (table: string) =>
  sql`(SELECT leak_reaction FROM environments WHERE environments.id = ${raw(table)}.environment_id)`
/** SQL for a member of the report about a row. `key` is the row's key in `Items`. */
const reported = (items: string, key: Sql, member: 'event_id' | 'source') =>
  sql`(${items} -> ${key} ->> ${raw(`'${member}'`)})`

/** SQL that marks a row as reported, with the time and the source of the first report. */
const marked = (now: UnixMs, source: Sql) =>
  sql`leak_reported_at = coalesce(leak_reported_at, ${now}), leak_source = coalesce(leak_source, ${source})`
/** Condition: the report was handled, because its event exists. */
const isRecorded = (eventId: Sql) => sql`EXISTS (SELECT 1 FROM events WHERE events.id = ${eventId})`

function handleSecrets(database: Database, items: string, now: UnixMs): Record<string, Query> {
  const key = sql`lower(hex(client_secrets.digest))`
  const eventId = reported(items, key, 'event_id')
  const found = sql`client_secrets.digest IN (SELECT unhex(key) FROM json_each(${items}))`
  const reaction = reactionOf('client_secrets')
  const source = reported(items, key, 'source')
  const data = sql`json_set(${clientSecretMapping.snapshot}, '$.source', ${source}, '$.reaction', ${reaction})`
  const isDue = sql`(leak_reported_at IS NULL OR ${reaction} = 'revoke' OR ${reaction} = 'disable' AND disabled_at IS NULL)`
  return {
    client_secrets: query(sql`UPDATE client_secrets SET ${marked(now, source)},
        disabled_at = iif(${reaction} = 'disable', coalesce(disabled_at, ${now}), disabled_at),
        revoked_at = iif(${reaction} = 'revoke', ${now}, NULL),
        history = ${withEvent(eventId)}, updated_at = ${now}, event_id = ${eventId}
      WHERE ${found} AND ${isDue} AND ${liveAt(now)} AND NOT ${isRecorded(eventId)} AND ${inTime(database)}`),
    client_secrets_events: recordLeaks('connect_application_secret.leaked', now, {
      id: sql`client_secrets.event_id`,
      organization: organizationOfSecret,
      data,
      from: sql`client_secrets WHERE ${found} AND client_secrets.event_id = ${eventId}`,
      table: 'client_secrets',
    }),
  }
}

/** Handles reports of API keys. A key cannot be disabled, so the reaction `disable` revokes it. */
function handleKeys(database: Database, items: string, now: UnixMs): Record<string, Query> {
  const key = sql`lower(hex(target.digest))`
  const reaction = sql`iif(${reactionOf('target')} = 'notify', 'notify', 'revoke')`
  const found = sql`target.digest IN (SELECT unhex(key) FROM json_each(${items}))
    AND (leak_reported_at IS NULL OR ${reaction} = 'revoke') AND ${activeKey}`
  return endUnstamped(database, items, now, {
    ...{ table: 'api_keys', type: 'api_key.leaked', key, found, reaction, snapshot: apiKeySnapshot },
    ended: sql`revoked_at = iif(${reaction} = 'revoke', ${now}, NULL)`,
  })
}

/**
 * Handles reports of webhook signing secrets. Only the receiver checks signatures, so Oncekey cannot stop forged
 * webhooks. Pausing the endpoint would stop only genuine ones. The reaction `revoke` deletes the endpoint; `disable`
 * only records an event.
 */
function handleEndpoints(database: Database, items: string, now: UnixMs): Record<string, Query> {
  const key = sql`target.secret`
  const reaction = sql`iif(${reactionOf('target')} = 'revoke', 'revoke', 'notify')`
  const isDeleted = sql`${reaction} = 'revoke'`
  const found = sql`target.secret IN (SELECT key FROM json_each(${items}))
    AND (leak_reported_at IS NULL OR ${isDeleted}) AND deleted_at IS NULL`
  return {
    // The deliveries are ended first, because `found` no longer matches an endpoint whose secret has been removed.
    webhook_deliveries:
      query(sql`UPDATE webhook_deliveries SET ${gone(now)} WHERE state = 'pending' AND endpoint_id IN (
      SELECT id FROM webhook_endpoints AS target WHERE ${found} AND ${isDeleted} AND ${inTime(database)})`),
    ...endUnstamped(database, items, now, {
      ...{ table: 'webhook_endpoints', type: 'webhook_endpoint.leaked', key, found, reaction },
      snapshot: endpointSnapshot,
      ended: sql`deleted_at = iif(${isDeleted}, ${now}, NULL), secret = iif(${isDeleted}, '', secret)`,
    }),
  }
}

interface Ended {
  readonly table: 'api_keys' | 'webhook_endpoints'
  readonly type: EventType
  /** SQL for the row's key in `Items`. */
  readonly key: Sql
  /** Condition: the object has not ended, and the report is its first one or causes a reaction. */
  readonly found: Sql
  /** SQL for the reaction. Not every table supports every reaction. */
  readonly reaction: Sql
  readonly snapshot: Sql
  readonly ended: Sql
}

/**
 * Handles reports of objects whose rows do not store the ID of their latest event. So the event is inserted first, and
 * the update depends on it.
 */
function endUnstamped(
  database: Database,
  items: string,
  now: UnixMs,
  { table, type, key, found, reaction, snapshot, ended }: Ended,
): Record<string, Query> {
  const eventId = reported(items, key, 'event_id')
  const source = reported(items, key, 'source')
  return {
    [`${table}_events`]: recordLeaks(type, now, {
      id: eventId,
      organization: sql`NULL`,
      data: sql`json_set(${snapshot}, '$.source', ${source}, '$.reaction', ${reaction})`,
      from: sql`${raw(table)} AS target WHERE ${found} AND ${inTime(database)}`,
      table: 'target',
    }),
    [table]: query(sql`UPDATE ${raw(table)} AS target SET ${marked(now, source)}, ${ended}
      WHERE ${found} AND ${isRecorded(eventId)}`),
  }
}

interface Recorded {
  readonly id: Sql
  readonly organization: Sql
  readonly data: Sql
  readonly from: Sql
  readonly table: string
}

/**
 * Records the events of leak reports. Nothing about the reporter is stored, only the time and the source of the report.
 */
function recordLeaks(type: EventType, now: UnixMs, { id, organization, data, from, table }: Recorded): Query<never> {
  const row = raw(table)
  return query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, created_at)
    SELECT ${nextSeq(now)} - 1 + row_number() OVER (ORDER BY ${row}.id), ${id}, ${row}.environment_id, ${organization},
      ${type}, ${data}, 'system', ${now} FROM ${from} ON CONFLICT DO NOTHING`)
}
