import type { Context } from 'hono'
import { type Database, openDatabase } from '../storage/database.ts'
import type { HonoEnv } from './context.ts'
import { readSettings } from './settings.ts'

/** The way of this request to the database of a region; null where there is no such region. */
export function databaseOf(c: Context<HonoEnv>, region: string): Database | null {
  return openDatabase(c.env, region, {
    deadline: Date.now() + readSettings(c.env).REQUEST_BUDGET_MS,
    waitUntil: (promise) => c.executionCtx.waitUntil(promise),
  })
}
