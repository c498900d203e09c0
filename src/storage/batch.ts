import type { Sql } from 'sql-template-tag'
import { type Caller, type Change, isAllowed, isChanging, type Need, type Outcome, type Result } from './caller.ts'
import { type Database, sendBatch, unreadable } from './database.ts'
import { recordEvent } from './event-statements.ts'
import { touchAfterResponse } from './last-use.ts'
import { CHANGING, type ChangingTable, type Statement, touchCaller } from './statements.ts'
import { type CallerRow, type ChangeRow, selectChangeVerdict, selectVerdict } from './verdicts.ts'

/** The statements of a request. The verdict is its one row about the caller and what the outcome depends on. */
type Statements = Readonly<Record<string, Statement<unknown>>> & { readonly verdict?: Statement<CallerRow> }

/** The rows of each statement by its name; of the verdict its one row. */
type Results<Named> = {
  readonly [Name in keyof Named]: NonNullable<Named[Name]> extends Statement<infer Row>
    ? Name extends 'verdict'
      ? Row
      : readonly Row[]
    : never
}

/**
 * Sends a request's statements as one batch. The verdict identifies the caller; a plain verdict is added to a batch
 * that has none. `read` runs only if the caller is known and may do what the request needs.
 */
export async function runBatch<Named extends Statements, T, Refusal extends string>(
  database: Database,
  caller: Caller,
  needs: Need,
  statements: Named,
  read: (results: Results<Named>) => Result<T, Refusal>,
): Promise<Outcome<T, Refusal>> {
  const queries = statements.verdict ? statements : { verdict: selectVerdict(caller), ...statements }
  const rows = await sendBatch<Readonly<Record<string, Statement<unknown>>>>(database, queries)
  const [verdict] = rows.verdict as (CallerRow & Partial<ChangeRow>)[]
  if (!verdict) return { refused: 'unauthorized' }
  if (!verdict.caller_id) throw unreadable()
  const now = Date.now()
  touchAfterResponse(database, verdict.session_id ?? verdict.caller_id, verdict.caller_last_used_at, now, () =>
    touchCaller(database, caller, now),
  )
  const identity = {
    apiKeyId: verdict.caller_id,
    apiKeyName: verdict.caller_name,
    access: verdict.access,
    permissions: verdict.permissions === null ? null : JSON.parse(verdict.permissions),
    environmentId: verdict.environment_id,
    environmentName: verdict.environment_name,
    isFrozen: verdict.frozen_at !== null,
    sessionId: verdict.session_id,
    person: verdict.caller_person,
  }
  const hasDelivery = verdict.has_delivery === 1
  const isElsewhere = isChanging(needs) && (caller.environmentId ?? verdict.environment_id) !== verdict.environment_id
  // A change that was made was allowed at that time.
  if (!verdict.is_done && (isElsewhere || !isAllowed(identity, needs)))
    return { refused: 'forbidden', identity, hasDelivery }
  return { ...read({ ...rows, verdict } as Results<Named>), identity, hasDelivery }
}

interface Plan {
  /** The type of the event. */
  readonly type: string
  /** The first one decides whether the change is made. */
  readonly statements: Readonly<Record<string, Statement>>
  /** The changed row and, as SQL, the data of its event. */
  readonly event: { readonly table: ChangingTable; readonly where: Sql; readonly data: Sql }
  /** Statements that are sent after the event. */
  readonly record?: Statement | null
  /** The columns of the verdict, and what they are joined from. */
  readonly columns: Sql
  readonly joined: Sql
}

/** Makes a change and records its event, in one batch. `read` turns the verdict into the result. */
export function runChange<Verdict extends ChangeRow, T, Refusal extends string>(
  database: Database,
  change: Change,
  { type, statements, event, record, columns, joined }: Plan,
  read: (verdict: Verdict) => Result<T, Refusal>,
): Promise<Outcome<T, Refusal>> {
  const batch = {
    ...statements,
    event: recordEvent(change, type, event.table, event.where, event.data),
    ...(record && { record }),
    verdict: selectChangeVerdict<Verdict>(change, type, columns, joined),
  }
  return runBatch(database, change.caller, CHANGING[event.table], batch, ({ verdict }) => read(verdict as Verdict))
}

/** Identifies the caller of a request that fails for another reason: 401 and 403 take precedence. */
export function identify(database: Database, caller: Caller, needs: Need): Promise<Outcome<null>> {
  return runBatch(database, caller, needs, {}, () => ({ granted: null }))
}
