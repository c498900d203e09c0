import type { Context } from 'hono'
import { type Database, openDatabase } from '../storage/database.ts'
import type { Region } from '../storage/regions.ts'
import type { HonoEnv } from './context.ts'
import { addLogFields } from './log.ts'
import { readSettings } from './settings.ts'

/**
 * Opens the database of a region for this request, and adds the region to the log entry. Returns null if there is no
 * region with this digit.
 */
export function databaseOf(c: Context<HonoEnv>, digit: string): Database | null {
  const region = readSettings(c.env).REGIONS.find((region) => region.digit === digit)
  if (!region) return null
  const database = openRegion(c, region)
  c.set('database', database)
  addLogFields(c, { region: digit })
  return database
}

/** Opens the database of a region. The deadline is REQUEST_BUDGET_MS from now. */
export function openRegion(c: Context<HonoEnv>, region: Region): Database {
  return openDatabase(c.env, region, {
    deadline: Date.now() + readSettings(c.env).REQUEST_BUDGET_MS,
    waitUntil: (promise) => c.executionCtx.waitUntil(promise),
  })
}
