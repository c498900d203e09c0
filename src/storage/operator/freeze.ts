import sql, { raw } from 'sql-template-tag'
import { type Database, FROZEN, query, sendBatch } from '../database.ts'

/**
 * Triggers make a frozen database refuse every change immediately, from every version of the Worker and without a
 * further D1 request: every change records an event, and its whole batch fails. Secrets can still be used.
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
