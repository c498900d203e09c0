import sql, { raw } from 'sql-template-tag'
import { type Database, FROZEN, query, sendBatch } from '../database.ts'

/**
 * A frozen database refuses every change, by triggers: whichever version of the Worker sends it, at once, without a D1
 * request of its own. Every change records an event, and its batch fails as a whole. Uses of secrets go on.
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
