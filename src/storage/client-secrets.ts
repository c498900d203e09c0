import sql, { raw, type Sql } from 'sql-template-tag'
import { matchesApplication, matchesLiveApplication } from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Change, Outcome } from './caller.ts'
import type { Database, UnixMs } from './database.ts'
import { allOf, eventExists, recordEvent, select, snapshotOf, touchedSecrets, update } from './statements.ts'

export interface ClientSecret {
  readonly id: string
  readonly applicationId: string
  /** The last six characters. */
  readonly hint: string
  readonly name: string | null
  /** Null before the first use. */
  readonly lastUsedAt: UnixMs | null
  /** Null for never. */
  readonly expiresAt: UnixMs | null
  /** Null unless it is disabled. */
  readonly disabledAt: UnixMs | null
  readonly createdAt: UnixMs
  /** Set by changes, not by use. */
  readonly updatedAt: UnixMs
}

/** Undefined members stay unchanged. */
export interface ClientSecretChanges {
  readonly name?: string | null | undefined
  /** In the future; null for never, which also keeps a secret that was rotated out. */
  readonly expiresAt?: UnixMs | null | undefined
  readonly disabled?: boolean | undefined
}

export interface ClientSecretRow {
  readonly id: string
  readonly application_id: string
  readonly secret_hint: string
  readonly name: string | null
  readonly last_used_at: UnixMs | null
  readonly expires_at: UnixMs | null
  readonly disabled_at: UnixMs | null
  readonly created_at: UnixMs
  readonly updated_at: UnixMs
}

const COLUMNS: readonly (keyof ClientSecretRow)[] = [
  'id',
  'application_id',
  'secret_hint',
  'name',
  'last_used_at',
  'expires_at',
  'disabled_at',
  'created_at',
  'updated_at',
]
export const clientSecretColumns = raw(COLUMNS.join(', '))
export const clientSecretSnapshot = snapshotOf('client_secrets', COLUMNS)

/** Condition: neither revoked nor expired at `now`. Disabled secrets are live, too, and count against the limit. */
export function liveAt(now: UnixMs, secrets: Sql = raw('client_secrets')): Sql {
  return sql`${secrets}.revoked_at IS NULL AND (${secrets}.expires_at IS NULL OR ${secrets}.expires_at > ${now})`
}

/**
 * The number of secrets that count against the limit of an application: the live ones except those rotated out. They
 * have an alias here, so that `applicationId` may be a column of `client_secrets` in the enclosing query.
 */
export function countAgainstLimit(applicationId: Sql, now: UnixMs): Sql {
  return sql`(SELECT count(*) FROM client_secrets AS counted
    WHERE counted.application_id = ${applicationId} AND ${liveAt(now, raw('counted'))} AND counted.is_retiring = 0)`
}

/** Condition: the secret belongs to the application with this ID or client ID. */
export function ofApplication(application: string): Sql {
  return sql`client_secrets.application_id = (SELECT id FROM applications WHERE ${matchesApplication(application)})`
}

export const oldestFirst = sql`ORDER BY created_at, id`

export function findClientSecret(
  database: Database,
  caller: Caller,
  id: string,
): Promise<Outcome<ClientSecret, 'entity_not_found'>> {
  const matches = sql`client_secrets.id = ${id} AND revoked_at IS NULL`
  const found = select<ClientSecretRow>(caller, clientSecretColumns, 'client_secrets', matches)
  return runBatch(database, caller, 'read', { found }, ({ found: [row] }) =>
    row ? { granted: clientSecretFromRow(row) } : { refused: 'entity_not_found' },
  )
}

/** The live secrets of an application, oldest first. */
export function listClientSecrets(
  database: Database,
  caller: Caller,
  application: string,
  now: UnixMs,
): Promise<Outcome<ClientSecret[], 'entity_not_found'>> {
  const whereListed = sql`${ofApplication(application)} AND ${liveAt(now)}`
  return runBatch(
    database,
    caller,
    'read',
    {
      secrets: select<ClientSecretRow>(caller, clientSecretColumns, 'client_secrets', whereListed, oldestFirst),
      found: select(caller, sql`1`, 'applications', matchesLiveApplication(application)),
    },
    ({ secrets, found }) =>
      found.length > 0 ? { granted: secrets.map(clientSecretFromRow) } : { refused: 'entity_not_found' },
  )
}

/** The live secrets of the environment that end in `hint`, oldest first. */
export function findClientSecretsByHint(
  database: Database,
  caller: Caller,
  hint: string,
  now: UnixMs,
): Promise<Outcome<ClientSecret[]>> {
  const matches = sql`secret_hint = ${hint} AND ${liveAt(now)}`
  const secrets = select<ClientSecretRow>(caller, clientSecretColumns, 'client_secrets', matches, oldestFirst)
  return runBatch(database, caller, 'read', { secrets }, ({ secrets }) => ({
    granted: secrets.map(clientSecretFromRow),
  }))
}

/**
 * Changes name, expiry or state of a secret. A change to what is already set is a success without an event. An expired
 * secret stays expired. A secret that was rotated out counts against the limit again once it never expires.
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
  const alreadySet: Sql[] = []
  if (name !== undefined) {
    set.push(sql`name = ${name}`)
    alreadySet.push(sql`name IS ${name}`)
  }
  if (expiresAt !== undefined) {
    set.push(sql`expires_at = ${expiresAt}`, sql`expiry_noted_at = NULL`)
    alreadySet.push(sql`expires_at IS ${expiresAt}`)
  }
  if (expiresAt === null) set.push(sql`is_retiring = 0`)
  if (disabled !== undefined) {
    set.push(disabled ? sql`disabled_at = coalesce(disabled_at, ${change.now})` : sql`disabled_at = NULL`)
    alreadySet.push(sql`(disabled_at IS NOT NULL) = ${Number(disabled)}`)
  }
  const unchanged = sql`(${allOf(alreadySet)})`
  const matches = sql`client_secrets.id = ${id}`
  const withinLimit =
    expiresAt === null
      ? sql`(is_retiring = 0 OR ${countAgainstLimit(sql`client_secrets.application_id`, change.now)} < ${limit})`
      : sql`true`
  const state = sql`${clientSecretColumns}, revoked_at, ${liveAt(change.now)} AS is_live,
    ${eventExists(change)} OR ${unchanged} AS is_done, ${withinLimit} AS is_within_limit`
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
        sql`${matches} AND ${liveAt(change.now)} AND NOT ${unchanged} AND ${withinLimit}`,
      ),
      ...recordEvent(change, 'connect_application_secret.updated', 'client_secrets', matches, clientSecretSnapshot),
      found: select<
        ClientSecretRow & { revoked_at: UnixMs | null; is_live: 0 | 1; is_done: 0 | 1; is_within_limit: 0 | 1 }
      >(change.caller, state, 'client_secrets', matches),
    },
    ({ found: [row] }) => {
      if (!row || row.revoked_at !== null) return { refused: 'entity_not_found' }
      if (!row.is_live) return { refused: 'client_secret_expired' }
      if (row.is_done) return { granted: clientSecretFromRow(row) }
      return { refused: row.is_within_limit ? 'service_unavailable' : 'client_secret_limit_reached' }
    },
  )
}

/** Revokes a secret, which can't be undone. Idempotent. */
export function revokeClientSecret(
  database: Database,
  change: Change,
  id: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const matches = sql`client_secrets.id = ${id}`
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
        sql`${matches} AND revoked_at IS NULL`,
      ),
      ...recordEvent(change, 'connect_application_secret.deleted', 'client_secrets', matches, clientSecretSnapshot),
      found: select<{ revoked_at: UnixMs | null }>(change.caller, sql`revoked_at`, 'client_secrets', matches),
    },
    ({ found: [row] }) => {
      if (!row) return { refused: 'entity_not_found' }
      return row.revoked_at === null ? { refused: 'service_unavailable' } : { granted: null }
    },
  )
}

/** Revokes all live secrets of an application: one change, one event that names them. Succeeds if there is none. */
export function revokeAllClientSecrets(
  database: Database,
  change: Change,
  application: string,
): Promise<Outcome<null, 'entity_not_found' | 'service_unavailable'>> {
  const whereRevoked = sql`${ofApplication(application)} AND ${liveAt(change.now)}`
  const firstTouched = sql`client_secrets.id = (SELECT min(first.id) FROM client_secrets AS first
    WHERE first.event_id = ${change.eventId} AND first.application_id = client_secrets.application_id)`
  const data = sql`json_object('application_id', client_secrets.application_id,
    'client_secrets', ${touchedSecrets(change, sql`client_secrets.application_id`)})`
  const anyLeft = sql`EXISTS (SELECT 1 FROM client_secrets WHERE application_id = applications.id AND ${liveAt(change.now)})`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      revoked: update(database, change, 'client_secrets', [sql`revoked_at = ${change.now}`], whereRevoked),
      ...recordEvent(
        change,
        'connect_application_secret.deleted',
        'client_secrets',
        sql`${ofApplication(application)} AND ${firstTouched}`,
        data,
      ),
      found: select<{ is_done: 0 | 1 }>(
        change.caller,
        sql`${eventExists(change)} OR NOT ${anyLeft} AS is_done`,
        'applications',
        matchesLiveApplication(application),
      ),
    },
    ({ found: [row] }) => {
      if (!row) return { refused: 'entity_not_found' }
      return row.is_done ? { granted: null } : { refused: 'service_unavailable' }
    },
  )
}

export function clientSecretFromRow(row: ClientSecretRow): ClientSecret {
  return {
    id: row.id,
    applicationId: row.application_id,
    hint: row.secret_hint,
    name: row.name,
    lastUsedAt: row.last_used_at,
    expiresAt: row.expires_at,
    disabledAt: row.disabled_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}
