import sql, { type Sql } from 'sql-template-tag'
import { newId, regionOfId } from '../credential/id.ts'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import { clientSecretMapping, liveAt } from './client-secrets.ts'
import type { Database, UnixMs } from './database.ts'
import { recordEventOfEach } from './event-statements.ts'
import { type ListedRow, type ListedSecret, listedColumns, listedFromRow } from './listed-secrets.ts'
import { selectFromFirst, updateEach } from './statements.ts'
import { type CallerRow, selectVerdict, wantedByWebhook } from './verdicts.ts'

/** Changes many secrets at once. Each secret gets an event of its own. Either all changes are made, or none. */

export type BulkAction = 'revoke' | 'disable'

/** Maximum number of secrets in one change. */
export const MAX_BULK = 100

/** Returns those of the secrets that cleanup has not removed, newest first. */
export function findSecrets(
  database: Database,
  caller: Caller,
  ids: readonly string[],
  now: UnixMs,
): Promise<Outcome<ListedSecret[], 'entity_not_found'>> {
  const chosen = sql`id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`
  const found = selectFromFirst<ListedRow>(caller, listedColumns(now), 'client_secrets', chosen, sql`ORDER BY id DESC`)
  return runBatch(database, caller, 'secrets:read', { found }, ({ found }) =>
    found.length === 0 ? { refused: 'entity_not_found' } : { granted: found.map(listedFromRow) },
  )
}

interface BulkRow extends CallerRow {
  readonly has_delivery: 0 | 1
  readonly found: number
  readonly changed: number
  readonly left: number
}

/**
 * Revokes or disables secrets. Revoked secrets are not changed, and `disable` also skips disabled and expired secrets.
 * Returns the number of changed secrets.
 */
export function changeSecrets(
  database: Database,
  change: Change,
  ids: readonly string[],
  action: BulkAction,
): Promise<Outcome<number, 'entity_not_found' | 'service_unavailable'>> {
  const region = regionOfId(change.eventId)
  const events = ids.map((id, i) => [id, i === 0 ? change.eventId : newId('event', change.now, region)] as const)
  const items = JSON.stringify(Object.fromEntries(events))
  const { type, set, due } = actionAt(action, change.now)
  const eventIds = sql`(SELECT value FROM json_each(${items}))`
  const ofCaller = (
    condition: Sql,
  ) => sql`(SELECT count(*) FROM client_secrets WHERE environment_id = caller.environment_id
    AND id IN (SELECT key FROM json_each(${items})) AND (${condition}))`
  const isChanged = sql`EXISTS (SELECT 1 FROM events WHERE id IN ${eventIds})`
  const statements = {
    changed: updateEach(database, change, items, set, due),
    events: recordEventOfEach(change, type, items, clientSecretMapping.snapshot),
    verdict: selectVerdict<BulkRow>(
      change.caller,
      sql`${ofCaller(sql`true`)} AS found, ${ofCaller(due)} AS left,
        (SELECT count(*) FROM events WHERE id IN ${eventIds}) AS changed, ${wantedByWebhook(type)} AND ${isChanged} AS has_delivery`,
    ),
  }
  return runBatch(database, change.caller, 'secrets:write', statements, ({ verdict: { found, changed, left } }) => {
    if (found === 0) return { refused: 'entity_not_found' }
    return left > 0 ? { refused: 'service_unavailable' } : { granted: changed }
  })
}

/** Returns the event type of an action, the SQL that it sets, and the condition for the secrets that it changes. */
function actionAt(action: BulkAction, now: UnixMs): { type: string; set: Sql; due: Sql } {
  return action === 'revoke'
    ? { type: 'connect_application_secret.deleted', set: sql`revoked_at = ${now}`, due: sql`revoked_at IS NULL` }
    : {
        type: 'connect_application_secret.updated',
        set: sql`disabled_at = ${now}`,
        due: sql`disabled_at IS NULL AND ${liveAt(now)}`,
      }
}
