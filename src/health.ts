import { Hono } from 'hono'
import { version } from '../package.json'
import { DEFAULT_REGION } from './credential/credential.ts'
import type { HonoEnv } from './http/context.ts'
import { readSettings } from './http/settings.ts'
import { openDatabase } from './storage/database.ts'
import { requireCurrentSchema } from './storage/migrations.ts'

/** For whoever watches over the Worker: nobody is asked who they are. */
export const health = new Hono<HonoEnv>()

  /** The Worker runs. */
  .get('/healthz', (c) => c.json({ status: 'ok', version }))

  /** And can do its work: storage answers, and has the tables of this version. Otherwise 503. */
  .get('/readyz', async (c) => {
    const database = openDatabase(c.env, DEFAULT_REGION, {
      deadline: Date.now() + readSettings(c.env).REQUEST_BUDGET_MS,
      waitUntil: (promise) => c.executionCtx.waitUntil(promise),
    })
    if (database) await requireCurrentSchema(database)
    return c.json({ status: 'ok', version })
  })
