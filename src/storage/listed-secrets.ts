import sql, { join, raw, type Sql } from 'sql-template-tag'
import { type ClientSecret, clientSecretMembers, endsIn, liveAt } from './client-secrets.ts'
import type { UnixMs } from './database.ts'
import { mapping } from './mapping.ts'

/** A secret in any state, for lists. The SQL in this file reads rows of `client_secrets` under the alias `first`. */

const DAY_MS = 24 * 60 * 60 * 1000

/** A secret that expires within this number of days has the state `expiring`. */
export const EXPIRING_DAYS = 7
const EXPIRING_MS = EXPIRING_DAYS * DAY_MS

/** A secret is unused if it was not used for this number of days. */
export const UNUSED_DAYS = 90

export type SecretState = 'active' | 'expiring' | 'disabled' | 'expired' | 'revoked'

/** A filter. Null members and empty lists match all secrets. */
export interface SecretFilter {
  readonly states: readonly SecretState[]
  /** Matches secrets that are neither expired nor revoked, and were not used for this long. */
  readonly unusedForDays: number | null
  /** True matches secrets without an expiry, and false secrets with one. Expired and revoked secrets never match. */
  readonly neverExpires: boolean | null
  readonly expiresWithinDays: number | null
  readonly applicationId: string | null
  readonly organizationId: string | null
  /** The ID of an API key, or the email address of a person. */
  readonly createdBy: string | null
  /** Trailing characters, at least four. */
  readonly hint: string | null
  /** True matches secrets that were reported as leaked, and false all others. */
  readonly isLeaked: boolean | null
}

export const NO_FILTER: SecretFilter = {
  states: [],
  unusedForDays: null,
  neverExpires: null,
  expiresWithinDays: null,
  applicationId: null,
  organizationId: null,
  createdBy: null,
  hint: null,
  isLeaked: null,
}

export interface ListedSecret extends ClientSecret {
  readonly state: SecretState
  readonly applicationName: string
  readonly organizationId: string | null
  /** Null if the creator is unknown. */
  readonly createdByName: string | null
  /** The email address of the person who created the secret in the dashboard; null if it is unknown. */
  readonly createdByPerson: string | null
  /** The network of the latest use. */
  readonly lastUsedAddress: string | null
  readonly lastUsedCountry: string | null
  readonly lastUsedAgent: string | null
  readonly usedMinutes: string | null
  readonly revokedAt: UnixMs | null
  /** The time of the first report that the secret has leaked. */
  readonly leakReportedAt: UnixMs | null
  readonly leakSource: string | null
}

const first = raw('first')

/** SQL for the columns of a secret, for `selectFromFirst` and `selectSorted`. */
const listed = mapping<Omit<ListedSecret, 'state' | 'applicationName' | 'organizationId' | 'createdByName'>>('first', {
  ...clientSecretMembers,
  createdByPerson: 'created_by_person',
  lastUsedAddress: 'last_used_address',
  lastUsedCountry: 'last_used_country',
  lastUsedAgent: 'last_used_agent',
  usedMinutes: 'used_minutes',
  revokedAt: 'revoked_at',
  leakReportedAt: 'leak_reported_at',
  leakSource: 'leak_source',
})

/** SQL for the state of a secret, with the state names that the API uses. */
function stateAt(now: UnixMs): Sql {
  return sql`CASE WHEN first.revoked_at IS NOT NULL THEN 'revoked' WHEN first.expires_at <= ${now} THEN 'expired'
    WHEN first.disabled_at IS NOT NULL THEN 'disabled'
    WHEN first.is_rotated_out OR first.expires_at <= ${now + EXPIRING_MS} THEN 'expiring' ELSE 'active' END`
}

const organization = sql`(SELECT organization_id FROM applications
  WHERE environment_id = first.environment_id AND id = first.application_id)`

/** SQL for the columns of a listed secret. */
export function listedColumns(now: UnixMs): Sql {
  return sql`${listed.columns}, ${stateAt(now)} AS state, ${organization} AS organization_id,
    (SELECT name FROM applications WHERE environment_id = first.environment_id AND id = first.application_id) AS application_name,
    coalesce(first.created_by_name, (SELECT name FROM api_keys WHERE id = first.created_by)) AS created_by_name`
}

export interface ListedRow {
  readonly id: string
  readonly state: SecretState
  readonly application_name: string
  readonly organization_id: string | null
  readonly created_by_name: string | null
}

export function listedFromRow(row: ListedRow): ListedSecret {
  return {
    ...listed.fromRow(row),
    state: row.state,
    applicationName: row.application_name,
    organizationId: row.organization_id,
    createdByName: row.created_by_name,
  }
}

/** Condition: the secret was not used for this long. If it was never used, the time since its creation counts. */
function unusedAt(now: UnixMs, days: number): Sql {
  return sql`coalesce(first.last_used_at, first.created_at) <= ${now - days * DAY_MS}`
}

/** Returns the conditions of a filter. */
export function conditionsOf(filter: SecretFilter, now: UnixMs): Sql[] {
  const { states, unusedForDays, neverExpires, expiresWithinDays, applicationId, createdBy, hint, isLeaked } = filter
  const live = liveAt(now, first)
  const conditions: Sql[] = []
  if (states.length > 0)
    conditions.push(sql`${stateAt(now)} IN (SELECT value FROM json_each(${JSON.stringify(states)}))`)
  if (unusedForDays !== null) conditions.push(sql`${live} AND ${unusedAt(now, unusedForDays)}`)
  if (neverExpires !== null) conditions.push(sql`${live} AND (first.expires_at IS NULL) = ${Number(neverExpires)}`)
  if (expiresWithinDays !== null)
    conditions.push(sql`${live} AND first.expires_at <= ${now + expiresWithinDays * DAY_MS}`)
  if (applicationId !== null) conditions.push(sql`first.application_id = ${applicationId}`)
  if (filter.organizationId !== null) conditions.push(sql`${organization} = ${filter.organizationId}`)
  if (createdBy !== null)
    conditions.push(sql`(first.created_by = ${createdBy} OR first.created_by_person = ${createdBy})`)
  if (hint !== null) conditions.push(endsIn(hint.slice(-6), first))
  if (isLeaked !== null) conditions.push(sql`(first.leak_reported_at IS NOT NULL) = ${Number(isLeaked)}`)
  return conditions
}

/** The numbers of secrets by group, among the newest secrets. `counted` is the number of secrets that were read. */
export interface SecretCounts {
  readonly counted: number
  readonly current: number
  readonly expiring: number
  readonly disabled: number
  readonly ended: number
  readonly unused: number
  readonly never: number
  readonly unusedNever: number
  readonly listed: number
}

/** SQL for the columns of `SecretCounts`. */
export function countColumns(filter: SecretFilter, now: UnixMs): Sql {
  const live = liveAt(now, first)
  const unused = sql`${live} AND ${unusedAt(now, UNUSED_DAYS)}`
  const never = sql`${live} AND first.expires_at IS NULL`
  const count = (condition: Sql) => sql`count(*) FILTER (WHERE ${condition})`
  return sql`count(*) AS counted, ${count(live)} AS current, ${count(sql`NOT (${live})`)} AS ended,
    ${count(sql`${live} AND first.expires_at <= ${now + EXPIRING_MS}`)} AS expiring,
    ${count(sql`${live} AND first.disabled_at IS NOT NULL`)} AS disabled, ${count(unused)} AS unused,
    ${count(never)} AS never, ${count(sql`${unused} AND ${never}`)} AS unusedNever,
    ${count(join([sql`true`, ...conditionsOf(filter, now)], ' AND '))} AS listed`
}
