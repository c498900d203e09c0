import sql, { raw, type Sql } from 'sql-template-tag'
import { isApplication, isLiveApplication } from './applications.ts'
import type { Database, Row } from './database.ts'
import { snapshotOf, touchedSecrets } from './event-data.ts'
import { ask, type Caller, type Change, isDone, type Outcome, recordEvent, select, update } from './statements.ts'

export interface ClientSecret {
  readonly id: string
  readonly applicationId: string
  /** The last six characters. */
  readonly hint: string
  readonly name: string | null
  /** Unix ms; null until it is used. */
  readonly lastUsedAt: number | null
  /** Unix ms; null for never. */
  readonly expiresAt: number | null
  /** Unix ms; null unless it is switched off. */
  readonly disabledAt: number | null
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms. Changes move it, use does not. */
  readonly updatedAt: number
}

/** What an update may change; what is undefined stays. */
export interface ClientSecretChanges {
  readonly name?: string | null | undefined
  /** Unix ms, in the future; null for never, which also takes a rotated secret back. */
  readonly expiresAt?: number | null | undefined
  readonly disabled?: boolean | undefined
}

const COLUMNS = [
  'id',
  'application_id',
  'secret_hint',
  'name',
  'last_used_at',
  'expires_at',
  'disabled_at',
  'created_at',
  'updated_at',
] as const
export const clientSecretColumns = raw(COLUMNS.join(', '))
export const clientSecretSnapshot = snapshotOf('client_secrets', COLUMNS)

/** Live: neither revoked nor expired at `now` (unix ms). A disabled one is live, and counts. */
export function isLive(now: number, secrets: Sql = raw('client_secrets')): Sql {
  return sql`${secrets}.revoked_at IS NULL AND (${secrets}.expires_at IS NULL OR ${secrets}.expires_at > ${now})`
}

/**
 * How many secrets count against the limit of the application that `applicationId` (SQL) names: the live ones, but for
 * those rotated out. They go by another name in here, so that it may be a column of `client_secrets` out there.
 */
export function countAgainstLimit(applicationId: Sql, now: number): Sql {
  const isCounted = sql`counted.application_id = ${applicationId} AND ${isLive(now, raw('counted'))} AND counted.is_retiring = 0`
  return sql`(SELECT count(*) FROM client_secrets AS counted WHERE ${isCounted})`
}

/** Matches the secrets of an application, by its id or its client id. */
export function isOfApplication(application: string): Sql {
  return sql`client_secrets.application_id = (SELECT id FROM applications WHERE ${isApplication(application)})`
}

export function findClientSecret(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<ClientSecret, 'entity_not_found'>> {
  const isIt = sql`client_secrets.id = ${id} AND revoked_at IS NULL`
  return ask(database, caller, 'read', [select(caller, clientSecretColumns, 'client_secrets', isIt)], ([rows]) =>
    rows?.[0] ? { granted: clientSecretFromRow(rows[0]) } : { refused: 'entity_not_found' },
  )
}

/** The secrets of an application that live at `now` (unix ms), oldest first. */
export function listClientSecrets(
  database: Database,
  caller: Caller,
  application: string,
  now: number,
): Promise<Outcome<ClientSecret[], 'entity_not_found'>> {
  const isListed = sql`${isOfApplication(application)} AND ${isLive(now)}`
  return ask(
    database,
    caller,
    'read',
    [
      select(caller, clientSecretColumns, 'client_secrets', isListed, sql`ORDER BY created_at, id`),
      select(caller, sql`1`, 'applications', isLiveApplication(application)),
    ],
    ([secrets = [], found = []]) =>
      found.length > 0 ? { granted: secrets.map(clientSecretFromRow) } : { refused: 'entity_not_found' },
  )
}

/** The secrets of the environment that live at `now` (unix ms) and end in `hint`, oldest first. */
export function findClientSecretsByHint(
  database: Database,
  caller: Caller,
  hint: string,
  now: number,
): Promise<Outcome<ClientSecret[]>> {
  const isMatch = sql`secret_hint = ${hint} AND ${isLive(now)}`
  const found = select(caller, clientSecretColumns, 'client_secrets', isMatch, sql`ORDER BY created_at, id`)
  return ask(database, caller, 'read', [found], ([secrets = []]) => ({ granted: secrets.map(clientSecretFromRow) }))
}

/**
 * Names a secret, lets it expire or not, switches it off or on. Setting what is set already is a success, and no change.
 * An expired one is final. One that was rotated out counts against the limit again once it never expires.
 */
export function updateClientSecret(
  database: Database,
  change: Change,
  id: string,
  { name, expiresAt, disabled }: ClientSecretChanges,
  limit: number,
): Promise<
  Outcome<
    ClientSecret,
    'entity_not_found' | 'client_secret_expired' | 'client_secret_limit_reached' | 'service_unavailable'
  >
> {
  const set: Sql[] = []
  const isSet: Sql[] = [sql`true`]
  if (name !== undefined) {
    set.push(sql`name = ${name}`)
    isSet.push(sql`name IS ${name}`)
  }
  if (expiresAt !== undefined) {
    set.push(sql`expires_at = ${expiresAt}`, sql`expiry_noted_at = NULL`)
    isSet.push(sql`expires_at IS ${expiresAt}`)
  }
  if (expiresAt === null) set.push(sql`is_retiring = 0`)
  if (disabled !== undefined) {
    set.push(disabled ? sql`disabled_at = coalesce(disabled_at, ${change.now})` : sql`disabled_at = NULL`)
    isSet.push(sql`(disabled_at IS NOT NULL) = ${Number(disabled)}`)
  }
  const isAsAsked = isSet.reduce((all, one) => sql`${all} AND ${one}`)
  const isIt = sql`client_secrets.id = ${id}`
  const isWithinLimit =
    expiresAt === null
      ? sql`(is_retiring = 0 OR ${countAgainstLimit(sql`client_secrets.application_id`, change.now)} < ${limit})`
      : sql`true`
  const state = sql`${clientSecretColumns}, revoked_at, ${isLive(change.now)} AS is_live,
    ${isDone(change)} OR (${isAsAsked}) AS is_as_asked, ${isWithinLimit} AS is_within_limit`
  return ask(
    database,
    change.caller,
    'write',
    [
      update(
        database,
        change,
        'client_secrets',
        set,
        sql`${isIt} AND ${isLive(change.now)} AND NOT (${isAsAsked}) AND ${isWithinLimit}`,
      ),
      ...recordEvent(change, 'connect_application_secret.updated', 'client_secrets', isIt, clientSecretSnapshot),
      select(change.caller, state, 'client_secrets', isIt),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row || row.revoked_at !== null) return { refused: 'entity_not_found' }
      if (!row.is_live) return { refused: 'client_secret_expired' }
      if (row.is_as_asked) return { granted: clientSecretFromRow(row) }
      return { refused: row.is_within_limit ? 'service_unavailable' : 'client_secret_limit_reached' }
    },
  )
}

/** Revokes a secret, for good. Doing it again is a success. */
export function revokeClientSecret(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const isIt = sql`client_secrets.id = ${id}`
  return ask(
    database,
    change.caller,
    'write',
    [
      update(
        database,
        change,
        'client_secrets',
        [sql`revoked_at = ${change.now}`],
        sql`${isIt} AND revoked_at IS NULL`,
      ),
      ...recordEvent(change, 'connect_application_secret.deleted', 'client_secrets', isIt, clientSecretSnapshot),
      select(change.caller, sql`revoked_at`, 'client_secrets', isIt),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row) return { refused: 'entity_not_found' }
      return row.revoked_at === null ? { refused: 'service_unavailable' } : { granted: null }
    },
  )
}

/** Revokes every secret that an application has: one change, one event that names them. None left is a success. */
export function revokeAllClientSecrets(
  database: Database,
  change: Change,
  application: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const isTarget = sql`${isOfApplication(application)} AND ${isLive(change.now)}`
  const firstTouched = sql`client_secrets.id = (SELECT min(first.id) FROM client_secrets AS first
    WHERE first.event_id = ${change.eventId} AND first.application_id = client_secrets.application_id)`
  const data = sql`json_object('application_id', client_secrets.application_id,
    'client_secrets', ${touchedSecrets(change, sql`client_secrets.application_id`)})`
  const isLeft = sql`EXISTS (SELECT 1 FROM client_secrets WHERE application_id = applications.id AND ${isLive(change.now)})`
  return ask(
    database,
    change.caller,
    'write',
    [
      update(database, change, 'client_secrets', [sql`revoked_at = ${change.now}`], isTarget),
      ...recordEvent(
        change,
        'connect_application_secret.deleted',
        'client_secrets',
        sql`${isOfApplication(application)} AND ${firstTouched}`,
        data,
      ),
      select(
        change.caller,
        sql`${isDone(change)} OR NOT ${isLeft} AS is_done`,
        'applications',
        isLiveApplication(application),
      ),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row) return { refused: 'entity_not_found' }
      return row.is_done ? { granted: null } : { refused: 'service_unavailable' }
    },
  )
}

export function clientSecretFromRow(row: Row): ClientSecret {
  return {
    id: row.id as string,
    applicationId: row.application_id as string,
    hint: row.secret_hint as string,
    name: row.name as string | null,
    lastUsedAt: row.last_used_at as number | null,
    expiresAt: row.expires_at as number | null,
    disabledAt: row.disabled_at as number | null,
    createdAt: row.created_at as number,
    updatedAt: row.updated_at as number,
  }
}
