import sql, { raw, type Sql } from 'sql-template-tag'
import {
  type Application,
  type ApplicationRow,
  applicationColumns,
  applicationFromRow,
  type Joined,
  joinLiveApplication,
  matchesApplication,
} from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import {
  allOf,
  type CallerRow,
  type ChangeRow,
  columnsOf,
  environmentOf,
  recordEvent,
  select,
  selectChangeVerdict,
  selectVerdict,
  snapshotOf,
  touchedSecrets,
  update,
} from './statements.ts'

export interface ClientSecret {
  readonly id: string
  readonly applicationId: string
  /** The last six characters. */
  readonly hint: string
  readonly name: string | null
  /** ID of the API key that created it; null if it is not known. */
  readonly createdBy: string | null
  /** Null before the first use. */
  readonly lastUsedAt: UnixMs | null
  /** Null for never. */
  readonly expiresAt: UnixMs | null
  /** Rotated out, so it does not count against the limit. */
  readonly isRotatedOut: boolean
  /** Null unless it is disabled. */
  readonly disabledAt: UnixMs | null
  readonly createdAt: UnixMs
  /** Set by changes, not by use. */
  readonly updatedAt: UnixMs
}

export interface ApplicationWithSecrets {
  readonly application: Application
  /** The live ones, oldest first. */
  readonly secrets: readonly ClientSecret[]
}

export interface FoundClientSecret extends ClientSecret {
  readonly applicationName: string
}

/** Undefined members stay unchanged. */
export interface ClientSecretChanges {
  readonly name?: string | null | undefined
  /** In the future; null for never. Beyond its grace period, a secret that was rotated out is kept. */
  readonly expiresAt?: UnixMs | null | undefined
  readonly disabled?: boolean | undefined
}

export interface ClientSecretRow {
  readonly id: string
  readonly application_id: string
  readonly secret_hint: string
  readonly name: string | null
  readonly created_by: string | null
  readonly last_used_at: UnixMs | null
  readonly expires_at: UnixMs | null
  readonly is_rotated_out: 0 | 1
  readonly disabled_at: UnixMs | null
  readonly created_at: UnixMs
  readonly updated_at: UnixMs
}

const COLUMNS: readonly (keyof ClientSecretRow)[] = [
  'id',
  'application_id',
  'secret_hint',
  'name',
  'created_by',
  'last_used_at',
  'expires_at',
  'is_rotated_out',
  'disabled_at',
  'created_at',
  'updated_at',
]
export const clientSecretColumns = columnsOf('client_secrets', COLUMNS)
export const clientSecretSnapshot = snapshotOf('client_secrets', COLUMNS)

/** Condition: neither revoked nor expired at `now`. Disabled secrets are live, too, and count against the limit. */
export function liveAt(now: UnixMs, secrets: Sql = raw('client_secrets')): Sql {
  return sql`${secrets}.ended_at = 0 AND (${secrets}.expires_at IS NULL OR ${secrets}.expires_at > ${now})`
}

/** The number of secrets that count against the limit of the application of a row of `table`. */
export function countAgainstLimit(table: 'applications' | 'client_secrets', applicationId: string, now: UnixMs): Sql {
  return sql`(SELECT count(*) FROM client_secrets AS counted INDEXED BY client_secrets_by_application WHERE counted.environment_id = ${raw(table)}.environment_id
    AND counted.application_id = ${raw(table)}.${raw(applicationId)} AND ${liveAt(now, raw('counted'))} AND NOT counted.is_rotated_out)`
}

/** Names a secret; with the ID or client ID of an application, only if it belongs to that application. */
export interface SecretReference {
  readonly id: string
  readonly application?: string
}

/** Condition: the secret that a caller refers to. */
function referredTo(caller: Caller, { id, application }: SecretReference): Sql {
  const isOne = sql`client_secrets.id = ${id}`
  return application === undefined ? isOne : sql`${isOne} AND client_secrets.${ofApplication(caller, application)}`
}

/** Condition: the secret belongs to the application with this ID or client ID. */
function ofApplication(caller: Caller, application: string): Sql {
  return sql`application_id = (SELECT id FROM applications
    WHERE environment_id = ${environmentOf(caller)} AND ${matchesApplication(application)})`
}

const oldestFirst = sql`ORDER BY created_at, id`

export const BY_APPLICATION = 'client_secrets INDEXED BY client_secrets_by_application'

export function findClientSecret(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<ClientSecret, 'entity_not_found'>> {
  const verdict = selectVerdict<CallerRow & Joined<ClientSecretRow>>(
    caller,
    clientSecretColumns,
    sql`LEFT ${joinSecret(referredTo(caller, { id }))} AND client_secrets.revoked_at IS NULL`,
  )
  return runBatch(database, caller, 'read', { verdict }, ({ verdict }) =>
    verdict.id === null ? { refused: 'entity_not_found' } : { granted: clientSecretFromRow(verdict) },
  )
}

/** An application, by its ID or client ID, with its live secrets, oldest first. */
export function findApplicationWithSecrets(
  database: Database,
  caller: Caller,
  id: string,
  now: UnixMs,
): Promise<Outcome<ApplicationWithSecrets, 'entity_not_found'>> {
  const whereListed = sql`${ofApplication(caller, id)} AND ${liveAt(now)}`
  return runBatch(
    database,
    caller,
    'read',
    {
      verdict: selectVerdict<CallerRow & Joined<ApplicationRow>>(
        caller,
        applicationColumns,
        sql`LEFT ${joinLiveApplication(id)}`,
      ),
      secrets: select<ClientSecretRow>(caller, clientSecretColumns, BY_APPLICATION, whereListed, oldestFirst),
    },
    ({ verdict, secrets }) =>
      verdict.id === null
        ? { refused: 'entity_not_found' }
        : { granted: { application: applicationFromRow(verdict), secrets: secrets.map(clientSecretFromRow) } },
  )
}

/** The live secrets of the environment that end in `hint`, oldest first. */
export function findClientSecretsByHint(
  database: Database,
  caller: Caller,
  hint: string,
  now: UnixMs,
): Promise<Outcome<FoundClientSecret[]>> {
  const applicationName = sql`(SELECT name FROM applications
    WHERE environment_id = client_secrets.environment_id AND id = client_secrets.application_id) AS application_name`
  const secrets = select<ClientSecretRow & { application_name: string }>(
    caller,
    sql`${clientSecretColumns}, ${applicationName}`,
    'client_secrets INDEXED BY client_secrets_by_hint',
    sql`secret_hint = ${hint} AND ${liveAt(now)}`,
    oldestFirst,
  )
  return runBatch(database, caller, 'read', { secrets }, ({ secrets }) => ({
    granted: secrets.map((row) => ({ ...clientSecretFromRow(row), applicationName: row.application_name })),
  }))
}

/**
 * Changes name, expiry or state of a secret. A change to what is already set is a success without an event. An expired
 * secret stays expired. One that was rotated out counts against the limit again if it is to outlive its grace period.
 */
export function updateClientSecret(
  database: Database,
  change: Change,
  reference: SecretReference,
  { name, expiresAt, disabled }: ClientSecretChanges,
  limit: number,
): Promise<
  Outcome<
    ClientSecret,
    'entity_not_found' | 'client_secret_expired' | 'client_secret_limit_reached' | 'service_unavailable'
  >
> {
  const type = 'connect_application_secret.updated'
  const set: Sql[] = []
  const alreadySet: Sql[] = []
  if (name !== undefined) {
    set.push(sql`name = ${name}`)
    alreadySet.push(sql`client_secrets.name IS ${name}`)
  }
  if (expiresAt !== undefined) {
    set.push(sql`expires_at = ${expiresAt}`)
    alreadySet.push(sql`expires_at IS ${expiresAt}`)
  }
  if (disabled !== undefined) {
    set.push(disabled ? sql`disabled_at = coalesce(disabled_at, ${change.now})` : sql`disabled_at = NULL`)
    alreadySet.push(sql`(disabled_at IS NOT NULL) = ${Number(disabled)}`)
  }
  const unchanged = sql`(${allOf(alreadySet)})`
  const secret = referredTo(change.caller, reference)
  const live = sql`(${liveAt(change.now)})`
  const staysOut = sql`NOT is_rotated_out OR ${expiresAt ?? null} <= retires_at`
  const withinLimit =
    expiresAt === undefined
      ? sql`true`
      : sql`(${staysOut} OR ${countAgainstLimit('client_secrets', 'application_id', change.now)} < ${limit})`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      updated: update(
        database,
        change,
        'client_secrets',
        set,
        sql`${secret} AND ${live} AND NOT ${unchanged} AND ${withinLimit}`,
      ),
      event: recordEvent(change, type, 'client_secrets', secret, clientSecretSnapshot),
      verdict: selectChangeVerdict<
        ChangeRow & Joined<ClientSecretRow & { is_live: 0 | 1; is_unchanged: 0 | 1; is_within_limit: 0 | 1 }>
      >(
        change,
        type,
        sql`${clientSecretColumns}, ${live} AS is_live, ${unchanged} AS is_unchanged, ${withinLimit} AS is_within_limit`,
        sql`LEFT ${joinSecret(secret)} AND client_secrets.revoked_at IS NULL`,
      ),
    },
    ({ verdict }) => {
      if (verdict.id === null) return { refused: 'entity_not_found' }
      if (!verdict.is_live) return { refused: 'client_secret_expired' }
      if (verdict.is_done || verdict.is_unchanged) return { granted: clientSecretFromRow(verdict) }
      return { refused: verdict.is_within_limit ? 'service_unavailable' : 'client_secret_limit_reached' }
    },
  )
}

/** Revokes a secret, which can't be undone. Idempotent. */
export function revokeClientSecret(
  database: Database,
  change: Change,
  reference: SecretReference,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const type = 'connect_application_secret.deleted'
  const secret = referredTo(change.caller, reference)
  return runBatch(
    database,
    change.caller,
    'write',
    {
      revoked: update(
        database,
        change,
        'client_secrets',
        [sql`revoked_at = ${change.now}`],
        sql`${secret} AND revoked_at IS NULL`,
      ),
      event: recordEvent(change, type, 'client_secrets', secret, clientSecretSnapshot),
      verdict: selectChangeVerdict<ChangeRow & Joined<{ id: string; revoked_at: UnixMs | null }>>(
        change,
        type,
        sql`client_secrets.id, client_secrets.revoked_at`,
        sql`LEFT ${joinSecret(secret)}`,
      ),
    },
    ({ verdict }) => {
      if (verdict.id === null) return { refused: 'entity_not_found' }
      return verdict.revoked_at === null ? { refused: 'service_unavailable' } : { granted: null }
    },
  )
}

/** Revokes all live secrets of an application: one change, one event that names them. Succeeds if there is none. */
export function revokeAllClientSecrets(
  database: Database,
  change: Change,
  application: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const type = 'connect_application_secret.deleted'
  const ofCaller = ofApplication(change.caller, application)
  const firstRevoked = sql`(SELECT min(id) FROM ${raw(BY_APPLICATION)} WHERE environment_id = ${environmentOf(change.caller)}
    AND ${ofCaller} AND ended_at = ${change.now} AND event_id = ${change.eventId})`
  const data = sql`json_object('application_id', client_secrets.application_id,
    'client_secrets', ${touchedSecrets(change, 'client_secrets', 'application_id')})`
  const anyLeft = sql`EXISTS (SELECT 1 FROM client_secrets INDEXED BY client_secrets_by_application
    WHERE client_secrets.environment_id = applications.environment_id
    AND application_id = applications.id AND ${liveAt(change.now)})`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      revoked: update(
        database,
        change,
        BY_APPLICATION,
        [sql`revoked_at = ${change.now}`],
        sql`${ofCaller} AND ${liveAt(change.now)}`,
      ),
      event: recordEvent(change, type, 'client_secrets', sql`client_secrets.id = ${firstRevoked}`, data),
      verdict: selectChangeVerdict<ChangeRow & Joined<{ id: string; is_any_left: 0 | 1 }>>(
        change,
        type,
        sql`applications.id, ${anyLeft} AS is_any_left`,
        sql`LEFT ${joinLiveApplication(application)}`,
      ),
    },
    ({ verdict }) => {
      if (verdict.id === null) return { refused: 'entity_not_found' }
      return verdict.is_done || !verdict.is_any_left ? { granted: null } : { refused: 'service_unavailable' }
    },
  )
}

/** Joins a secret to the caller. */
function joinSecret(secret: Sql): Sql {
  return sql`JOIN client_secrets ON client_secrets.environment_id = caller.environment_id AND ${secret}`
}

export function clientSecretFromRow(row: ClientSecretRow): ClientSecret {
  return {
    id: row.id,
    applicationId: row.application_id,
    hint: row.secret_hint,
    name: row.name,
    createdBy: row.created_by,
    lastUsedAt: row.last_used_at,
    expiresAt: row.expires_at,
    isRotatedOut: row.is_rotated_out === 1,
    disabledAt: row.disabled_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}
