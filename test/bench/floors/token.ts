import { recogniseCredential } from '../../../src/credential/credential.ts'
import { sha256 } from '../../../src/credential/digest.ts'
import type { FloorEnv } from './env.ts'
import { signToken } from './jwt.ts'
import { respond } from './response.ts'

const FIND = `SELECT client_secrets.id, applications.client_id, applications.application_type,
    applications.organization_id, applications.scopes, environments.client_id AS audience, client_secrets.last_used_at
  FROM client_secrets JOIN applications ON applications.environment_id = client_secrets.environment_id
    AND applications.id = client_secrets.application_id
  JOIN environments ON environments.id = client_secrets.environment_id
  WHERE client_secrets.digest = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)
  AND disabled_at IS NULL AND applications.deleted_at IS NULL AND applications.client_id = ?3`

/** Read the form, check the checksum; then one statement, and one signature. */
export async function token(path: string, request: Request, env: FloorEnv): Promise<Response> {
  const form = new URLSearchParams(await request.text())
  const { clientId, secret } = credentialsOf(request)
  if (form.get('grant_type') !== 'client_credentials' || !recogniseCredential(secret)) return respond(path, 401)
  const now = Date.now()
  const row = await env.DB.prepare(FIND)
    .bind(await sha256(secret), now, clientId)
    .first()
  if (row?.application_type !== 'm2m') return respond(path, 401)
  const scope = (JSON.parse(row.scopes as string) as string[]).join(' ')
  const iat = Math.floor(now / 1000)
  const access_token = await signToken(env, {
    iss: env.ISSUER,
    aud: row.audience,
    sub: row.client_id,
    client_id: row.client_id,
    org_id: row.organization_id,
    scope,
    jti: crypto.randomUUID(),
    iat,
    exp: iat + env.ACCESS_TOKEN_TTL_SECONDS,
    secret_id: row.id,
  })
  const answer = { access_token, token_type: 'bearer', expires_in: env.ACCESS_TOKEN_TTL_SECONDS, scope }
  return respond(path, 200, JSON.stringify(answer))
}

/** Client id and secret of Basic authentication. */
export function credentialsOf(request: Request): { clientId: string; secret: string } {
  const pair = atob((request.headers.get('Authorization') ?? '').slice('Basic '.length))
  const colon = pair.indexOf(':')
  return { clientId: pair.slice(0, colon), secret: pair.slice(colon + 1) }
}
