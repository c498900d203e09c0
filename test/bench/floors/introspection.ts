import { recogniseCredential } from '../../../src/credential/credential.ts'
import { sha256 } from '../../../src/credential/digest.ts'
import type { FloorEnv } from './env.ts'
import { readToken } from './jwt.ts'
import { respond } from './response.ts'
import { credentialsOf } from './token.ts'

/** The client that asks, and the scopes of the token's application if the token's own secret still works. */
const FIND = `SELECT asking.client_id, asking.is_first_party, environments.client_id AS audience, issued.scopes
  FROM client_secrets JOIN applications AS asking ON asking.environment_id = client_secrets.environment_id
    AND asking.id = client_secrets.application_id
  JOIN environments ON environments.id = client_secrets.environment_id
  LEFT JOIN client_secrets AS own ON own.environment_id = client_secrets.environment_id AND own.id = ?4
    AND own.revoked_at IS NULL AND (own.expires_at IS NULL OR own.expires_at > ?2) AND own.disabled_at IS NULL
  LEFT JOIN applications AS issued ON issued.environment_id = own.environment_id AND issued.id = own.application_id
    AND issued.deleted_at IS NULL
  WHERE client_secrets.digest = ?1 AND client_secrets.revoked_at IS NULL
  AND (client_secrets.expires_at IS NULL OR client_secrets.expires_at > ?2) AND client_secrets.disabled_at IS NULL
  AND asking.deleted_at IS NULL AND asking.client_id = ?3`

/** Read the form, check the checksum and one signature; then one statement. */
export async function introspection(path: string, request: Request, env: FloorEnv): Promise<Response> {
  const form = new URLSearchParams(await request.text())
  const { clientId, secret } = credentialsOf(request)
  if (!recogniseCredential(secret)) return respond(path, 401)
  const claims = await readToken(env, form.get('token') ?? '')
  const row = await env.DB.prepare(FIND)
    .bind(await sha256(secret), Date.now(), clientId, claims?.secret_id ?? null)
    .first()
  if (!row) return respond(path, 401)
  if (!claims || row.scopes === null || claims.client_id !== row.client_id)
    return respond(path, 200, '{"active":false}')
  const scopes = JSON.parse(row.scopes as string) as string[]
  const scope = String(claims.scope)
    .split(' ')
    .filter((one) => scopes.includes(one))
    .join(' ')
  return respond(path, 200, JSON.stringify({ active: true, token_type: 'bearer', ...claims, scope }))
}
