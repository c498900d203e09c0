import { issueCredential } from '../../../src/credential/credential.ts'
import { deriveEntropy, idempotencyDigest, newSalt, requestDigest } from '../../../src/credential/derivation.ts'
import { type Bytes, sha256 } from '../../../src/credential/digest.ts'
import { newId } from '../../../src/credential/id.ts'
import { apiKeyOf, type FloorEnv, secretToWire, UNAUTHORIZED } from './env.ts'

/** The caller's environment and the application, in the caller's hands. */
const CALLER_AND_APPLICATION = `api_keys JOIN applications ON applications.environment_id = api_keys.environment_id
  WHERE api_keys.digest = ?1 AND api_keys.access = 'write' AND api_keys.revoked_at IS NULL
  AND applications.id = ?2 AND applications.deleted_at IS NULL`

export const INSERT_SECRET = `INSERT INTO client_secrets
    (id, environment_id, application_id, digest, secret_hint, created_at, updated_at, event_id)
  SELECT ?3, applications.environment_id, applications.id, ?4, ?5, ?6, ?6, ?7 FROM ${CALLER_AND_APPLICATION}`
const WITHIN_LIMIT = `(SELECT count(*) FROM client_secrets AS counted
  INDEXED BY client_secrets_by_application WHERE counted.environment_id = applications.environment_id
  AND counted.application_id = applications.id AND counted.ended_at = 0) < ?8`
const INSERT_LIMITED = `${INSERT_SECRET} AND ${WITHIN_LIMIT}`
const INSERT_KEYED = `${INSERT_LIMITED} AND NOT EXISTS (SELECT 1 FROM idempotency_records WHERE digest = ?9)`

export const INSERT_EVENT = `INSERT INTO events
    (id, environment_id, organization_id, type, data, caller_id, caller_name, request_id, created_at)
  SELECT ?1, applications.environment_id, applications.organization_id, ?2, ?3, api_keys.id, api_keys.name, ?4, ?5
  FROM api_keys JOIN client_secrets ON client_secrets.environment_id = api_keys.environment_id AND client_secrets.id = ?7
    AND client_secrets.event_id = ?1
  JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = client_secrets.application_id WHERE api_keys.digest = ?6`

const INSERT_RECORD = `INSERT INTO idempotency_records
    (digest, environment_id, request_digest, salt, secret_prefix, event_id, created_at)
  SELECT ?1, environment_id, ?2, ?3, 'cs', id, ?4 FROM events WHERE id = ?5`

/** Tells success, 401, 403, 404 and 422 apart. */
export const VERDICT = `SELECT api_keys.access, applications.id AS application_id, new.id AS secret_id
  FROM api_keys LEFT JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = ?2 AND applications.deleted_at IS NULL
  LEFT JOIN client_secrets AS new ON new.environment_id = api_keys.environment_id AND new.id = ?3
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL`
const KEYED_VERDICT = `SELECT api_keys.access, applications.id AS application_id, records.request_digest, records.salt,
    made.id, made.secret_hint, made.last_used_at, made.created_at, made.updated_at, made.digest, made.revoked_at
  FROM api_keys LEFT JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = ?2 AND applications.deleted_at IS NULL
  LEFT JOIN idempotency_records AS records ON records.digest = ?3
  LEFT JOIN events ON events.id = records.event_id
  LEFT JOIN client_secrets AS made ON made.environment_id = api_keys.environment_id AND made.id = events.data ->> 'id'
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL`

export const snapshot = (id: string, application: string, hint: string, now: number) =>
  JSON.stringify({
    id,
    application_id: application,
    secret_hint: hint,
    name: null,
    last_used_at: null,
    expires_at: null,
    disabled_at: null,
    created_at: now,
    updated_at: now,
  })

/** Insert the secret, insert its event, ask for the verdict; with an Idempotency-Key, also insert its record. */
export async function createSecret(request: Request, env: FloorEnv, application: string): Promise<Response> {
  const key = request.headers.get('Idempotency-Key')
  const body = await request.text()
  return key ? createWithKey(request, env, application, key, body) : createWithoutKey(request, env, application)
}

async function createWithoutKey(request: Request, { DB, ...env }: FloorEnv, application: string): Promise<Response> {
  const now = Date.now()
  const caller = await sha256(apiKeyOf(request))
  const { plaintext, digest, hint } = await issueCredential('cs', '0')
  const id = newId('secret', now)
  const event = newId('event', now)
  const [, , verdict] = await DB.batch([
    DB.prepare(INSERT_LIMITED).bind(caller, application, id, digest, hint, now, event, env.MAX_SECRETS_PER_APPLICATION),
    insertEvent(DB, { event, application, id, hint, now, caller }),
    DB.prepare(VERDICT).bind(caller, application, id),
  ])
  const row = verdict?.results[0] as Record<string, unknown> | undefined
  if (row?.access !== 'write' || row.secret_id !== id) return Response.json(UNAUTHORIZED, { status: 401 })
  return created({ id, secret_hint: hint, last_used_at: null, created_at: now, updated_at: now }, plaintext)
}

async function createWithKey(
  request: Request,
  { DB, ...env }: FloorEnv,
  application: string,
  key: string,
  body: string,
): Promise<Response> {
  const now = Date.now()
  const apiKey = apiKeyOf(request)
  const caller = await sha256(apiKey)
  const record = await idempotencyDigest(caller, key)
  const digestOfRequest = await requestDigest(request.method, request.url, JSON.stringify(JSON.parse(body)))
  const salt = newSalt()
  const issue = async (from: Bytes) => issueCredential('cs', '0', await deriveEntropy(apiKey, from, digestOfRequest))
  const issued = await issue(salt)
  const { digest, hint } = issued
  const id = newId('secret', now)
  const event = newId('event', now)
  const limit = env.MAX_SECRETS_PER_APPLICATION
  const [, , , verdict] = await DB.batch([
    DB.prepare(INSERT_KEYED).bind(caller, application, id, digest, hint, now, event, limit, record),
    insertEvent(DB, { event, application, id, hint, now, caller }),
    DB.prepare(INSERT_RECORD).bind(record, digestOfRequest, salt, now, event),
    DB.prepare(KEYED_VERDICT).bind(caller, application, record),
  ])
  const row = verdict?.results[0] as Record<string, unknown> | undefined
  if (row?.access !== 'write' || row.id === null) return Response.json(UNAUTHORIZED, { status: 401 })
  const { plaintext } = row.id === id ? issued : await issue(new Uint8Array(row.salt as number[]))
  return created(row, plaintext)
}

interface NewEvent {
  readonly event: string
  readonly application: string
  readonly id: string
  readonly hint: string
  readonly now: number
  readonly caller: Bytes
}

function insertEvent(DB: D1Database, { event, application, id, hint, now, caller }: NewEvent): D1PreparedStatement {
  const data = snapshot(id, application, hint, now)
  const type = 'connect_application_secret.created'
  return DB.prepare(INSERT_EVENT).bind(event, type, data, crypto.randomUUID(), now, caller, id)
}

export function created(row: Record<string, unknown>, plaintext: string): Response {
  return Response.json({ ...secretToWire(row), secret: plaintext }, { status: 201 })
}
