import sql, { raw, type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { derivedId } from '../credential/id.ts'
import { isAllowedFrom } from '../credential/ip-ranges.ts'
import { type Application, applicationMapping } from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Origin, Outcome } from './caller.ts'
import { useDue } from './caller-conditions.ts'
import { type ClientSecret, clientSecretMapping, liveAt } from './client-secrets.ts'
import { type Database, type Query, query, sendBatch, type UnixMs, unreadable } from './database.ts'
import { nextSeq, organizationOfSecret } from './event-statements.ts'
import { touchAfterResponse } from './last-use.ts'
import { jsonOrNull } from './mapping.ts'
import { oneMoreMinute } from './used-minutes.ts'
import { selectVerdict } from './verdicts.ts'

/**
 * A client secret that a client authenticates with. All data of the client is looked up by the digest of this secret,
 * so that a client cannot read another environment.
 */
export interface Proof {
  /** SHA-256 of the client secret. */
  readonly digest: Bytes
  /** The client ID that the secret must belong to; null for any. */
  readonly clientId: string | null
  /** The IP address from which the secret is used; null if it is unknown. */
  readonly address: string | null
  readonly now: UnixMs
}

/** The client that used a secret last. */
export interface Use {
  /** The network of the IP address: the /24 of IPv4, or the /48 of IPv6. */
  readonly address: string | null
  /** A country code (ISO 3166-1 alpha-2). */
  readonly country: string | null
  readonly userAgent: string | null
}

type UsedSecret = Pick<ClientSecret, 'id' | 'lastUsedAt' | 'expiresAt' | 'isRotatedOut'>

export interface AuthenticatedClient {
  readonly clientSecret: UsedSecret
  readonly application: Pick<Application, 'id' | 'clientId' | 'applicationType' | 'organizationId' | 'isFirstParty'>
  /** The scopes that the application and the secret both have. */
  readonly scopes: readonly string[]
  readonly environmentId: string
  /** The client ID of the environment, which is the `aud` of access tokens. */
  readonly audience: string
  /** True if the client's environment is frozen, so the client gets no access tokens. */
  readonly isFrozen: boolean
}

export interface VerifiedClient {
  readonly refused?: undefined
  readonly clientSecret: ClientSecret
  readonly application: Application
}

/**
 * The reason why a secret does not authenticate a client. The log and the event of the refused use have it, but a
 * response must not reveal it.
 */
export type ClientRefusal =
  | 'client_unknown'
  | 'client_mismatch'
  | 'secret_unknown'
  | 'secret_revoked'
  | 'secret_expired'
  | 'secret_disabled'
  | 'application_deleted'
  | 'address_not_allowed'

/**
 * A refusal. The IDs are those of the secret with the digest of the proof, even if that secret belongs to a different
 * client. They are null if no secret has the digest.
 */
export interface RefusedClient {
  readonly refused: ClientRefusal
  readonly secretId: string | null
  readonly environmentId: string | null
  readonly applicationId: string | null
}

interface FoundClient {
  readonly client: AuthenticatedClient
  readonly refused?: undefined
}

/** Returns the client that the secret authenticates, or the reason for the refusal. */
export async function authenticateClient(database: Database, proof: Proof): Promise<FoundClient | RefusedClient> {
  const { clients } = await sendBatch(database, { clients: selectClient(proof, sql`NULL`) })
  return readClient(clients[0], proof)
}

/**
 * Authenticates the client that calls introspection. Also returns the scopes of the token that it asks about: those that
 * the token's application and the token's secret both have now. They are null if one of these two is no longer active,
 * and for an invalid token, which is null here.
 */
export async function authenticateIntrospection(
  database: Database,
  proof: Proof,
  token: { readonly secretId: string; readonly clientId: string } | null,
): Promise<(FoundClient & { readonly tokenScopes: readonly string[] | null }) | RefusedClient> {
  const tokenScopes = sql`(SELECT json_array(json(token_application.scopes), json(token_secret.allowed_scopes)) FROM client_secrets AS token_secret
    JOIN applications AS token_application ON token_application.environment_id = token_secret.environment_id
      AND token_application.id = token_secret.application_id AND token_application.deleted_at IS NULL
      AND token_application.client_id = ${token?.clientId ?? null}
    WHERE token_secret.environment_id = client_secrets.environment_id AND token_secret.id = ${token?.secretId ?? null}
      AND token_secret.disabled_at IS NULL AND ${liveAt(proof.now, raw('token_secret'))})`
  const { clients } = await sendBatch(database, { clients: selectClient(proof, tokenScopes) })
  const found = readClient(clients[0], proof)
  if (found.refused) return found
  const scopes = clients[0]?.token_scopes ?? null
  return { ...found, tokenScopes: scopes === null ? null : commonScopes(...(JSON.parse(scopes) as ScopesOfBoth)) }
}

/**
 * Verifies a secret of the caller's environment. A success counts as a use of the secret. Returns a refusal if the
 * secret is active but not allowed from the IP address, and null for all other invalid secrets.
 */
export async function verifyClientSecret(
  database: Database,
  caller: Caller,
  proof: Proof,
  use: Use,
): Promise<Outcome<VerifiedClient | RefusedClient | null>> {
  const columns = sql`applications.id IS NOT NULL AS is_found,
    ${clientSecretMapping.snapshot} AS client_secret, ${applicationMapping.snapshot} AS application`
  const joined = sql`LEFT JOIN client_secrets ON client_secrets.environment_id = caller.environment_id
    AND ${activeSecret(proof)} LEFT JOIN ${activeApplication(proof)}`
  const verdict = selectVerdict<{ is_found: 0 | 1; client_secret: string; application: string }>(
    caller,
    columns,
    joined,
  )
  const outcome: Outcome<VerifiedClient | RefusedClient | null> = await runBatch(
    database,
    caller,
    'secrets:verify',
    { verdict },
    ({
      verdict: { is_found, client_secret, application, environment_id: environmentId },
    }): { granted: VerifiedClient | RefusedClient | null } => {
      if (!is_found) return { granted: null }
      const clientSecret = clientSecretMapping.fromRow(JSON.parse(client_secret))
      const { id: secretId, applicationId, allowedIps } = clientSecret
      if (!isAllowedFrom(allowedIps, proof.address)) {
        return { granted: { refused: 'address_not_allowed', secretId, environmentId, applicationId } }
      }
      return { granted: { clientSecret, application: applicationMapping.fromRow(JSON.parse(application)) } }
    },
  )
  if (!outcome.refused && outcome.granted && !outcome.granted.refused)
    touchClientSecret(database, proof, outcome.granted, use)
  return outcome
}

const HOUR_MS = 60 * 60 * 1000

/**
 * Records a successful use of a secret after the response, at most once a minute. A refused request does not count as a
 * use.
 */
export function touchClientSecret(
  database: Database,
  { digest, now }: Proof,
  { clientSecret }: Pick<AuthenticatedClient, 'clientSecret'>,
  { address, country, userAgent }: Use,
): void {
  // `last_used_at` must not be before the creation, even if the clock went back.
  touchAfterResponse(database, clientSecret.id, clientSecret.lastUsedAt, now, () => [
    query(sql`UPDATE client_secrets SET last_used_at = max(${now}, created_at), used_minutes = ${oneMoreMinute(now)},
        last_used_address = ${address}, last_used_country = ${country}, last_used_agent = ${userAgent}
      WHERE digest = ${digest} AND disabled_at IS NULL AND ended_at = 0 AND ${useDue(database, now)}`),
    ...expiringUse(digest, clientSecret, now, { country, userAgent }),
  ])
}

/** A secret that is used this shortly before its expiry is likely still in use when it expires. */
const LATE_USE_MS = 24 * 60 * 60 * 1000

/**
 * Records that a secret is still in use shortly before the expiry that a rotation has set. The event's ID is derived
 * from the secret and the expiry, so that there is one event for each expiry. The time in this ID is 1 ms after a full
 * hour, because the IDs of `recordRefusedUse` have full hours.
 */
function expiringUse(
  digest: Bytes,
  { id, isRotatedOut, expiresAt }: UsedSecret,
  now: UnixMs,
  { country, userAgent }: Omit<Use, 'address'>,
): Query[] {
  if (!isRotatedOut || expiresAt === null || expiresAt - now > LATE_USE_MS) return []
  const eventId = derivedId('event', expiresAt - (expiresAt % HOUR_MS) + 1, id)
  return [
    query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, country, user_agent, created_at)
      SELECT ${nextSeq(now)}, ${eventId}, environment_id, ${organizationOfSecret}, 'connect_application_secret.used_while_expiring',
        ${clientSecretMapping.snapshot}, 'system', ${country}, ${userAgent}, ${now}
      FROM client_secrets WHERE digest = ${digest} AND disabled_at IS NULL AND ended_at = 0 AND is_rotated_out
        AND expires_at > ${now} ON CONFLICT DO NOTHING`),
  ]
}

/**
 * The reason in the event of a refused use, by refusal. The other refusals are not recorded: either no secret has the
 * digest, or the secret belongs to a different client.
 */
const REASONS = new Map<ClientRefusal, string>([
  ['secret_revoked', 'revoked'],
  ['secret_expired', 'expired'],
  ['secret_disabled', 'disabled'],
  ['application_deleted', 'application_deleted'],
  ['address_not_allowed', 'address_not_allowed'],
])

/**
 * Records, after the response, that a secret was used that no longer works, or that does not work from this IP address.
 * The event's ID is derived from the secret and the hour, so that there is at most one event per secret and hour.
 */
export function recordRefusedUse(
  database: Database,
  { digest, now }: Proof,
  { refused, secretId }: RefusedClient,
  requestId: string,
  { clientRequestId, address, country, userAgent }: Origin,
): void {
  const reason = REASONS.get(refused)
  if (reason === undefined || secretId === null) return
  const eventId = derivedId('event', now - (now % HOUR_MS), secretId)
  touchAfterResponse(database, eventId, null, now, () =>
    query(sql`INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type, request_id,
        client_request_id, address, country, user_agent, created_at)
      SELECT ${nextSeq(now)}, ${eventId}, environment_id, ${organizationOfSecret}, 'connect_application_secret.refused',
        json_set(${clientSecretMapping.snapshot}, '$.reason', ${reason}), 'system', ${requestId},
        ${clientRequestId}, ${address}, ${country}, ${userAgent}, ${now}
      FROM client_secrets WHERE digest = ${digest} ON CONFLICT DO NOTHING`),
  )
}

interface ClientRow {
  /** Null if the secret is active and belongs to the client. */
  readonly refusal: ClientRefusal | null
  /** Null if no secret has the digest. So are all following members except `is_frozen`. */
  readonly secret_id: string
  readonly environment_id: string
  readonly last_used_at: UnixMs | null
  readonly expires_at: UnixMs | null
  readonly is_rotated_out: 0 | 1
  readonly application_id: string
  readonly client_id: string
  readonly application_type: Application['applicationType']
  readonly organization_id: string | null
  /** JSON. */
  readonly scopes: string
  /** JSON; null for all scopes of the application. */
  readonly allowed_scopes: string | null
  /** JSON; null for every IP address. */
  readonly allowed_ips: string | null
  readonly is_first_party: 0 | 1
  readonly audience: string
  readonly is_frozen: 0 | 1
  /** JSON. */
  readonly token_scopes: string | null
}

/** Selects one row even if the secret is not active, so that a refusal needs no second statement. */
function selectClient({ digest, clientId, now }: Proof, tokenScopes: Sql) {
  const refusal = sql`CASE
    WHEN ${active(now)} AND applications.deleted_at IS NULL AND applications.client_id = ${clientId} THEN NULL
    WHEN client_secrets.id IS NULL THEN
      iif(EXISTS (SELECT 1 FROM applications AS named WHERE named.client_id = ${clientId}), 'secret_unknown', 'client_unknown')
    WHEN applications.client_id <> ${clientId} THEN 'client_mismatch'
    WHEN applications.deleted_at IS NOT NULL THEN 'application_deleted'
    WHEN client_secrets.revoked_at IS NOT NULL THEN 'secret_revoked'
    WHEN NOT (${liveAt(now)}) THEN 'secret_expired'
    ELSE 'secret_disabled' END`
  return query<ClientRow>(
    sql`SELECT ${refusal} AS refusal, client_secrets.id AS secret_id, client_secrets.environment_id, client_secrets.last_used_at, client_secrets.expires_at, client_secrets.is_rotated_out,
        client_secrets.allowed_scopes, client_secrets.allowed_ips, applications.id AS application_id, applications.client_id, application_type, organization_id, applications.scopes, is_first_party, environments.client_id AS audience, environments.frozen_at IS NOT NULL AS is_frozen,
        ${tokenScopes} AS token_scopes
      FROM (SELECT 1) AS request
      LEFT JOIN client_secrets ON client_secrets.digest = ${digest}
      LEFT JOIN applications ON applications.environment_id = client_secrets.environment_id
        AND applications.id = client_secrets.application_id
      LEFT JOIN environments ON environments.id = client_secrets.environment_id`,
  )
}

function readClient(row: ClientRow | undefined, { address }: Proof): FoundClient | RefusedClient {
  if (!row || (row.refusal === null && !row.secret_id)) throw unreadable()
  const isAllowed = isAllowedFrom(jsonOrNull(row.allowed_ips), address)
  const refused = row.refusal ?? (isAllowed ? null : 'address_not_allowed')
  if (refused === null) return { client: clientFromRow(row) }
  const { secret_id: secretId, environment_id: environmentId, application_id: applicationId } = row
  return { refused, secretId, environmentId, applicationId }
}

/** The scopes of an application and those of a secret. Null means all scopes of the application. */
type ScopesOfBoth = [ofApplication: readonly string[], ofSecret: readonly string[] | null]

function commonScopes(...[ofApplication, ofSecret]: ScopesOfBoth): readonly string[] {
  return ofSecret === null ? ofApplication : ofApplication.filter((scope) => ofSecret.includes(scope))
}

/** Condition: the secret is neither revoked, expired nor disabled. */
function active(now: UnixMs): Sql {
  return sql`${liveAt(now)} AND client_secrets.disabled_at IS NULL`
}

/** Condition: the secret has the digest of the proof, and is active. */
function activeSecret({ digest, now }: Proof): Sql {
  return sql`client_secrets.digest = ${digest} AND ${active(now)}`
}

/** SQL for a JOIN: the application of the secret, if it is not deleted and has the client ID of the proof. */
function activeApplication({ clientId }: Proof): Sql {
  const ofClient = clientId === null ? sql`true` : sql`applications.client_id = ${clientId}`
  return sql`applications ON applications.environment_id = client_secrets.environment_id
    AND applications.id = client_secrets.application_id AND applications.deleted_at IS NULL AND ${ofClient}`
}

function clientFromRow(row: ClientRow): AuthenticatedClient {
  return {
    clientSecret: {
      id: row.secret_id,
      lastUsedAt: row.last_used_at,
      expiresAt: row.expires_at,
      isRotatedOut: row.is_rotated_out === 1,
    },
    application: {
      id: row.application_id,
      clientId: row.client_id,
      applicationType: row.application_type,
      organizationId: row.organization_id,
      isFirstParty: row.is_first_party === 1,
    },
    scopes: commonScopes(JSON.parse(row.scopes), jsonOrNull(row.allowed_scopes)),
    environmentId: row.environment_id,
    audience: row.audience,
    isFrozen: row.is_frozen === 1,
  }
}
