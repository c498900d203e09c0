import { recogniseCredential } from '../../../src/credential/credential.ts'
import { sha256 } from '../../../src/credential/digest.ts'
import { apiKeyDigest, type FloorEnv, iso, secretToWire, unauthorized } from './env.ts'
import { respond } from './response.ts'

const VERIFY = `SELECT access, secrets.id, secret_hint, secrets.last_used_at, secrets.created_at, secrets.updated_at,
    applications.id AS application_id, client_id, applications.name, description, scopes, application_type,
    organization_id, applications.created_at AS application_created_at, applications.updated_at AS application_updated_at
  FROM api_keys LEFT JOIN client_secrets AS secrets ON secrets.digest = ?2
    AND secrets.environment_id = api_keys.environment_id AND secrets.revoked_at IS NULL
    AND (secrets.expires_at IS NULL OR secrets.expires_at > ?3) AND secrets.disabled_at IS NULL
  LEFT JOIN applications ON applications.environment_id = secrets.environment_id
    AND applications.id = secrets.application_id AND applications.deleted_at IS NULL
  WHERE api_keys.digest = ?1 AND api_keys.revoked_at IS NULL`

/** One statement: the caller, the secret and its application. */
export async function verifySecret(path: string, request: Request, { DB }: FloorEnv): Promise<Response> {
  const { client_secret } = await request.json<{ client_secret: string }>()
  if (!recogniseCredential(client_secret)) return respond(path, 200, '{"valid":false}')
  const row = await DB.prepare(VERIFY)
    .bind(await apiKeyDigest(request), await sha256(client_secret), Date.now())
    .first()
  if (!row) return unauthorized(path)
  if (row.application_id === null) return respond(path, 200, '{"valid":false}')
  const application = {
    object: 'connect_application',
    id: row.application_id,
    client_id: row.client_id,
    name: row.name,
    description: row.description,
    scopes: JSON.parse(row.scopes as string),
    application_type: row.application_type,
    organization_id: row.organization_id,
    created_at: iso(row.application_created_at),
    updated_at: iso(row.application_updated_at),
  }
  return respond(path, 200, JSON.stringify({ valid: true, client_secret: secretToWire(row), application }))
}
