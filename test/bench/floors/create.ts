import { issueCredential } from '../../../src/credential/credential.ts'
import { deriveEntropy, idempotencyDigest, newSalt, requestDigest } from '../../../src/credential/derivation.ts'
import { type Bytes, sha256 } from '../../../src/credential/digest.ts'
import { newId } from '../../../src/credential/id.ts'
import { apiKeyOf, type FloorEnv, part, secretToWire, unauthorized } from './env.ts'
import { respond } from './response.ts'

/** The caller, if it has write access, and its application. */
const WRITER_AND_APPLICATION = `api_keys JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = ?2 AND applications.deleted_at IS NULL
  WHERE api_keys.digest = ?1 AND api_keys.access = 'write' AND api_keys.revoked_at IS NULL`

export const INSERT_SECRET = `INSERT INTO client_secrets
    (environment_id, id, application_id, digest, secret_hint, created_by, created_at, updated_at, event_id)
  SELECT applications.environment_id, ?3, applications.id, ?4, ?5, api_keys.id, ?6, ?6, ?7
  FROM ${WRITER_AND_APPLICATION}`
const WITHIN_LIMIT = `(SELECT count(*) FROM client_secrets AS counted INDEXED BY client_secrets_by_application
  WHERE counted.environment_id = applications.environment_id AND counted.application_id = applications.id
  AND counted.ended_at = 0) < ?8`
const INSERT_LIMITED = `${INSERT_SECRET} AND ${WITHIN_LIMIT}`
const INSERT_KEYED = `${INSERT_LIMITED} AND NOT EXISTS (SELECT 1 FROM idempotency_records WHERE digest = ?9)`

const INSERT_EVENT = `INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type,
    caller_id, caller_name, request_id, created_at)
  SELECT max((SELECT coalesce(max(seq), 0) FROM events) + 1, ?5 * 1000), ?1, applications.environment_id,
    applications.organization_id, ?2, ?3, 'api_key', api_keys.id, api_keys.name, ?4, ?5
  FROM api_keys JOIN client_secrets ON client_secrets.environment_id = api_keys.environment_id
    AND client_secrets.id = ?7 AND client_secrets.event_id = ?1
  JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = client_secrets.application_id
  WHERE api_keys.digest = ?6`

const INSERT_RECORD = `INSERT INTO idempotency_records
    (digest, environment_id, request_digest, salt, secret_prefix, event_id, created_at)
  SELECT ?1, environment_id, ?2, ?3, 'cs', id, ?4 FROM events WHERE id = ?5`

/** Tells success, 401, 403, 404 and 422 apart. */
export const VERDICT = `SELECT api_keys.access, applications.id AS application_id, new.id AS secret_id
  FROM api_keys LEFT JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = ?2 AND applications.deleted_at IS NULL
  LEFT JOIN client_secrets AS new ON new.environment_id = api_keys.environment_id AND new.id = ?3
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL`
const KEYED_VERDICT = `SELECT api_keys.access, applications.id AS application_id, record.request_digest, record.salt,
    made.id, made.secret_hint, made.last_used_at, made.created_at, made.updated_at, made.revoked_at
  FROM api_keys LEFT JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = ?2 AND applications.deleted_at IS NULL
  LEFT JOIN idempotency_records AS record ON record.digest = ?3
  LEFT JOIN events ON events.id = record.event_id
  LEFT JOIN client_secrets AS made ON made.environment_id = api_keys.environment_id AND made.id = events.data ->> 'id'
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL`

/** Insert the secret, insert its event, ask for the verdict; with an Idempotency-Key, also insert its record. */
export async function createSecret(path: string, request: Request, env: FloorEnv): Promise<Response> {
  const key = request.headers.get('Idempotency-Key')
  const body = await request.text()
  return key ? createWithKey(path, request, env, key, body) : createWithoutKey(path, request, env)
}

async function createWithoutKey(path: string, request: Request, env: FloorEnv): Promise<Response> {
  const { DB, MAX_SECRETS_PER_APPLICATION: limit } = env
  const now = Date.now()
  const caller = await sha256(apiKeyOf(request))
  const { plaintext, digest, hint } = await issueCredential('cs', '0')
  const [application, id, event] = [part(path, 3), newId('secret', now), newId('event', now)]
  const [, , verdict] = await DB.batch([
    DB.prepare(INSERT_LIMITED).bind(caller, application, id, digest, hint, now, event, limit),
    insertEvent(DB, { event, type: CREATED, application, id, hint, now, caller }),
    DB.prepare(VERDICT).bind(caller, application, id),
  ])
  const row = verdict?.results[0] as Record<string, unknown> | undefined
  if (row?.access !== 'write' || row.secret_id !== id) return unauthorized(path)
  return created(path, { id, secret_hint: hint, last_used_at: null, created_at: now, updated_at: now }, plaintext)
}

async function createWithKey(path: string, request: Request, env: FloorEnv, key: string, body: string) {
  const { DB, MAX_SECRETS_PER_APPLICATION: limit } = env
  const now = Date.now()
  const apiKey = apiKeyOf(request)
  const caller = await sha256(apiKey)
  const record = await idempotencyDigest(caller, key)
  const digestOfRequest = await requestDigest(request.method, path, JSON.stringify(JSON.parse(body)))
  const salt = newSalt()
  const issue = async (from: Bytes) => issueCredential('cs', '0', await deriveEntropy(apiKey, from, digestOfRequest))
  const issued = await issue(salt)
  const { digest, hint } = issued
  const [application, id, event] = [part(path, 3), newId('secret', now), newId('event', now)]
  const [, , , verdict] = await DB.batch([
    DB.prepare(INSERT_KEYED).bind(caller, application, id, digest, hint, now, event, limit, record),
    insertEvent(DB, { event, type: CREATED, application, id, hint, now, caller }),
    DB.prepare(INSERT_RECORD).bind(record, digestOfRequest, salt, now, event),
    DB.prepare(KEYED_VERDICT).bind(caller, application, record),
  ])
  const row = verdict?.results[0] as Record<string, unknown> | undefined
  if (row?.access !== 'write' || row.id === null) return unauthorized(path)
  const { plaintext } = row.id === id ? issued : await issue(new Uint8Array(row.salt as number[]))
  return created(path, row, plaintext)
}

const CREATED = 'connect_application_secret.created'

interface NewEvent {
  readonly event: string
  readonly type: string
  readonly application: string
  readonly id: string
  readonly hint: string
  readonly now: number
  readonly caller: Bytes
}

export function insertEvent(DB: D1Database, { event, type, application, id, hint, now, caller }: NewEvent) {
  const data = {
    id,
    application_id: application,
    secret_hint: hint,
    name: null,
    created_by: null,
    last_used_at: null,
    expires_at: null,
    is_rotated_out: 0,
    disabled_at: null,
    created_at: now,
    updated_at: now,
  }
  return DB.prepare(INSERT_EVENT).bind(event, type, JSON.stringify(data), crypto.randomUUID(), now, caller, id)
}

export function created(path: string, row: Record<string, unknown>, plaintext: string): Response {
  return respond(path, 201, JSON.stringify({ ...secretToWire(row), secret: plaintext }))
}
