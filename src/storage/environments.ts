import sql, { join, raw, type Sql } from 'sql-template-tag'
import { runBatch } from './batch.ts'
import type { Access, Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { recordAuditEvent } from './event-statements.ts'
import type { EventType } from './events.ts'
import { mapping } from './mapping.ts'
import { updateEnvironment } from './statements.ts'
import { type ChangeRow, type FoundRow, selectChangeVerdict, selectVerdict } from './verdicts.ts'

/** The reactions to a credential that is reported as leaked. Each also does what the ones before do. */
export const LEAK_REACTIONS = ['notify', 'disable', 'revoke'] as const
export type LeakReaction = (typeof LEAK_REACTIONS)[number]

/** An isolated tenant. */
export interface Environment {
  readonly id: string
  /** The `aud` of its access tokens. */
  readonly clientId: string
  readonly name: string
  readonly leakReaction: LeakReaction
  /** The longest lifetime of a new client secret; null for no limit. */
  readonly maxLifetimeDays: number | null
  /** Cleanup disables a client secret that was neither used nor changed for this long; null for never. */
  readonly maxUnusedDays: number | null
  /** The time since when no secrets and no tokens are issued; null unless the environment is frozen. */
  readonly frozenAt: UnixMs | null
  readonly createdAt: UnixMs
}

/** The settings, which callers and the operator can change. */
const SETTINGS = {
  leakReaction: 'leak_reaction',
  maxLifetimeDays: 'max_lifetime_days',
  maxUnusedDays: 'max_unused_days',
} as const

/** Undefined members stay unchanged. */
export type EnvironmentSettings = {
  readonly [Member in keyof typeof SETTINGS]?: Environment[Member] | undefined
}

/** Every statement names the environment `target`. */
export const environmentMapping = mapping<Environment>('target', {
  id: 'id',
  clientId: 'client_id',
  name: 'name',
  ...SETTINGS,
  frozenAt: 'frozen_at',
  createdAt: 'created_at',
})

/** A change of an environment, as SQL. */
export interface EnvironmentChange {
  readonly type: EventType
  readonly set: Sql
  /** Condition: the environment does not have these values yet. */
  readonly isDue: Sql
  /** The data of the event: the environment after the change. */
  readonly data: Sql
}

export function changeOfSettings(settings: EnvironmentSettings): EnvironmentChange {
  const values = Object.entries(SETTINGS).map(([member, column]): [string, Sql] => {
    const value = settings[member as keyof EnvironmentSettings]
    return [column, value === undefined ? raw(`target.${column}`) : sql`${value}`]
  })
  return environmentChange('environment.updated', values)
}

/** Freezes an environment, or lifts the freeze. */
export function changeOfFreeze(isFrozen: boolean, now: UnixMs): EnvironmentChange {
  return isFrozen
    ? environmentChange('environment.frozen', [['frozen_at', sql`coalesce(target.frozen_at, ${now})`]])
    : environmentChange('environment.unfrozen', [['frozen_at', sql`NULL`]])
}

function environmentChange(type: EventType, values: [column: string, value: Sql][]): EnvironmentChange {
  const each = (format: (column: string, value: Sql) => Sql, separator: string) =>
    join(
      values.map(([column, value]) => format(column, value)),
      separator,
    )
  return {
    type,
    set: each((column, value) => sql`${raw(column)} = ${value}`, ', '),
    isDue: sql`(${each((column, value) => sql`target.${raw(column)} IS NOT ${value}`, ' OR ')})`,
    data: sql`json_set(${environmentMapping.snapshot}, ${each((column, value) => sql`${`$.${column}`}, ${value}`, ', ')})`,
  }
}

const ofCaller = sql`JOIN environments AS target ON target.id = caller.environment_id`

/** The caller's environment. */
export function findEnvironment(database: Database, caller: Caller, needs: Access): Promise<Outcome<Environment>> {
  const verdict = selectVerdict<FoundRow>(caller, environmentMapping.columns, ofCaller)
  return runBatch(database, caller, needs, { verdict }, ({ verdict }) => ({
    granted: environmentMapping.fromRow(verdict),
  }))
}

/** Changes the caller's environment. A change to what is already set is a success without an event. */
export function changeEnvironment(
  database: Database,
  change: Change,
  { type, set, isDue, data }: EnvironmentChange,
): Promise<Outcome<Environment, 'service_unavailable'>> {
  const columns = sql`${environmentMapping.columns}, ${isDue} AS is_due`
  const statements = {
    event: recordAuditEvent(database, change, 'write', type, data, sql`${ofCaller} AND ${isDue}`),
    updated: updateEnvironment(change, set),
    verdict: selectChangeVerdict<ChangeRow & { is_due: 0 | 1 }>(change, type, columns, ofCaller),
  }
  return runBatch(database, change.caller, 'write', statements, ({ verdict }) =>
    verdict.is_due && !verdict.is_done
      ? { refused: 'service_unavailable' }
      : { granted: environmentMapping.fromRow(verdict) },
  )
}
