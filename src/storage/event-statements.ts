import sql, { raw, type Sql } from 'sql-template-tag'
import type { Change, Need } from './caller.ts'
import { dependentScope, scopeOf } from './caller-conditions.ts'
import type { Database, UnixMs } from './database.ts'
import { CHANGING, type ChangingTable, insertInto, type Statement } from './statements.ts'

/** SQL for the organization of the application that a row of `client_secrets` belongs to. */
export const organizationOfSecret = sql`(SELECT organization_id FROM applications
  WHERE environment_id = client_secrets.environment_id AND id = client_secrets.application_id)`

/**
 * Records the event of a change to an application or a secret, with the row after the change. `data` is SQL for the
 * event's JSON.
 */
export function recordEvent(change: Change, type: string, table: ChangingTable, where: Sql, data: Sql): Statement {
  const name = raw(table)
  const organization = table === 'applications' ? sql`applications.organization_id` : organizationOfSecret
  return insertInto(
    'events',
    eventRow(change, type, data, organization),
    dependentScope(change.caller, CHANGING[table]),
    sql`JOIN ${name} ON ${name}.environment_id = caller.environment_id
      AND ${name}.event_id = ${change.eventId} AND (${where})`,
  )
}

/** Records an event for each secret that `updateEach` has changed. */
export function recordEventOfEach(change: Change, type: string, items: string, data: Sql): Statement {
  return insertInto(
    'events',
    {
      ...eventRow(change, type, data, organizationOfSecret),
      seq: sql`${nextSeq(change.now)} - 1 + row_number() OVER (ORDER BY client_secrets.id)`,
      id: sql`client_secrets.event_id`,
    },
    dependentScope(change.caller, 'secrets:write'),
    sql`JOIN json_each(${items}) AS item JOIN client_secrets ON client_secrets.environment_id = caller.environment_id
      AND client_secrets.id = item.key AND client_secrets.event_id = item.value`,
  )
}

/**
 * Records an event about any object, if `joined` joins a row to the caller. The statements that make the change come
 * after this statement, and depend on `eventExists`. If `database` is null, `joined` must depend on an earlier
 * statement that checks the caller and the deadline.
 */
export function recordAuditEvent(
  database: Database | null,
  change: Change,
  needs: Need,
  type: string,
  data: Sql,
  joined: Sql,
  organizationId: Sql | null = null,
): Statement {
  const scope = database ? scopeOf(change.caller, needs, database) : dependentScope(change.caller, needs)
  return insertInto('events', eventRow(change, type, data, organizationId), scope, joined)
}

/**
 * SQL for the `seq` of a new event: higher than every stored `seq`, and at least the time in microseconds. So no `seq`
 * is used twice, even after cleanup has removed events.
 */
export function nextSeq(now: UnixMs): Sql {
  return sql`max((SELECT coalesce(max(seq), 0) FROM events) + 1, ${now * 1000})`
}

function eventRow(change: Change, type: string, data: Sql, organizationId: Sql | null) {
  const { caller, origin } = change
  return {
    seq: nextSeq(change.now),
    id: change.eventId,
    organization_id: organizationId,
    type,
    data,
    actor_type: caller.kind,
    caller_id: sql`caller.id`,
    caller_name: sql`caller.name`,
    session_id: sql`caller.session_id`,
    actor_person: sql`caller.person`,
    request_id: change.requestId,
    client_request_id: origin?.clientRequestId ?? null,
    address: origin?.address ?? null,
    country: origin?.country ?? null,
    user_agent: origin?.userAgent ?? null,
    created_at: change.now,
  }
}

/**
 * SQL for the JSON array of the secrets that a change affected, for the data of its event. They belong to the
 * application of the changed row. `applicationId` is the column of `table` with the application's ID. `except` is the
 * ID of a secret to leave out. Secrets that the change ended have `ended_at` = now.
 */
export function touchedSecrets(change: Change, table: ChangingTable, applicationId: string, except = ''): Sql {
  return sql`json((SELECT json_group_array(json_object('id', touched.id, 'secret_hint', touched.secret_hint))
    FROM client_secrets AS touched INDEXED BY client_secrets_by_application
    WHERE touched.environment_id = ${raw(table)}.environment_id
    AND touched.application_id = ${raw(table)}.${raw(applicationId)} AND touched.ended_at IN (0, ${change.now})
    AND touched.event_id = ${change.eventId} AND touched.id <> ${except}))`
}
