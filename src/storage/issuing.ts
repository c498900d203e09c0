import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type Application, applicationColumns, applicationFromRow, isLiveApplication } from './applications.ts'
import {
  type ClientSecret,
  clientSecretFromRow,
  clientSecretSnapshot,
  countAgainstLimit,
  isLive,
} from './client-secrets.ts'
import type { Database, Row } from './database.ts'
import { touchedSecrets } from './event-data.ts'
import {
  bytes,
  type Derivation,
  forgetStale,
  isNew,
  type KeyedRequest,
  readCreated,
  remember,
  selectCreated,
} from './idempotency.ts'
import {
  ask,
  type Change,
  insert,
  type Outcome,
  recordEvent,
  type Statement,
  select,
  updateAlong,
} from './statements.ts'

/** New client secrets: by themselves, or in place of the others. */
export interface NewClientSecret {
  readonly id: string
  /** The application's id or client id, as the caller gave it. */
  readonly application: string
  readonly digest: Bytes
  readonly hint: string
  readonly name: string | null
  /** Unix ms; null for never. */
  readonly expiresAt: number | null
}

export interface CreatedClientSecret {
  /** As it was created. */
  readonly secret: ClientSecret
  readonly application: Application
  /** What the plaintext must hash to. */
  readonly digest: Bytes
  /** From which the plaintext was derived, when the same request had already made this secret; null when it is new. */
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

/** Creates a secret, where the application has fewer than `limit`. */
export function createClientSecret(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  return issue(database, change, secret, request, {
    isAllowed: sql`${countAgainstLimit(sql`applications.id`, change.now)} < ${limit}`,
    along: [],
    event: recordEvent(
      change,
      'connect_application_secret.created',
      'client_secrets',
      isIt(secret),
      clientSecretSnapshot,
    ),
  })
}

/**
 * Creates a secret, and lets every other live one of the application expire at `retireAt` (unix ms), unless it was going
 * to sooner. Those are retiring: outside the limit, and at most as many, so that the earliest to expire go at once.
 */
export function rotateClientSecrets(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  retireAt: number,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  const isOther = sql`client_secrets.id <> ${secret.id} AND ${isLive(change.now)} AND client_secrets.application_id = (
    SELECT application_id FROM client_secrets AS new WHERE new.id = ${secret.id} AND new.event_id = ${change.eventId})`
  const latestToExpire = sql`SELECT id FROM client_secrets WHERE ${isOther} ORDER BY expires_at DESC, id DESC LIMIT ${limit}`
  const retired = touchedSecrets(change, sql`client_secrets.application_id`, secret.id)
  return issue(database, change, secret, request, {
    isAllowed: sql`true`,
    along: [
      updateAlong(
        change,
        'client_secrets',
        [sql`is_retiring = 1`, sql`expires_at = min(coalesce(expires_at, ${retireAt}), ${retireAt})`],
        isOther,
      ),
      updateAlong(
        change,
        'client_secrets',
        [sql`revoked_at = ${change.now}`],
        sql`${isOther} AND client_secrets.id NOT IN (${latestToExpire})`,
      ),
    ],
    event: recordEvent(
      change,
      'connect_application_secret.rotated',
      'client_secrets',
      isIt(secret),
      sql`json_set(${clientSecretSnapshot}, '$.client_secrets', ${retired})`,
    ),
  })
}

interface Issuing {
  readonly isAllowed: Sql
  /** What else changes. */
  readonly along: Statement[]
  readonly event: Statement[]
}

function issue(
  database: Database,
  change: Change,
  { id, application, digest, hint, name, expiresAt }: NewClientSecret,
  request: KeyedRequest | null,
  { isAllowed, along, event }: Issuing,
): Promise<IssuingOutcome> {
  const isPast = expiresAt !== null && expiresAt <= change.now
  const row = { id, application_id: sql`applications.id`, digest, secret_hint: hint, name, expires_at: expiresAt }
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
        where: sql`${isAllowed} AND ${Number(isPast)} = 0 AND ${isNew(request)}`,
      }),
      ...along,
      ...event,
      ...(request ? [remember(change, request, 'client_secrets', id)] : []),
      selectCreated(change, request, sql`${ofTheEvent('digest')}, ${ofTheEvent('revoked_at')}`),
      select(
        change.caller,
        sql`${applicationColumns}, ${isAllowed} AS is_allowed`,
        'applications',
        isLiveApplication(application),
      ),
    ],
    (rows) => {
      const [created, found] = rows.slice(-2).map(([first]) => first)
      if (created) return readIssued(created, found, change, request)
      if (isPast) return { refused: 'expires_at_past' }
      if (!found) return { refused: 'entity_not_found' }
      return { refused: found.is_allowed ? 'service_unavailable' : 'client_secret_limit_reached' }
    },
  )
}

/** `found` is the application; where it is gone, so are its secrets. */
function readIssued(row: Row, found: Row | undefined, change: Change, request: KeyedRequest | null): IssuingOutcome {
  const created = readCreated(row, change, request)
  if (typeof created === 'string') return { refused: created }
  if (!found || row.revoked_at !== null) return { refused: 'client_secret_revoked' }
  return {
    granted: {
      secret: clientSecretFromRow(created.snapshot),
      application: applicationFromRow(found),
      digest: bytes(row.digest),
      replayedFrom: created.isReplay ? created.derivation : null,
    },
  }
}

function isIt({ id }: NewClientSecret): Sql {
  return sql`client_secrets.id = ${id}`
}
