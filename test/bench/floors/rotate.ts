import { issueCredential } from '../../../src/credential/credential.ts'
import { newId } from '../../../src/credential/id.ts'
import { created, INSERT_SECRET, insertEvent, VERDICT } from './create.ts'
import { apiKeyDigest, type FloorEnv, part, unauthorized } from './env.ts'

const GRACE_PERIOD_MS = 24 * 60 * 60 * 1000

const EXPIRE_OTHERS = `UPDATE client_secrets INDEXED BY client_secrets_by_application
  SET retires_at = ?1, expires_at = min(coalesce(expires_at, ?1), ?1), updated_at = ?2, event_id = ?3
  WHERE environment_id = (SELECT environment_id FROM api_keys WHERE digest = ?5)
  AND application_id = (SELECT application_id FROM client_secrets WHERE environment_id = (
    SELECT environment_id FROM api_keys WHERE digest = ?5) AND id = ?4 AND event_id = ?3)
  AND id <> ?4 AND ended_at = 0 AND (expires_at IS NULL OR expires_at > ?2)`

/** Insert the secret, let the others expire, insert the event, ask for the verdict. */
export async function rotateSecrets(path: string, request: Request, { DB }: FloorEnv): Promise<Response> {
  await request.text()
  const now = Date.now()
  const caller = await apiKeyDigest(request)
  const { plaintext, digest, hint } = await issueCredential('cs', '0')
  const [application, id, event] = [part(path, 3), newId('secret', now), newId('event', now)]
  const type = 'connect_application_secret.rotated'
  const [, , , verdict] = await DB.batch([
    DB.prepare(INSERT_SECRET).bind(caller, application, id, digest, hint, now, event),
    DB.prepare(EXPIRE_OTHERS).bind(now + GRACE_PERIOD_MS, now, event, id, caller),
    insertEvent(DB, { event, type, application, id, hint, now, caller }),
    DB.prepare(VERDICT).bind(caller, application, id),
  ])
  const row = verdict?.results[0] as Record<string, unknown> | undefined
  if (row?.access !== 'write' || row.secret_id !== id) return unauthorized(path)
  return created(path, { id, secret_hint: hint, last_used_at: null, created_at: now, updated_at: now }, plaintext)
}
