import { newId } from '../../../src/credential/id.ts'
import { apiKeyDigest, type FloorEnv, part, unauthorized } from './env.ts'
import { respond } from './response.ts'

const REVOKE = `UPDATE client_secrets SET revoked_at = ?1, updated_at = ?1, event_id = ?2
  WHERE environment_id = (SELECT environment_id FROM api_keys
    WHERE digest = ?4 AND access = 'write' AND revoked_at IS NULL)
  AND id = ?3 AND revoked_at IS NULL`

const INSERT_EVENT = `INSERT INTO events (seq, id, environment_id, organization_id, type, data, actor_type,
    caller_id, caller_name, request_id, created_at)
  SELECT max((SELECT coalesce(max(seq), 0) FROM events) + 1, ?3 * 1000), ?1, applications.environment_id,
    applications.organization_id, 'connect_application_secret.deleted',
    json_object('id', secrets.id, 'application_id', secrets.application_id, 'secret_hint', secret_hint,
      'name', secrets.name, 'created_by', created_by, 'last_used_at', secrets.last_used_at, 'expires_at', expires_at,
      'is_rotated_out', is_rotated_out, 'disabled_at', disabled_at, 'created_at', secrets.created_at,
      'updated_at', secrets.updated_at),
    'api_key', api_keys.id, api_keys.name, ?2, ?3
  FROM api_keys JOIN client_secrets AS secrets ON secrets.environment_id = api_keys.environment_id
    AND secrets.id = ?5 AND secrets.event_id = ?1
  JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = secrets.application_id
  WHERE api_keys.digest = ?4`

const VERDICT = `SELECT access, client_secrets.revoked_at FROM api_keys
  LEFT JOIN client_secrets ON client_secrets.environment_id = api_keys.environment_id AND client_secrets.id = ?2
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL`

/** Revoke, insert the event, ask for the verdict. */
export async function revokeSecret(path: string, request: Request, { DB }: FloorEnv): Promise<Response> {
  const now = Date.now()
  const caller = await apiKeyDigest(request)
  const [id, event] = [part(path, 3), newId('event', now)]
  const [, , verdict] = await DB.batch([
    DB.prepare(REVOKE).bind(now, event, id, caller),
    DB.prepare(INSERT_EVENT).bind(event, crypto.randomUUID(), now, caller, id),
    DB.prepare(VERDICT).bind(caller, id),
  ])
  const row = verdict?.results[0] as Record<string, unknown> | undefined
  if (row?.access !== 'write' || row.revoked_at === null) return unauthorized(path)
  return respond(path, 204, null)
}
