import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import {
  type Application,
  applicationMapping,
  areScopesKnown,
  joinLiveApplication,
  matchesApplication,
} from './applications.ts'
import { runBatch, runChange } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import { environmentOf, isFrozen } from './caller-conditions.ts'
import type { Database, UnixMs } from './database.ts'
import { touchedSecrets } from './event-statements.ts'
import { allowsMoreAddresses, allowsMoreScopes, isMore } from './freeze.ts'
import { flag, jsonOrNull, mapping } from './mapping.ts'
import { isAllowedExpiry, maxLifetime, passedReminder } from './secret-lifetime.ts'
import { allOf, BY_APPLICATION, select, update } from './statements.ts'
import { type FoundChangeRow, type FoundRow, selectVerdict } from './verdicts.ts'

export interface ClientSecret {
  readonly id: string
  readonly applicationId: string
  /** The last six characters. */
  readonly hint: string
  readonly name: string | null
  /**
   * The scopes that a token of this secret can have, if the application has them too. Null for all scopes of the
   * application.
   */
  readonly scopes: readonly string[] | null
  /** The IP ranges from which the secret may be used; null for every IP address. */
  readonly allowedIps: readonly string[] | null
  /** The ID of the API key that created the secret; null if it is unknown. */
  readonly createdBy: string | null
  /** The time of the latest use; null before the first use. */
  readonly lastUsedAt: UnixMs | null
  /** The time of the expiry; null if the secret never expires. */
  readonly expiresAt: UnixMs | null
  /**
   * True if a rotation has replaced the secret, unless the secret was kept. A rotated-out secret does not count against
   * the limit.
   */
  readonly isRotatedOut: boolean
  /** The time when the secret was disabled; null unless it is disabled. */
  readonly disabledAt: UnixMs | null
  readonly createdAt: UnixMs
  /** The time of the last change. Uses do not change it. */
  readonly updatedAt: UnixMs
}

export interface ApplicationWithSecrets {
  readonly application: Application
  /** The active and disabled secrets, oldest first. */
  readonly secrets: readonly ClientSecret[]
  /** The longest lifetime of a new secret in the environment; null if there is no limit. */
  readonly maxLifetimeDays: number | null
}

/** Undefined members stay unchanged. */
export interface ClientSecretChanges {
  readonly name?: string | null | undefined
  /**
   * A time in the future. Null removes the expiry, or sets the latest one that the environment allows. If a secret was
   * rotated out and the new expiry is after its grace period, the secret is kept.
   */
  readonly expiresAt?: UnixMs | null | undefined
  readonly disabled?: boolean | undefined
  /** Scopes of the application; null for all of them. */
  readonly scopes?: readonly string[] | null | undefined
  readonly allowedIps?: readonly string[] | null | undefined
}

export const clientSecretMembers = {
  id: 'id',
  applicationId: 'application_id',
  hint: 'secret_hint',
  name: 'name',
  scopes: ['allowed_scopes', jsonOrNull],
  allowedIps: ['allowed_ips', jsonOrNull],
  createdBy: 'created_by',
  lastUsedAt: 'last_used_at',
  expiresAt: 'expires_at',
  isRotatedOut: ['is_rotated_out', flag],
  disabledAt: 'disabled_at',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
} as const
export const clientSecretMapping = mapping<ClientSecret>('client_secrets', clientSecretMembers)
const { columns, snapshot, fromRow } = clientSecretMapping

const oldestFirst = sql`ORDER BY created_at, id`

/**
 * Condition: the secret is neither revoked nor expired at `now`. This includes disabled secrets, which count against
 * the limit.
 */
export function liveAt(now: UnixMs, secrets: Sql = raw('client_secrets')): Sql {
  return sql`${secrets}.ended_at = 0 AND (${secrets}.expires_at IS NULL OR ${secrets}.expires_at > ${now})`
}

/** SQL for the number of secrets that count against the limit of an application. */
export function countAgainstLimit(table: 'applications' | 'client_secrets', applicationId: string, now: UnixMs): Sql {
  return sql`(SELECT count(*) FROM client_secrets AS counted INDEXED BY client_secrets_by_application
    WHERE counted.environment_id = ${raw(table)}.environment_id AND counted.application_id = ${raw(`${table}.${applicationId}`)}
    AND ${liveAt(now, raw('counted'))} AND NOT counted.is_rotated_out)`
}

/** The ID of a secret. If `application` (an ID or client ID) is set, the secret must belong to that application. */
export interface SecretReference {
  readonly id: string
  readonly application?: string
}

/** Condition: the secret matches the reference. */
function referredTo(caller: Caller, { id, application }: SecretReference): Sql {
  const matches = sql`client_secrets.id = ${id}`
  return application === undefined ? matches : sql`${matches} AND ${ofApplication(caller, application)}`
}

/** Condition: the secret belongs to the application with this ID or client ID. */
function ofApplication(caller: Caller, application: string): Sql {
  return sql`client_secrets.application_id = (SELECT id FROM applications
    WHERE environment_id = ${environmentOf(caller)} AND ${matchesApplication(application)})`
}

/** Joins a secret of the caller's environment to the caller. `secret` is the condition that selects it. */
function joinSecret(secret: Sql): Sql {
  return sql`JOIN client_secrets ON client_secrets.environment_id = caller.environment_id AND ${secret}`
}

export function findClientSecret(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<ClientSecret, 'entity_not_found'>> {
  const joined = sql`LEFT ${joinSecret(referredTo(caller, { id }))} AND client_secrets.revoked_at IS NULL`
  const verdict = selectVerdict<FoundRow>(caller, columns, joined)
  return runBatch(database, caller, 'secrets:read', { verdict }, ({ verdict }) =>
    verdict.id === null ? { refused: 'entity_not_found' } : { granted: fromRow(verdict) },
  )
}

/** Returns an application by its ID or client ID, with its active and disabled secrets, oldest first. */
export function findApplicationWithSecrets(
  database: Database,
  caller: Caller,
  id: string,
  now: UnixMs,
): Promise<Outcome<ApplicationWithSecrets, 'entity_not_found'>> {
  const statements = {
    verdict: selectVerdict<FoundRow & { max_lifetime_days: number | null }>(
      caller,
      sql`${applicationMapping.columns}, (SELECT max_lifetime_days FROM environments WHERE id = caller.environment_id) AS max_lifetime_days`,
      sql`LEFT ${joinLiveApplication(id)}`,
    ),
    secrets: select<object>(
      caller,
      columns,
      BY_APPLICATION,
      sql`${ofApplication(caller, id)} AND ${liveAt(now)}`,
      oldestFirst,
    ),
  }
  return runBatch(database, caller, 'secrets:read', statements, ({ verdict, secrets }) =>
    verdict.id === null
      ? { refused: 'entity_not_found' }
      : {
          granted: {
            application: applicationMapping.fromRow(verdict),
            secrets: secrets.map(fromRow),
            maxLifetimeDays: verdict.max_lifetime_days,
          },
        },
  )
}

/**
 * Condition: the secret ends in these four to six characters. The first comparison has the same expression as the
 * index, so that SQLite uses the index.
 */
export function endsIn(hint: string, secrets: Sql = raw('client_secrets')): Sql {
  return sql`substr(${secrets}.secret_hint, -4) = ${hint.slice(-4)}
    AND substr(${secrets}.secret_hint, ${raw(`${-hint.length}`)}) = ${hint}`
}

/** Returns the active and disabled secrets of the environment that end in `hint`, oldest first. */
export function findClientSecretsByHint(
  database: Database,
  caller: Caller,
  hint: string,
  now: UnixMs,
): Promise<Outcome<ClientSecret[]>> {
  const index = 'client_secrets INDEXED BY client_secrets_by_hint'
  const where = sql`${endsIn(hint)} AND ${liveAt(now)}`
  const found = select<object>(caller, columns, index, where, oldestFirst)
  return runBatch(database, caller, 'secrets:read', { found }, ({ found }) => ({ granted: found.map(fromRow) }))
}

/**
 * Changes the name, expiry, state, scopes or IP ranges of a secret. If all values are already set, it succeeds without
 * an event. An expired secret cannot be changed. A frozen environment refuses changes that let the secret do more or
 * work for longer. If a secret was rotated out and its new expiry is after its grace period, the secret counts against
 * the limit again.
 */
export function updateClientSecret(
  database: Database,
  change: Change,
  reference: SecretReference,
  { name, expiresAt, disabled, scopes, allowedIps }: ClientSecretChanges,
  limit: number,
): Promise<
  Outcome<
    ClientSecret,
    | 'entity_not_found'
    | 'environment_frozen'
    | 'client_secret_expired'
    | 'scopes_unknown'
    | 'expires_at_too_late'
    | 'client_secret_limit_reached'
    | 'service_unavailable'
  >
> {
  const set: Sql[] = []
  const alreadySet: Sql[] = []
  const grants: Sql[] = []
  if (name !== undefined) {
    set.push(sql`name = ${name}`)
    alreadySet.push(sql`client_secrets.name IS ${name}`)
  }
  const lifetime = maxLifetime(sql`client_secrets.environment_id`)
  const latest = sql`(client_secrets.created_at + ${lifetime})`
  const expiry = expiresAt === null ? sql`iif(client_secrets.expires_at IS NULL, NULL, ${latest})` : sql`${expiresAt}`
  let isAllowed = sql`true`
  if (expiresAt !== undefined) {
    set.push(sql`expires_at = ${expiry}`, sql`reminded_days = ${passedReminder(sql`${expiry} - ${change.now}`)}`)
    alreadySet.push(sql`client_secrets.expires_at IS ${expiry}`)
    grants.push(isMore(expiry, 'client_secrets.expires_at'))
    // A secret that was created before the policy may keep its expiry. If the secret has no expiry, the longest
    // lifetime starts now.
    isAllowed =
      expiresAt === null
        ? isAllowedExpiry(sql`client_secrets.expires_at`, latest)
        : isAllowedExpiry(
            expiresAt,
            sql`max(${latest}, coalesce(client_secrets.expires_at, ${change.now} + ${lifetime}))`,
          )
  }
  for (const [column, list] of [
    ['allowed_scopes', scopes],
    ['allowed_ips', allowedIps],
  ] as const) {
    if (list === undefined) continue
    const value = list && JSON.stringify(list)
    set.push(sql`${raw(column)} = ${value}`)
    alreadySet.push(sql`client_secrets.${raw(column)} IS ${value}`)
  }
  if (disabled !== undefined) {
    set.push(disabled ? sql`disabled_at = coalesce(disabled_at, ${change.now})` : sql`disabled_at = NULL`)
    alreadySet.push(sql`(disabled_at IS NOT NULL) = ${Number(disabled)}`)
    if (!disabled) grants.push(sql`client_secrets.disabled_at IS NOT NULL`)
  }
  if (scopes !== undefined) grants.push(allowsMoreScopes(scopes, 'client_secrets.allowed_scopes'))
  if (allowedIps !== undefined) grants.push(allowsMoreAddresses(allowedIps, 'client_secrets.allowed_ips'))
  const unchanged = sql`(${allOf(alreadySet)})`
  const secret = referredTo(change.caller, reference)
  const live = sql`(${liveAt(change.now)})`
  const counted = countAgainstLimit('client_secrets', 'application_id', change.now)
  const withinLimit =
    expiresAt === undefined
      ? sql`true`
      : sql`(NOT is_rotated_out OR ${expiresAt} <= retires_at OR ${counted} < ${limit})`
  // The secret may keep scopes that the application no longer has.
  const known = sql`(${scopes ? sql`client_secrets.allowed_scopes IS ${JSON.stringify(scopes)} OR ` : empty}
    EXISTS (SELECT 1 FROM applications WHERE environment_id = client_secrets.environment_id
    AND id = client_secrets.application_id AND ${areScopesKnown(scopes)}))`
  const frozen =
    grants.length === 0
      ? sql`false`
      : sql`((${join(grants, ' OR ')}) AND ${isFrozen(raw('client_secrets.environment_id'))})`
  const where = sql`${secret} AND ${live} AND NOT ${unchanged} AND ${withinLimit} AND ${isAllowed} AND ${known} AND NOT ${frozen}`
  const plan = {
    type: 'connect_application_secret.updated',
    statements: { updated: update(database, change, 'client_secrets', set, where) },
    event: { table: 'client_secrets', where: secret, data: snapshot },
    columns: sql`${columns}, ${live} AS is_live, ${unchanged} AS is_unchanged, ${withinLimit} AS is_within_limit,
      ${isAllowed} AS is_allowed, ${known} AS is_known, ${frozen} AS is_frozen`,
    joined: sql`LEFT ${joinSecret(secret)} AND client_secrets.revoked_at IS NULL`,
  } as const
  type Verdict = FoundChangeRow & {
    is_live: 0 | 1
    is_unchanged: 0 | 1
    is_within_limit: 0 | 1
    is_allowed: 0 | 1
    is_known: 0 | 1
    is_frozen: 0 | 1
  }
  return runChange(database, change, plan, (verdict: Verdict) => {
    if (verdict.id === null) return { refused: 'entity_not_found' }
    if (!verdict.is_live) return { refused: 'client_secret_expired' }
    if (verdict.is_done || verdict.is_unchanged) return { granted: fromRow(verdict) }
    if (verdict.is_frozen) return { refused: 'environment_frozen' }
    if (!verdict.is_known) return { refused: 'scopes_unknown' }
    if (!verdict.is_allowed) return { refused: 'expires_at_too_late' }
    return { refused: verdict.is_within_limit ? 'service_unavailable' : 'client_secret_limit_reached' }
  })
}

/** Revokes a secret, which can't be undone. Idempotent. */
export function revokeClientSecret(
  database: Database,
  change: Change,
  reference: SecretReference,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const secret = referredTo(change.caller, reference)
  const where = sql`${secret} AND revoked_at IS NULL`
  const plan = {
    type: 'connect_application_secret.deleted',
    statements: { revoked: update(database, change, 'client_secrets', [sql`revoked_at = ${change.now}`], where) },
    event: { table: 'client_secrets', where: secret, data: snapshot },
    columns: sql`client_secrets.id, client_secrets.revoked_at`,
    joined: sql`LEFT ${joinSecret(secret)}`,
  } as const
  return runChange(database, change, plan, (verdict: FoundChangeRow & { revoked_at: UnixMs | null }) => {
    if (verdict.id === null) return { refused: 'entity_not_found' }
    return verdict.revoked_at === null ? { refused: 'service_unavailable' } : { granted: null }
  })
}

/**
 * Revokes all active and disabled secrets of an application, as one change with one event that lists them. Succeeds if
 * there are none.
 */
export function revokeAllClientSecrets(
  database: Database,
  change: Change,
  application: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const ofCaller = ofApplication(change.caller, application)
  const live = sql`${ofCaller} AND ${liveAt(change.now)}`
  const firstRevoked = sql`(SELECT min(id) FROM ${raw(BY_APPLICATION)} WHERE environment_id = ${environmentOf(change.caller)}
    AND ${ofCaller} AND ended_at = ${change.now} AND event_id = ${change.eventId})`
  const anyLeft = sql`EXISTS (SELECT 1 FROM ${raw(BY_APPLICATION)} WHERE client_secrets.environment_id = applications.environment_id
    AND application_id = applications.id AND ${liveAt(change.now)})`
  const data = sql`json_object('application_id', client_secrets.application_id,
    'client_secrets', ${touchedSecrets(change, 'client_secrets', 'application_id')})`
  const plan = {
    type: 'connect_application_secret.deleted',
    statements: { revoked: update(database, change, BY_APPLICATION, [sql`revoked_at = ${change.now}`], live) },
    event: { table: 'client_secrets', where: sql`client_secrets.id = ${firstRevoked}`, data },
    columns: sql`applications.id, ${anyLeft} AS is_any_left`,
    joined: sql`LEFT ${joinLiveApplication(application)}`,
  } as const
  return runChange(database, change, plan, (verdict: FoundChangeRow & { is_any_left: 0 | 1 }) => {
    if (verdict.id === null) return { refused: 'entity_not_found' }
    return verdict.is_done || !verdict.is_any_left ? { granted: null } : { refused: 'service_unavailable' }
  })
}
