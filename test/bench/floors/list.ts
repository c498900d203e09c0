import { apiKeyDigest, type FloorEnv, part, secretToWire, unauthorized } from './env.ts'
import { respond } from './response.ts'

const LIST = `SELECT applications.id AS application_id, secrets.id, secret_hint, secrets.last_used_at, expires_at,
    disabled_at, secrets.name, secrets.created_at, secrets.updated_at
  FROM api_keys LEFT JOIN applications ON applications.environment_id = api_keys.environment_id
    AND applications.id = ?2 AND applications.deleted_at IS NULL
  LEFT JOIN client_secrets AS secrets INDEXED BY client_secrets_by_application
    ON secrets.environment_id = applications.environment_id AND secrets.application_id = applications.id
    AND secrets.ended_at = 0 AND (secrets.expires_at IS NULL OR secrets.expires_at > ?3)
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL ORDER BY secrets.created_at, secrets.id`

/** One statement: the caller, the application and its secrets. */
export async function listSecrets(path: string, request: Request, { DB }: FloorEnv): Promise<Response> {
  const { results } = await DB.prepare(LIST)
    .bind(await apiKeyDigest(request), part(path, 3), Date.now())
    .all()
  if (!results[0]?.application_id) return unauthorized(path)
  return respond(path, 200, JSON.stringify(results.filter(({ id }) => id !== null).map(secretToWire)))
}
