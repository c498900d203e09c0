import sql, { raw, type Sql } from 'sql-template-tag'
import { API_KEY_PREFIX, SIGNING_SECRET_PREFIX } from '../credential/credential.ts'
import { sha256, toHex } from '../credential/digest.ts'
import { newId } from '../credential/id.ts'
import { apiKeySnapshot } from './api-keys.ts'
import { inTime } from './caller-conditions.ts'
import { clientSecretMapping, liveAt } from './client-secrets.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from './database.ts'
import { nextSeq, organizationOfSecret } from './event-statements.ts'
import type { EventType } from './events.ts'
import { withEvent } from './history.ts'
import { endpointSnapshot } from './webhook-endpoints.ts'
import { gone } from './webhooks.ts'

/** A credential that was found where it does not belong. Its possession is the proof. */
export interface LeakReport {
  readonly credential: string
  readonly prefix: string
  /** The place where it was found: a URL; null if it is not known. */
  readonly source: string | null
}

/**
 * The event ID and the source of each report of one kind: by the digest (hex) of a client secret or API key, or by the
 * signing secret itself.
 */
type Items = Readonly<Record<string, { readonly event_id: string; readonly source: string | null }>>

/**
 * Handles reported credentials as their environments have chosen, in one batch: once each, with one event. A credential
 * that is unknown or has ended changes nothing. Returns the IDs of what was handled.
 */
export async function handleLeaks(database: Database, reports: readonly LeakReport[], now: UnixMs): Promise<string[]> {
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
  const results = await sendBatch<Record<string, Query<{ id: string }>>>(database, {
    ...(has('secrets') && handleSecrets(database, JSON.stringify(items.secrets), now)),
    ...(has('keys') && handleKeys(database, JSON.stringify(items.keys), now)),
    ...(has('endpoints') && handleEndpoints(database, JSON.stringify(items.endpoints), now)),
  })
  return Object.values(results).flatMap((rows) => rows.map(({ id }) => id))
}

/** SQL for the reaction that the environment of a row has chosen. */
const reactionOf = (table: string) =>
  sql`(SELECT leak_reaction FROM environments WHERE environments.id = ${raw(table)}.environment_id)`
/** SQL for a member of the report about a row, by its digest or by its signing secret. */
const reported = (items: string, key: Sql, member: 'event_id' | 'source') =>
  sql`(${items} -> ${key} ->> ${raw(`'${member}'`)})`

function handleSecrets(database: Database, items: string, now: UnixMs): Record<string, Query<{ id: string }>> {
  const key = sql`lower(hex(client_secrets.digest))`
  const eventId = reported(items, key, 'event_id')
  const found = sql`client_secrets.digest IN (SELECT unhex(key) FROM json_each(${items}))`
  const reaction = reactionOf('client_secrets')
  const data = sql`json_set(${clientSecretMapping.snapshot}, '$.source', leak_source, '$.reaction', ${reaction})`
  return {
    secrets:
      query(sql`UPDATE client_secrets SET leak_reported_at = ${now}, leak_source = ${reported(items, key, 'source')},
        disabled_at = iif(${reaction} = 'disable', coalesce(disabled_at, ${now}), disabled_at),
        revoked_at = iif(${reaction} = 'revoke', ${now}, NULL),
        history = ${withEvent(eventId)}, updated_at = ${now}, event_id = ${eventId}
      WHERE ${found} AND leak_reported_at IS NULL AND ${liveAt(now)} AND ${inTime(database)} RETURNING id`),
    secret_events: recordLeaks('connect_application_secret.leaked', now, {
      id: sql`client_secrets.event_id`,
      organization: organizationOfSecret,
      data,
      from: sql`client_secrets WHERE ${found} AND client_secrets.event_id = ${eventId}`,
      table: 'client_secrets',
    }),
  }
}

/** API keys have no disabled state, so that `disable` revokes them, too. */
function handleKeys(database: Database, items: string, now: UnixMs): Record<string, Query<{ id: string }>> {
  const key = sql`lower(hex(target.digest))`
  const found = sql`target.digest IN (SELECT unhex(key) FROM json_each(${items})) AND leak_reported_at IS NULL AND revoked_at IS NULL`
  const reaction = sql`iif(${reactionOf('target')} = 'notify', 'notify', 'revoke')`
  return endUnstamped(database, items, now, {
    ...{ name: 'keys', table: 'api_keys', type: 'api_key.leaked', key, found, reaction, snapshot: apiKeySnapshot },
    ended: sql`revoked_at = iif(${reaction} = 'revoke', ${now}, NULL)`,
  })
}

/** A signing secret can't be disabled: its receiver has it. `revoke` deletes its endpoint. */
function handleEndpoints(database: Database, items: string, now: UnixMs): Record<string, Query<{ id: string }>> {
  const key = sql`target.secret`
  const found = sql`target.secret IN (SELECT key FROM json_each(${items})) AND leak_reported_at IS NULL AND deleted_at IS NULL`
  const reaction = sql`iif(${reactionOf('target')} = 'revoke', 'revoke', 'notify')`
  const isDeleted = sql`${reaction} = 'revoke'`
  return {
    // The deliveries end first, because the endpoint loses its secret.
    deliveries: query(sql`UPDATE webhook_deliveries SET ${gone(now)} WHERE state = 'pending' AND endpoint_id IN (
      SELECT id FROM webhook_endpoints AS target WHERE ${found} AND ${isDeleted} AND ${inTime(database)})`),
    ...endUnstamped(database, items, now, {
      ...{ name: 'endpoints', table: 'webhook_endpoints', type: 'webhook_endpoint.leaked', key, found, reaction },
      snapshot: endpointSnapshot,
      ended: sql`deleted_at = iif(${isDeleted}, ${now}, NULL), secret = iif(${isDeleted}, '', secret)`,
    }),
  }
}

interface Ended {
  readonly name: string
  readonly table: 'api_keys' | 'webhook_endpoints'
  readonly type: EventType
  /** SQL for the key of the row's report in `Items`. */
  readonly key: Sql
  /** Condition: the row is reported for the first time, and has not ended. */
  readonly found: Sql
  /** The reaction that is possible for rows of this kind. */
  readonly reaction: Sql
  readonly snapshot: Sql
  readonly ended: Sql
}

/** Rows that do not name the event of their last change: the event comes first, and decides. */
function endUnstamped(
  database: Database,
  items: string,
  now: UnixMs,
  { name, table, type, key, found, reaction, snapshot, ended }: Ended,
): Record<string, Query<{ id: string }>> {
  const eventId = reported(items, key, 'event_id')
  const source = reported(items, key, 'source')
  return {
    [`${name}_events`]: recordLeaks(type, now, {
      id: eventId,
      organization: sql`NULL`,
      data: sql`json_set(${snapshot}, '$.source', ${source}, '$.reaction', ${reaction})`,
      from: sql`${raw(table)} AS target WHERE ${found} AND ${inTime(database)}`,
      table: 'target',
    }),
    [name]: query(sql`UPDATE ${raw(table)} AS target SET leak_reported_at = ${now}, leak_source = ${source}, ${ended}
      WHERE ${found} AND EXISTS (SELECT 1 FROM events WHERE events.id = ${eventId}) RETURNING id`),
  }
}

interface Recorded {
  readonly id: Sql
  readonly organization: Sql
  readonly data: Sql
  readonly from: Sql
  readonly table: string
}

/** The events say nothing about the reporter: only the time and the source of a report are kept. */
function recordLeaks(type: EventType, now: UnixMs, { id, organization, data, from, table }: Recorded): Query<never> {
  const row = raw(table)
  return query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, created_at)
    SELECT ${nextSeq(now)} - 1 + row_number() OVER (ORDER BY ${row}.id), ${id}, ${row}.environment_id, ${organization},
      ${type}, ${data}, 'system', ${now} FROM ${from} ON CONFLICT DO NOTHING`)
}
