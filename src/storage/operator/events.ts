import sql, { type Sql } from 'sql-template-tag'
import { newId, regionOfId } from '../../credential/id.ts'
import { type Database, type Query, query, sendBatch, type UnixMs } from '../database.ts'
import { nextSeq } from '../event-statements.ts'
import type { EventType } from '../events.ts'

/**
 * Records a change that the operator made to the object `id`, if `from` finds the object as `target`. `data` is SQL for
 * the event's JSON. Changes to an environment, and rotations of the signing key, have an environment as target.
 */
export function recordOperatorEvent(
  type: EventType,
  id: string,
  now: UnixMs,
  data: Sql,
  from: Sql,
  eventId = newId('event', now, regionOfId(id)),
): Query {
  const environment = id.startsWith('env_') ? sql`target.id` : sql`target.environment_id`
  return query(sql`INSERT INTO events (seq, id, environment_id, type, data, actor_type, created_at)
    SELECT ${nextSeq(now)}, ${eventId}, ${environment}, ${type}, ${data}, 'operator', ${now} FROM ${from}
    ON CONFLICT DO NOTHING`)
}

export interface SigningKeyRotation {
  /** The ID of the new key. */
  readonly kid: string
  readonly algorithm: string
  /** True if the old key leaked and was withdrawn immediately. */
  readonly isLeaked: boolean
}

/** Records a rotation of the signing key in one environment. All environments share the key, so each gets an event. */
export async function recordSigningKeyRotation(
  database: Database,
  environmentId: string,
  now: UnixMs,
  { kid, algorithm, isLeaked }: SigningKeyRotation,
): Promise<void> {
  const data = JSON.stringify({ object: 'signing_key', kid, algorithm, leaked: isLeaked })
  const environment = sql`environments AS target WHERE target.id = ${environmentId}`
  await sendBatch(database, {
    rotated: recordOperatorEvent('signing_key.rotated', environmentId, now, sql`${data}`, environment),
  })
}
