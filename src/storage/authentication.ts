import sql, { type Sql } from 'sql-template-tag'
import type { Bytes } from '../credential/digest.ts'
import { type Application, applicationFromRow, applicationSnapshot } from './applications.ts'
import { type ClientSecret, clientSecretFromRow, clientSecretSnapshot, isLive } from './client-secrets.ts'
import { changeDeadline, type Database, type Row, sendBatch } from './database.ts'
import { ask, type Caller, note, type Outcome, select } from './statements.ts'

/**
 * Secrets in use. A client that proves itself is its own identity: what it may know is found by its secret's digest,
 * so that it reaches no environment but its own.
 */
export interface Proof {
  /** SHA-256 of the client secret. */
  readonly digest: Bytes
  /** Whose secret it must be; null for anybody's. */
  readonly clientId: string | null
  /** Unix ms. */
  readonly now: number
}

export interface AuthenticatedClient {
  readonly clientSecret: ClientSecret
  readonly application: Application
  /** The client id of its environment: the `aud` of its tokens. */
  readonly audience: string
}

/** How fine `last_used_at` is: a secret in use is written to once in this time, at any rate of use. */
const USE_GRANULARITY_MS = 60_000

/** Finds the client that a secret proves, and notes the use. Null for a secret that is not, or no longer, good. */
export async function authenticateClient(database: Database, proof: Proof): Promise<AuthenticatedClient | null> {
  const [rows] = await sendBatch(database, [selectProven(proof)], [noteUse(database, proof)])
  return readProven(rows?.[0])
}

/**
 * Finds the client that asks about an access token, notes the use, and tells whether the token's secret and application
 * are still good, in the same trip. `token` is null where the signature has told enough.
 */
export async function authenticateIntrospection(
  database: Database,
  proof: Proof,
  token: { readonly secretId: string; readonly clientId: string } | null,
): Promise<{ client: AuthenticatedClient | null; isTokenLive: boolean }> {
  const isOfTheToken = sql`client_secrets.id = ${token?.secretId ?? null} AND ${isUsable(token?.clientId ?? null, proof.now)}
    AND environment_id = (SELECT environment_id FROM client_secrets WHERE digest = ${proof.digest})`
  const [rows, tokenRows] = await sendBatch(
    database,
    [selectProven(proof), sql`SELECT 1 FROM client_secrets WHERE ${isOfTheToken}`],
    [noteUse(database, proof)],
  )
  return { client: readProven(rows?.[0]), isTokenLive: tokenRows?.length === 1 }
}

/** For a holder of an API key: whether a secret is good, in its own environment alone. Notes the use. */
export function verifyClientSecret(
  database: Database,
  caller: Caller,
  proof: Proof,
): Promise<Outcome<AuthenticatedClient | null>> {
  return ask(
    database,
    caller,
    'read',
    [select(caller, provenColumns, 'client_secrets', isProven(proof))],
    ([rows]) => ({ granted: readProven(rows?.[0]) }),
    [note(caller, 'read', 'client_secrets', use(proof), sql`${isProven(proof)} AND ${isDue(database, proof)}`)],
  )
}

const provenColumns = sql`${clientSecretSnapshot} AS client_secret,
  (SELECT ${applicationSnapshot} FROM applications WHERE id = application_id) AS application,
  (SELECT client_id FROM environments WHERE id = environment_id) AS audience`

function selectProven(proof: Proof): Sql {
  return sql`SELECT ${provenColumns} FROM client_secrets WHERE ${isProven(proof)}`
}

function noteUse(database: Database, proof: Proof): Sql {
  return sql`UPDATE client_secrets SET ${use(proof)} WHERE ${isProven(proof)} AND ${isDue(database, proof)}`
}

/** Not before its creation, should the clock have gone back; `isDue` keeps it from going back by itself. */
function use({ now }: Proof): Sql {
  return sql`last_used_at = max(${now}, created_at)`
}

function isDue(database: Database, { now }: Proof): Sql {
  return sql`(last_used_at IS NULL OR last_used_at <= ${now - USE_GRANULARITY_MS})
    AND unixepoch('subsec') * 1000 < ${changeDeadline(database)}`
}

function isProven({ digest, clientId, now }: Proof): Sql {
  return sql`client_secrets.digest = ${digest} AND ${isUsable(clientId, now)}`
}

/** Live, not switched off, and of an application that lives and has this client id. */
function isUsable(clientId: string | null, now: number): Sql {
  return sql`${isLive(now)} AND client_secrets.disabled_at IS NULL AND EXISTS (SELECT 1 FROM applications
    WHERE id = application_id AND deleted_at IS NULL AND (${clientId} IS NULL OR client_id = ${clientId}))`
}

function readProven(row: Row | undefined): AuthenticatedClient | null {
  if (!row) return null
  return {
    clientSecret: clientSecretFromRow(JSON.parse(row.client_secret as string)),
    application: applicationFromRow(JSON.parse(row.application as string)),
    audience: row.audience as string,
  }
}
