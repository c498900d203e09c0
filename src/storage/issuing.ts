import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import {
  type Application,
  type ApplicationRow,
  applicationColumns,
  applicationFromRow,
  matchesLiveApplication,
} from './applications.ts'
import { runBatch } from './batch.ts'
import type { Change, Outcome } from './caller.ts'
import {
  type ClientSecret,
  clientSecretFromRow,
  clientSecretSnapshot,
  countAgainstLimit,
  liveAt,
} from './client-secrets.ts'
import type { Database, UnixMs } from './database.ts'
import {
  type Blob,
  bytes,
  type CreatedRow,
  type Derivation,
  forgetStale,
  type KeyedRequest,
  keyUnused,
  readCreated,
  rememberRequest,
  selectCreated,
} from './idempotency.ts'
import { insert, recordEvent, type Statement, select, touchedSecrets, updateDependent } from './statements.ts'

/** A client secret to be stored: created on its own, or by a rotation. */
export interface NewClientSecret {
  readonly id: string
  /** The application's ID or client ID. */
  readonly application: string
  readonly digest: Bytes
  readonly hint: string
  readonly name: string | null
  /** Null for never. */
  readonly expiresAt: UnixMs | null
}

export interface CreatedClientSecret {
  /** As it was created. */
  readonly secret: ClientSecret
  readonly application: Application
  /** SHA-256 of the plaintext. */
  readonly digest: Bytes
  /** How the plaintext was derived, if the same request had already created the secret; null if the secret is new. */
  readonly replayedFrom: Derivation | null
}

export type IssuingOutcome = Outcome<
  CreatedClientSecret,
  | 'entity_not_found'
  | 'expires_at_past'
  | 'client_secret_limit_reached'
  | 'client_secret_revoked'
  | 'idempotency_key_reused'
  | 'service_unavailable'
>

/** Creates a secret, if the application has fewer than `limit`. */
export function createClientSecret(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  return issue(database, change, secret, request, {
    allowed: sql`${countAgainstLimit(sql`applications.id`, change.now)} < ${limit}`,
    dependent: {},
    event: recordEvent(
      change,
      'connect_application_secret.created',
      'client_secrets',
      matches(secret),
      clientSecretSnapshot,
    ),
  })
}

/**
 * Creates a secret and makes every other live secret of the application expire at `retireAt` or at its own earlier
 * expiry. Those do not count against the limit; at most `limit` of them stay, so the earliest to expire end at once.
 */
export function rotateClientSecrets(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  retireAt: UnixMs,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  const others = sql`client_secrets.id <> ${secret.id} AND ${liveAt(change.now)} AND client_secrets.application_id = (
    SELECT application_id FROM client_secrets AS new WHERE new.id = ${secret.id} AND new.event_id = ${change.eventId})`
  const latestToExpire = sql`SELECT id FROM client_secrets WHERE ${others} ORDER BY expires_at DESC, id DESC LIMIT ${limit}`
  const retired = touchedSecrets(change, sql`client_secrets.application_id`, secret.id)
  return issue(database, change, secret, request, {
    allowed: sql`true`,
    dependent: {
      retired: updateDependent(
        change,
        'client_secrets',
        [sql`is_retiring = 1`, sql`expires_at = min(coalesce(expires_at, ${retireAt}), ${retireAt})`],
        others,
      ),
      revoked: updateDependent(
        change,
        'client_secrets',
        [sql`revoked_at = ${change.now}`],
        sql`${others} AND client_secrets.id NOT IN (${latestToExpire})`,
      ),
    },
    event: recordEvent(
      change,
      'connect_application_secret.rotated',
      'client_secrets',
      matches(secret),
      sql`json_set(${clientSecretSnapshot}, '$.client_secrets', ${retired})`,
    ),
  })
}

interface Issuing {
  readonly allowed: Sql
  /** Other changes that depend on the new secret. */
  readonly dependent: Record<string, Statement>
  readonly event: ReturnType<typeof recordEvent>
}

interface IssuedRow extends CreatedRow {
  readonly digest: Blob
  readonly revoked_at: UnixMs | null
}

function issue(
  database: Database,
  change: Change,
  { id, application, digest, hint, name, expiresAt }: NewClientSecret,
  request: KeyedRequest | null,
  { allowed, dependent, event }: Issuing,
): Promise<IssuingOutcome> {
  const isPast = expiresAt !== null && expiresAt <= change.now
  const row = { id, application_id: sql`applications.id`, digest, secret_hint: hint, name, expires_at: expiresAt }
  const ofTheEvent = (column: 'digest' | 'revoked_at') =>
    sql`(SELECT ${raw(column)} FROM client_secrets WHERE id = events.data ->> 'id') AS ${raw(column)}`
  return runBatch(
    database,
    change.caller,
    'write',
    {
      ...(request && { forgotten: forgetStale(change, request) }),
      inserted: insert(database, change, 'client_secrets', row, {
        source: sql`JOIN applications ON applications.environment_id = caller.environment_id AND ${matchesLiveApplication(application)}`,
        where: sql`${allowed} AND ${Number(isPast)} = 0 AND ${keyUnused(request)}`,
      }),
      ...dependent,
      ...event,
      ...(request && { remembered: rememberRequest(change, request, 'client_secrets', id) }),
      created: selectCreated<IssuedRow>(change, request, sql`${ofTheEvent('digest')}, ${ofTheEvent('revoked_at')}`),
      found: select<ApplicationRow & { is_allowed: 0 | 1 }>(
        change.caller,
        sql`${applicationColumns}, ${allowed} AS is_allowed`,
        'applications',
        matchesLiveApplication(application),
      ),
    },
    ({ created: [created], found: [found] }) => {
      if (created) return readIssued(created, found, change, request)
      if (isPast) return { refused: 'expires_at_past' }
      if (!found) return { refused: 'entity_not_found' }
      return { refused: found.is_allowed ? 'service_unavailable' : 'client_secret_limit_reached' }
    },
  )
}

/** `application` is undefined if it was deleted, and its secrets with it. */
function readIssued(
  row: IssuedRow,
  application: ApplicationRow | undefined,
  change: Change,
  request: KeyedRequest | null,
) {
  const created = readCreated(row, change, request)
  if (typeof created === 'string') return { refused: created }
  if (!application || row.revoked_at !== null) return { refused: 'client_secret_revoked' as const }
  return {
    granted: {
      secret: clientSecretFromRow(JSON.parse(created.data)),
      application: applicationFromRow(application),
      digest: bytes(row.digest),
      replayedFrom: created.isReplay ? created.derivation : null,
    },
  }
}

function matches({ id }: NewClientSecret): Sql {
  return sql`client_secrets.id = ${id}`
}
