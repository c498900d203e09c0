import sql, { type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type Application, applicationFromRow, applicationSnapshot } from './applications.ts'
import { runBatch } from './batch.ts'
import type { Caller, Outcome } from './caller.ts'
import { type ClientSecret, clientSecretFromRow, clientSecretSnapshot, liveAt } from './client-secrets.ts'
import { changeDeadline, type Database, query, sendBatch, type UnixMs } from './database.ts'
import { USE_GRANULARITY_MS } from './last-use.ts'
import { select, touch } from './statements.ts'

/**
 * A client secret in use. A client that authenticates is its own identity: everything that it may know is found by its
 * secret's digest, so that it reaches no other environment.
 */
export interface Proof {
  /** SHA-256 of the client secret. */
  readonly digest: Bytes
  /** The client ID that the secret must belong to; null for any. */
  readonly clientId: string | null
  readonly now: UnixMs
}

export interface AuthenticatedClient {
  readonly clientSecret: ClientSecret
  readonly application: Application
  /** The client ID of its environment: the `aud` of its access tokens. */
  readonly audience: string
}

/** Finds the client that a secret authenticates, and records the use. Null if the secret is not active. */
export async function authenticateClient(database: Database, proof: Proof): Promise<AuthenticatedClient | null> {
  const { clients } = await sendBatch(database, { clients: selectClient(proof) }, [query(touchSecret(database, proof))])
  return readClient(clients[0])
}

/**
 * Finds the client that asks about an access token, records the use, and tells whether the token's secret and
 * application are still active. `token` is null if its signature or claims are invalid.
 */
export async function authenticateIntrospection(
  database: Database,
  proof: Proof,
  token: { readonly secretId: string; readonly clientId: string } | null,
): Promise<{ client: AuthenticatedClient | null; isTokenLive: boolean }> {
  const ofToken = sql`client_secrets.id = ${token?.secretId ?? null} AND ${usable(token?.clientId ?? null, proof.now)}
    AND environment_id = (SELECT environment_id FROM client_secrets WHERE digest = ${proof.digest})`
  const { clients, tokenSecrets } = await sendBatch(
    database,
    { clients: selectClient(proof), tokenSecrets: query(sql`SELECT 1 FROM client_secrets WHERE ${ofToken}`) },
    [query(touchSecret(database, proof))],
  )
  return { client: readClient(clients[0]), isTokenLive: tokenSecrets.length === 1 }
}

/** For a caller with an API key: whether a secret of its own environment is active. Records the use. */
export function verifyClientSecret(
  database: Database,
  caller: Caller,
  proof: Proof,
): Promise<Outcome<AuthenticatedClient | null>> {
  const clients = select<ClientRow>(caller, clientColumns, 'client_secrets', proven(proof))
  const used = touch(
    caller,
    'read',
    'client_secrets',
    lastUse(proof),
    sql`${proven(proof)} AND ${useDue(database, proof)}`,
  )
  return runBatch(database, caller, 'read', { clients }, ({ clients }) => ({ granted: readClient(clients[0]) }), [used])
}

interface ClientRow {
  /** JSON. */
  readonly client_secret: string
  /** JSON. */
  readonly application: string
  readonly audience: string
}

const clientColumns = sql`${clientSecretSnapshot} AS client_secret,
  (SELECT ${applicationSnapshot} FROM applications WHERE id = application_id) AS application,
  (SELECT client_id FROM environments WHERE id = environment_id) AS audience`

function selectClient(proof: Proof) {
  return query<ClientRow>(sql`SELECT ${clientColumns} FROM client_secrets WHERE ${proven(proof)}`)
}

function touchSecret(database: Database, proof: Proof): Sql {
  return sql`UPDATE client_secrets SET ${lastUse(proof)} WHERE ${proven(proof)} AND ${useDue(database, proof)}`
}

/** Never before the creation, even if the clock went back; `useDue` keeps it from going back by itself. */
function lastUse({ now }: Proof): Sql {
  return sql`last_used_at = max(${now}, created_at)`
}

function useDue(database: Database, { now }: Proof): Sql {
  return sql`(last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS})
    AND unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

function proven({ digest, clientId, now }: Proof): Sql {
  return sql`client_secrets.digest = ${digest} AND ${usable(clientId, now)}`
}

/** Condition: live, not disabled, and of an application that is not deleted and has this client ID. */
function usable(clientId: string | null, now: UnixMs): Sql {
  return sql`${liveAt(now)} AND client_secrets.disabled_at IS NULL AND EXISTS (SELECT 1 FROM applications
    WHERE id = application_id AND deleted_at IS NULL AND (${clientId} IS NULL OR client_id = ${clientId}))`
}

function readClient(row: ClientRow | undefined): AuthenticatedClient | null {
  if (!row) return null
  return {
    clientSecret: clientSecretFromRow(JSON.parse(row.client_secret)),
    application: applicationFromRow(JSON.parse(row.application)),
    audience: row.audience,
  }
}
