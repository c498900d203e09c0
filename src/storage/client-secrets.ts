import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { isApplication, isLiveApplication } from './applications.ts'
import type { Database, Row } from './database.ts'
import { snapshotOf } from './events.ts'
import { bytes, forgetStale, isNew, type KeyedRequest, readCreated, remember, selectCreated } from './idempotency.ts'
import { ask, type Caller, type Change, insert, type Outcome, recordEvent, select, update } from './statements.ts'

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

export interface NewClientSecret {
  readonly id: string
  /** The application's id or client id, as the caller gave it. */
  readonly application: string
  readonly digest: Bytes
  readonly hint: string
}

export interface CreatedClientSecret {
  /** As it was created. */
  readonly secret: ClientSecret
  /** What the plaintext must hash to. */
  readonly digest: Bytes
  /** From which the plaintext was derived, when the same request had already made this secret; null when it is new. */
  readonly replayedFrom: Bytes | null
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
const columns = raw(COLUMNS.join(', '))
export const clientSecretSnapshot = snapshotOf('client_secrets', COLUMNS)

/** Live: neither revoked nor expired at `now` (unix ms). A disabled one is live, and counts. */
export function isLive(now: number): Sql {
  return sql`client_secrets.revoked_at IS NULL AND (client_secrets.expires_at IS NULL OR client_secrets.expires_at > ${now})`
}

export function createClientSecret(
  database: Database,
  change: Change,
  { id, application, digest, hint }: NewClientSecret,
  limit: number,
  request: KeyedRequest | null,
): Promise<
  Outcome<
    CreatedClientSecret,
    | 'entity_not_found'
    | 'client_secret_limit_reached'
    | 'client_secret_revoked'
    | 'idempotency_key_reused'
    | 'service_unavailable'
  >
> {
  const row = { id, application_id: sql`applications.id`, digest, secret_hint: hint }
  const liveCount = sql`(SELECT count(*) FROM client_secrets WHERE application_id = applications.id AND ${isLive(change.now)})`
  const isMine = sql`client_secrets.id = ${id}`
  const ofTheEvent = (column: 'digest' | 'revoked_at') =>
    sql`(SELECT ${raw(column)} FROM client_secrets WHERE id = events.data ->> 'id') AS ${raw(column)}`
  return ask(
    database,
    change.caller,
    'write',
    [
      ...(request ? [forgetStale(change, request)] : []),
      insert(database, change, 'client_secrets', row, {
        source: sql`JOIN applications ON applications.environment_id = caller.environment_id AND ${isLiveApplication(application)}`,
        where: sql`${liveCount} < ${limit} AND ${isNew(request)}`,
      }),
      recordEvent(change, 'connect_application_secret.created', 'client_secrets', isMine, clientSecretSnapshot),
      ...(request ? [remember(change, request, 'client_secrets', id)] : []),
      selectCreated(change, request, sql`${ofTheEvent('digest')}, ${ofTheEvent('revoked_at')}`),
      select(change.caller, sql`${liveCount} AS live_count`, 'applications', isLiveApplication(application)),
    ],
    (rows) => {
      const [[createdRow] = [], [applicationRow] = []] = rows.slice(-2)
      if (createdRow) {
        const created = readCreated(createdRow, change, request)
        if (typeof created === 'string') return { refused: created }
        if (created.isReplay && createdRow.revoked_at !== null) return { refused: 'client_secret_revoked' }
        const replayedFrom = created.isReplay ? created.salt : null
        return {
          granted: { secret: clientSecretFromRow(created.snapshot), digest: bytes(createdRow.digest), replayedFrom },
        }
      }
      if (!applicationRow) return { refused: 'entity_not_found' }
      if ((applicationRow.live_count as number) >= limit) return { refused: 'client_secret_limit_reached' }
      return { refused: 'service_unavailable' }
    },
  )
}

/** The secrets of an application that live at `now` (unix ms), oldest first. */
export function listClientSecrets(
  database: Database,
  caller: Caller,
  application: string,
  now: number,
): Promise<Outcome<ClientSecret[], 'entity_not_found'>> {
  const ofApplication = sql`application_id = (SELECT id FROM applications WHERE ${isApplication(application)})`
  return ask(
    database,
    caller,
    'read',
    [
      select(caller, columns, 'client_secrets', sql`${ofApplication} AND ${isLive(now)}`, sql`ORDER BY created_at, id`),
      select(caller, sql`1`, 'applications', isLiveApplication(application)),
    ],
    ([secrets = [], found = []]) =>
      found.length > 0 ? { granted: secrets.map(clientSecretFromRow) } : { refused: 'entity_not_found' },
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
      recordEvent(change, 'connect_application_secret.deleted', 'client_secrets', isIt, clientSecretSnapshot),
      select(change.caller, sql`revoked_at`, 'client_secrets', isIt),
    ],
    (rows) => {
      const row = rows.at(-1)?.[0]
      if (!row) return { refused: 'entity_not_found' }
      return row.revoked_at === null ? { refused: 'service_unavailable' } : { granted: null }
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
