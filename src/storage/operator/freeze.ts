import sql, { raw } from 'sql-template-tag'
import { type Database, FROZEN, query, sendBatch } from '../database.ts'

/**
 * The triggers that freeze a whole database during a recovery. Every change inserts an event, so the trigger on
 * `events` makes the whole batch fail. The operator's creation of an environment inserts no event, and has a trigger of
 * its own. Triggers take effect immediately, for all versions of the Worker, and cost no additional D1 request. Secrets
 * can still be used.
 */
const TRIGGERS = { frozen_events: 'events', frozen_environments: 'environments' } as const

export async function freeze(database: Database): Promise<void> {
  await sendBatch(
    database,
    Object.fromEntries(
      Object.entries(TRIGGERS).map(([trigger, table]) => [
        trigger,
        query(sql`CREATE TRIGGER IF NOT EXISTS ${raw(trigger)} BEFORE INSERT ON ${raw(table)}
          BEGIN SELECT raise(ABORT, '${raw(FROZEN)}'); END`),
      ]),
    ),
  )
}

export async function unfreeze(database: Database): Promise<void> {
  const drop = (trigger: string) => query(sql`DROP TRIGGER IF EXISTS ${raw(trigger)}`)
  await sendBatch(database, Object.fromEntries(Object.keys(TRIGGERS).map((trigger) => [trigger, drop(trigger)])))
}
