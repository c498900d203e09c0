import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type Application, applicationMapping, areScopesKnown, joinLiveApplication } from './applications.ts'
import { runChange } from './batch.ts'
import type { Change, Outcome, Result } from './caller.ts'
import { eventExists } from './caller-conditions.ts'
import { type ClientSecret, clientSecretMapping, countAgainstLimit, liveAt } from './client-secrets.ts'
import { afterResponse, type Blob, type Database, measuredApart, sendBatch, type UnixMs } from './database.ts'
import { organizationOfSecret, recordAuditEvent, touchedSecrets } from './event-statements.ts'
import type { EventType } from './events.ts'
import { withEvent } from './history.ts'
import {
  bytes,
  type Derivation,
  joinOriginal,
  type KeyedRequest,
  keyUnused,
  type Original,
  type OriginalRow,
  originalColumns,
  readOriginal,
  rememberRequest,
} from './idempotency.ts'
import { isAllowedExpiry, lifetimeOf, passedReminder } from './secret-lifetime.ts'
import { BY_APPLICATION, insert, limitTo, type Statement, updateDependent, updateUnstamped } from './statements.ts'
import type { FoundChangeRow } from './verdicts.ts'

/** A client secret to store: one that is created, or one that replaces others. */
export interface NewClientSecret {
  readonly id: string
  /** The application's ID or client ID. */
  readonly application: string
  readonly digest: Bytes
  readonly hint: string
  readonly name: string | null
  /** The time of the expiry. If it is null, the secret never expires, or expires as late as the environment allows. */
  readonly expiresAt: UnixMs | null
}

/**
 * The limits of a new secret. A rotation copies them from a secret that it replaces. If the application has no active
 * secret, it copies them from the latest one, even if that one is revoked or expired. So limits are kept if a leaked
 * secret is revoked first, and rotated afterwards.
 */
export interface SecretLimits {
  /** Scopes of the application; null for all of them. */
  readonly scopes: readonly string[] | null
  /** IP ranges; null for every IP address. */
  readonly allowedIps: readonly string[] | null
}

export interface CreatedClientSecret {
  /** The secret as it was created. */
  readonly secret: ClientSecret
  readonly application: Application
  /** SHA-256 of the plaintext. */
  readonly digest: Bytes
  /**
   * The values from which the plaintext was derived, if an earlier attempt of the request created the secret. Null if
   * this change created it.
   */
  readonly replayedFrom: Derivation | null
}

type IssuingRefusal =
  | 'entity_not_found'
  | 'environment_frozen'
  | 'expires_at_past'
  | 'expires_at_too_late'
  | 'scopes_unknown'
  | 'client_secret_limit_reached'
  | 'client_secret_revoked'
  | 'client_secret_disabled'
  | 'client_secret_expired'
  | 'application_deleted'
  | 'idempotency_key_reused'
  | 'service_unavailable'
export type IssuingOutcome = Outcome<CreatedClientSecret, IssuingRefusal>

/** Creates a secret, if fewer than `limit` secrets of the application count against the limit. */
export function createClientSecret(
  database: Database,
  change: Change,
  secret: NewClientSecret & SecretLimits,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  return issue(database, change, secret, request, {
    type: 'connect_application_secret.created',
    limits: secret,
    withinLimit: sql`${countAgainstLimit('applications', 'id', change.now)} < ${limit}`,
    data: clientSecretMapping.snapshot,
  })
}

/**
 * Creates a secret, and sets the expiry of all other active and disabled secrets of the application to `retireAt`,
 * unless they expire earlier. Those secrets do not count against the limit. If there are more than `limit` of them,
 * those that expire first are revoked immediately.
 */
export function rotateClientSecrets(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  retireAt: UnixMs,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  return rotate(database, change, secret, request, {
    retireAt,
    limit,
    replaced: liveAt(change.now),
    models: sql`client_secrets.ended_at = 0 AND NOT client_secrets.is_rotated_out`,
    withinLimit: sql`true`,
  })
}

/**
 * Creates a secret that replaces one whose plaintext did not reach the user. The replaced secret expires immediately.
 */
export function replaceClientSecret(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  replacedId: string,
  limit: number,
  request: KeyedRequest | null,
): Promise<IssuingOutcome> {
  const counts = sql`EXISTS (SELECT 1 FROM client_secrets WHERE environment_id = applications.environment_id
    AND id = ${replacedId} AND application_id = applications.id AND ${liveAt(change.now)} AND NOT is_rotated_out)`
  const withinLimit = sql`(${counts} OR ${countAgainstLimit('applications', 'id', change.now)} < ${limit})`
  return rotate(database, change, secret, request, {
    retireAt: change.now,
    limit,
    replaced: sql`client_secrets.id = ${replacedId}`,
    models: sql`client_secrets.id = ${replacedId}`,
    withinLimit,
  })
}

interface Rotation {
  readonly retireAt: UnixMs
  readonly limit: number
  /** Condition: the new secret replaces this secret. */
  readonly replaced: Sql
  /** Condition: the new secret may take its limits from this secret. Replaced secrets are preferred. */
  readonly models: Sql
  readonly withinLimit: Sql
}

function rotate(
  database: Database,
  change: Change,
  secret: NewClientSecret,
  request: KeyedRequest | null,
  { retireAt, limit, replaced, models, withinLimit }: Rotation,
): Promise<IssuingOutcome> {
  const ofNew = (column: 'environment_id' | 'application_id') =>
    sql`(SELECT ${raw(column)} FROM client_secrets WHERE digest = ${secret.digest} AND event_id = ${change.eventId})`
  const others = sql`id <> ${secret.id} AND application_id = ${ofNew('application_id')} AND ${liveAt(change.now)} AND ${replaced}`
  const ofApplication = sql`FROM ${raw(BY_APPLICATION)} WHERE client_secrets.environment_id = applications.environment_id
    AND client_secrets.application_id = applications.id`
  const model = sql`coalesce((SELECT client_secrets.id ${ofApplication} AND ${models} ORDER BY NOT (${replaced}),
      client_secrets.disabled_at IS NOT NULL, client_secrets.id DESC LIMIT 1),
    (SELECT client_secrets.id ${ofApplication} ORDER BY client_secrets.id DESC LIMIT 1))`
  const latest = (
    column: 'allowed_scopes' | 'allowed_ips',
  ) => sql`(SELECT client_secrets.${raw(column)} FROM client_secrets
    WHERE client_secrets.environment_id = applications.environment_id AND client_secrets.id = ${model})`
  const expiry = sql`min(coalesce(expires_at, ${retireAt}), ${retireAt})`
  const latestToExpire = sql`SELECT id FROM ${raw(BY_APPLICATION)} WHERE environment_id = ${ofNew('environment_id')} AND ${others}
    ORDER BY ${expiry} DESC, id DESC ${limitTo(limit)}`
  const set = [
    sql`retires_at = ${retireAt}`,
    sql`expires_at = ${expiry}`,
    sql`reminded_days = ${passedReminder(sql`${expiry} - ${change.now}`)}`,
  ]
  if (retireAt > change.now) set.push(sql`revoked_at = CASE WHEN id NOT IN (${latestToExpire}) THEN ${change.now} END`)
  const touched = touchedSecrets(change, 'client_secrets', 'application_id', secret.id)
  return issue(database, change, secret, request, {
    type: 'connect_application_secret.rotated',
    limits: latest,
    withinLimit,
    retired: updateDependent(change, 'secrets:write', BY_APPLICATION, set, others),
    data: sql`json_set(${clientSecretMapping.snapshot}, '$.client_secrets', ${touched})`,
  })
}

interface Issuing {
  readonly type: EventType
  /** The limits of the new secret, or a function that returns SQL for reading them from a replaced secret. */
  readonly limits: SecretLimits | ((column: 'allowed_scopes' | 'allowed_ips') => Sql)
  readonly withinLimit: Sql
  /** The statement that changes the replaced secrets. */
  readonly retired?: Statement
  /** SQL for the data of the event. */
  readonly data: Sql
}

interface IssuedColumns extends FoundChangeRow {
  readonly digest: Blob
  readonly disabled_at: UnixMs | null
  readonly expires_at: UnixMs | null
  readonly revoked_at: UnixMs | null
  /** Null if the secret was created. */
  readonly is_within_limit: 0 | 1 | null
  readonly is_allowed: 0 | 1
  readonly is_known: 0 | 1
  readonly is_frozen: 0 | 1
}
type IssuedRow = OriginalRow & IssuedColumns

async function issue(
  database: Database,
  change: Change,
  { id, application, digest, hint, name, expiresAt }: NewClientSecret,
  request: KeyedRequest | null,
  { type, limits, withinLimit, retired, data }: Issuing,
): Promise<IssuingOutcome> {
  const isPast = expiresAt !== null && expiresAt <= change.now
  const lifetime = lifetimeOf('environment')
  const latest = sql`${change.now} + ${lifetime}`
  const isAllowed = expiresAt === null ? sql`true` : isAllowedExpiry(expiresAt, latest)
  const isKnown = areScopesKnown(typeof limits === 'function' ? null : limits.scopes)
  const row = {
    id,
    application_id: sql`applications.id`,
    digest,
    secret_hint: hint,
    name,
    created_by: sql`caller.id`,
    created_by_name: sql`caller.name`,
    created_by_person: sql`caller.person`,
    history: JSON.stringify([change.eventId]),
    expires_at: expiresAt ?? latest,
    reminded_days: passedReminder(expiresAt === null ? lifetime : expiresAt - change.now),
    allowed_scopes:
      typeof limits === 'function' ? limits('allowed_scopes') : limits.scopes && JSON.stringify(limits.scopes),
    allowed_ips:
      typeof limits === 'function' ? limits('allowed_ips') : limits.allowedIps && JSON.stringify(limits.allowedIps),
  }
  const environment = sql`JOIN environments AS environment ON environment.id = caller.environment_id`
  const source = joinLiveApplication(application)
  const frozen = raw('environment.frozen_at IS NOT NULL')
  const where = sql`NOT (${frozen}) AND ${withinLimit} AND ${isAllowed} AND ${isKnown} AND ${raw(`${!isPast}`)}
    AND ${keyUnused(change, request)}`
  const plan = {
    type,
    statements: {
      inserted: insert(database, change, 'client_secrets', row, sql`${environment} ${source}`, where),
      ...(retired && { retired }),
    },
    event: { table: 'client_secrets', where: sql`client_secrets.id = ${id}`, data },
    record: request && rememberRequest(change, request),
    columns: sql`${applicationMapping.columns}, ${originalColumns(request)},
      created.digest, created.disabled_at, created.expires_at, created.revoked_at,
      CASE WHEN original.id IS NULL THEN ${withinLimit} END AS is_within_limit,
      ${isAllowed} AS is_allowed, ${isKnown} AS is_known, ${frozen} AS is_frozen`,
    joined: sql`${environment} LEFT ${source} ${joinOriginal(change, request)} LEFT JOIN client_secrets AS created
      ON created.environment_id = caller.environment_id AND created.id = original.data ->> 'id'`,
  } as const
  const read = (verdict: IssuedRow): Result<CreatedClientSecret, IssuingRefusal> => {
    if (verdict.is_frozen && !verdict.is_done) return { refused: 'environment_frozen' }
    const original = readOriginal(verdict, change, request)
    if (original) return original.refused ? original : readIssued(verdict, original.granted, change.now)
    if (isPast) return { refused: 'expires_at_past' }
    if (verdict.id === null) return { refused: 'entity_not_found' }
    if (!verdict.is_known) return { refused: 'scopes_unknown' }
    if (!verdict.is_allowed) return { refused: 'expires_at_too_late' }
    return { refused: verdict.is_within_limit ? 'service_unavailable' : 'client_secret_limit_reached' }
  }
  const outcome = await runChange(database, change, plan, read)
  if (!outcome.refused && outcome.granted.replayedFrom) recordReplay(database, change, outcome.granted.secret.id)
  return outcome
}

/** Records, after the response, that the plaintext of a secret was returned again. */
function recordReplay(database: Database, change: Change, id: string): void {
  const secret = sql`JOIN client_secrets ON client_secrets.environment_id = caller.environment_id AND client_secrets.id = ${id}`
  const event = recordAuditEvent(
    database,
    change,
    'secrets:write',
    'connect_application_secret.replayed',
    clientSecretMapping.snapshot,
    secret,
    organizationOfSecret,
  )
  const isNew = sql`${eventExists(change)} AND coalesce(instr(history, ${change.eventId}), 0) = 0`
  const set = sql`history = ${withEvent(change.eventId)}`
  const history = updateUnstamped(change.caller, 'secrets:write', 'client_secrets', set, sql`id = ${id} AND ${isNew}`)
  afterResponse(database, async () => {
    await sendBatch(measuredApart(database), { event, history }).catch((error) => {
      console.error({
        message: 'replay not recorded',
        secret_id: id,
        request_id: change.requestId,
        error: String(error),
      })
    })
  })
}

/** Returns the created secret. The plaintext may be returned again only while the secret can be used. */
function readIssued(
  verdict: IssuedRow,
  { data, replayedFrom }: Original,
  now: UnixMs,
): Result<CreatedClientSecret, IssuingRefusal> {
  if (verdict.id === null) return { refused: 'application_deleted' }
  if (verdict.revoked_at !== null) return { refused: 'client_secret_revoked' }
  if (verdict.disabled_at !== null) return { refused: 'client_secret_disabled' }
  if (verdict.expires_at !== null && verdict.expires_at <= now) return { refused: 'client_secret_expired' }
  return {
    granted: {
      secret: clientSecretMapping.fromRow(data),
      application: applicationMapping.fromRow(verdict),
      digest: bytes(verdict.digest),
      replayedFrom,
    },
  }
}
