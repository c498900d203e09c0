import { sha256 } from '../../../src/credential/digest.ts'
import type { FloorEnv } from './env.ts'
import { respond } from './response.ts'

const SESSION = `SELECT api_keys.access, api_keys.name, environments.name AS environment_name
  FROM sessions JOIN api_keys ON api_keys.id = sessions.api_key_id
  JOIN environments ON environments.id = sessions.environment_id
  WHERE sessions.digest = ?1 AND ended_at IS NULL AND sessions.last_used_at > ?2 AND revoked_at IS NULL`

const PAGE = `SELECT applications.id, client_id, application_type, name, description, scopes, organization_id,
    redirect_uris, uses_pkce, is_first_party, applications.created_at, updated_at
  FROM applications INDEXED BY applications_by_creation
  WHERE environment_id = (SELECT environment_id FROM sessions WHERE digest = ?1)
  AND deleted_at IS NULL ORDER BY applications.id DESC LIMIT 26`

/** The session and a page of applications. The HTML is the product's: it is not rendered. */
export async function dashboardList(path: string, request: Request, { DB }: FloorEnv): Promise<Response> {
  const cookie = request.headers.get('Cookie') ?? ''
  const digest = await sha256(cookie.slice(cookie.indexOf('=') + 1))
  const [session, applications] = await DB.batch([
    DB.prepare(SESSION).bind(digest, Date.now() - 30 * 60_000),
    DB.prepare(PAGE).bind(digest),
  ])
  if (!session?.results.length || !applications?.results.length) return respond(path, 303, null)
  return respond(path, 200)
}
