import type { Access, Caller, Identity, Outcome, Result } from './caller.ts'
import { type Database, type RowsOf, sendBatch } from './database.ts'
import { rememberUse, touchCaller } from './last-use.ts'
import { type CallerRow, type Statement, selectCaller } from './statements.ts'

/**
 * Sends a request's statements as one batch, led by the one that identifies the caller. `read` receives the rows of
 * each statement by its name, and runs only if the caller is known and has the access that the request needs.
 */
export async function runBatch<Statements extends Record<string, Statement<unknown>>, T, Refusal extends string>(
  database: Database,
  caller: Caller,
  needs: Access,
  statements: Statements,
  read: (rows: RowsOf<Statements>) => Result<T, Refusal>,
  touches: Statement[] = [],
): Promise<Outcome<T, Refusal>> {
  const now = Date.now()
  const touch = touchCaller(database, caller, now)
  const batch = { identified: selectCaller(caller), ...statements }
  const rows = await sendBatch<typeof batch>(database, batch, touch ? [touch, ...touches] : touches)
  const [row] = rows.identified as CallerRow[]
  if (!row) return { refused: 'unauthorized' }
  if (touch) rememberUse(caller, now)
  const identity: Identity = {
    apiKeyId: row.id,
    apiKeyName: row.name,
    access: row.access,
    environmentId: row.environment_id,
    environmentName: row.environment_name,
  }
  if (needs === 'write' && row.access !== 'write') return { refused: 'forbidden', identity }
  return { ...read(rows), identity }
}

/** Identifies the caller of a request that fails for another reason: 401 and 403 take precedence. */
export function identify(database: Database, caller: Caller, needs: Access): Promise<Outcome<null>> {
  return runBatch(database, caller, needs, {}, () => ({ granted: null }))
}
