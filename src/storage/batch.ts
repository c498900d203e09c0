import type { Sql } from 'sql-template-tag'
import { type Caller, type Change, isAllowed, isChanging, type Need, type Outcome, type Result } from './caller.ts'
import { type Database, sendBatch, unreadable } from './database.ts'
import { recordEvent } from './event-statements.ts'
import { touchAfterResponse } from './last-use.ts'
import { CHANGING, type ChangingTable, type Statement, touchCaller } from './statements.ts'
import { type CallerRow, type ChangeRow, selectChangeVerdict, selectVerdict } from './verdicts.ts'

/**
 * The statements of a request. The `verdict` returns one row with the caller's identity and the data that decide the
 * outcome.
 */
type Statements = Readonly<Record<string, Statement<unknown>>> & { readonly verdict?: Statement<CallerRow> }

/** The rows of each statement by its name. For the verdict, its only row. */
type Results<Named> = {
  readonly [Name in keyof Named]: NonNullable<Named[Name]> extends Statement<infer Row>
    ? Name extends 'verdict'
      ? Row
      : readonly Row[]
    : never
}

/**
 * Sends the statements of a request as one batch. If the batch has no verdict, a default one is added, which identifies
 * the caller. `read` runs only if the caller is known, and either has the right `needs` or has already made the change.
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
  // If the change was made, the caller had the right at that time. A retry succeeds even if the caller has since lost
  // the right.
  if (!verdict.is_done && (isElsewhere || !isAllowed(identity, needs)))
    return { refused: 'forbidden', identity, hasDelivery }
  return { ...read({ ...rows, verdict } as Results<Named>), identity, hasDelivery }
}

interface Plan {
  /** The type of the event. */
  readonly type: string
  /** The first statement decides whether the change is made. The others depend on it. */
  readonly statements: Readonly<Record<string, Statement>>
  /** The row that the change affects, and SQL for the data of the event. */
  readonly event: { readonly table: ChangingTable; readonly where: Sql; readonly data: Sql }
  /** A statement that stores the idempotency record. It is sent after the event. */
  readonly record?: Statement | null
  /** The additional columns of the verdict, and the joins that they need. */
  readonly columns: Sql
  readonly joined: Sql
}

/** Makes a change and records its event in one batch. `read` converts the verdict to the result. */
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

/**
 * Identifies the caller of a request that sends no other statement, such as one with an invalid body. 401 and 403 take
 * precedence over its other errors.
 */
export function identify(database: Database, caller: Caller, needs: Need): Promise<Outcome<null>> {
  return runBatch(database, caller, needs, {}, () => ({ granted: null }))
}
