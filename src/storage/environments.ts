import sql, { join, raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Access, Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { recordAuditEvent } from './event-statements.ts'
import type { EventType } from './events.ts'
import { isMore } from './freeze.ts'
import { mapping } from './mapping.ts'
import { updateEnvironment } from './statements.ts'
import { type ChangeRow, type FoundRow, selectChangeVerdict, selectVerdict } from './verdicts.ts'

/** The possible reactions to a leak report. Each reaction includes those before it. */
export const LEAK_REACTIONS = ['notify', 'disable', 'revoke'] as const
export type LeakReaction = (typeof LEAK_REACTIONS)[number]

/** An isolated tenant. */
export interface Environment {
  readonly id: string
  /** The `aud` of the environment's access tokens. */
  readonly clientId: string
  readonly name: string
  readonly leakReaction: LeakReaction
  /** The longest lifetime of a new client secret; null if there is no limit. */
  readonly maxLifetimeDays: number | null
  /** Cleanup disables a client secret that was neither used nor changed for this long; null if there is no limit. */
  readonly maxUnusedDays: number | null
  /**
   * The time of the freeze. Since then, no credentials and no tokens are issued. Null unless the environment is frozen.
   */
  readonly frozenAt: UnixMs | null
  readonly createdAt: UnixMs
}

/** The settings that callers and the operator can change. */
const SETTINGS = {
  leakReaction: 'leak_reaction',
  maxLifetimeDays: 'max_lifetime_days',
  maxUnusedDays: 'max_unused_days',
} as const

type EnvironmentSettings = {
  readonly [Member in keyof typeof SETTINGS]?: Environment[Member] | undefined
}

/** Undefined members stay unchanged. */
export interface EnvironmentChanges extends EnvironmentSettings {
  readonly frozen?: boolean | undefined
}

/** SQL must refer to the row of the environment as `target`. */
export const environmentMapping = mapping<Environment>('target', {
  id: 'id',
  clientId: 'client_id',
  name: 'name',
  ...SETTINGS,
  frozenAt: 'frozen_at',
  createdAt: 'created_at',
})

/** A change to an environment, as SQL. */
export interface EnvironmentChange {
  readonly type: EventType
  readonly set: Sql
  /** Condition: the change would change a value. */
  readonly isDue: Sql
  /**
   * Condition: the change makes the settings less strict. Callers cannot make such a change in a frozen environment.
   */
  readonly isLooser: Sql
  /** SQL for the data of the event: the environment after the change. */
  readonly data: Sql
}

/** Returns the SQL that changes an environment's settings, freezes it or unfreezes it. */
export function changeOfEnvironment({ frozen, ...settings }: EnvironmentChanges, now: UnixMs): EnvironmentChange {
  const type = frozen === undefined ? 'updated' : frozen ? 'frozen' : 'unfrozen'
  const values = Object.entries(SETTINGS).map(([member, column]): [string, Sql] => {
    const value = settings[member as keyof EnvironmentSettings]
    return [column, value === undefined ? raw(`target.${column}`) : sql`${value}`]
  })
  if (frozen !== undefined) values.push(['frozen_at', frozen ? sql`coalesce(target.frozen_at, ${now})` : sql`NULL`])
  const each = (format: (column: string, value: Sql) => Sql, separator: string) =>
    join(
      values.map(([column, value]) => format(column, value)),
      separator,
    )
  return {
    type: `environment.${type}`,
    set: each((column, value) => sql`${raw(column)} = ${value}`, ', '),
    isDue: sql`(${each((column, value) => sql`target.${raw(column)} IS NOT ${value}`, ' OR ')})`,
    isLooser: isLooser(settings),
    data: sql`json_set(${environmentMapping.snapshot}, ${each((column, value) => sql`${`$.${column}`}, ${value}`, ', ')})`,
  }
}

/** Condition: the new settings let credentials live longer, or weaken the reaction to a leak report. */
function isLooser({ leakReaction, maxLifetimeDays, maxUnusedDays }: EnvironmentSettings): Sql {
  const conditions: Sql[] = []
  if (leakReaction !== undefined) {
    const weaker = LEAK_REACTIONS.slice(LEAK_REACTIONS.indexOf(leakReaction) + 1)
    conditions.push(sql`target.leak_reaction IN (SELECT value FROM json_each(${JSON.stringify(weaker)}))`)
  }
  if (maxLifetimeDays !== undefined) conditions.push(isMore(maxLifetimeDays, 'target.max_lifetime_days'))
  if (maxUnusedDays !== undefined) conditions.push(isMore(maxUnusedDays, 'target.max_unused_days'))
  return conditions.length === 0 ? sql`false` : sql`(${join(conditions, ' OR ')})`
}

const ofCaller = sql`JOIN environments AS target ON target.id = caller.environment_id`

/** Returns the caller's environment. */
export function findEnvironment(database: Database, caller: Caller, needs: Access): Promise<Outcome<Environment>> {
  const verdict = selectVerdict<FoundRow>(caller, environmentMapping.columns, ofCaller)
  return runBatch(database, caller, needs, { verdict }, ({ verdict }) => ({
    granted: environmentMapping.fromRow(verdict),
  }))
}

/**
 * Changes the caller's environment. If all values are already set, it succeeds without an event. In a frozen
 * environment, settings cannot be made less strict.
 */
export function changeEnvironment(
  database: Database,
  change: Change,
  { type, set, isDue, isLooser, data }: EnvironmentChange,
): Promise<Outcome<Environment, 'environment_frozen' | 'service_unavailable'>> {
  const isRefused = sql`(target.frozen_at IS NOT NULL AND ${isLooser})`
  const columns = sql`${environmentMapping.columns}, ${isDue} AS is_due, ${isRefused} AS is_refused`
  const target = sql`${ofCaller} AND ${isDue} AND NOT ${isRefused}`
  const statements = {
    event: recordAuditEvent(database, change, 'write', type, data, target),
    updated: updateEnvironment(change, set),
    verdict: selectChangeVerdict<ChangeRow & { is_due: 0 | 1; is_refused: 0 | 1 }>(change, type, columns, ofCaller),
  }
  return runBatch(database, change.caller, 'write', statements, ({ verdict }) => {
    if (verdict.is_done || !verdict.is_due) return { granted: environmentMapping.fromRow(verdict) }
    return { refused: verdict.is_refused ? 'environment_frozen' : 'service_unavailable' }
  })
}
