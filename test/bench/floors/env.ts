import { type Bytes, sha256 } from '../../../src/credential/digest.ts'
import { respond } from './response.ts'

export interface FloorEnv {
  readonly DB: D1Database
  readonly ISSUER: string
  readonly SIGNING_KEY: string
  readonly ACCESS_TOKEN_TTL_SECONDS: number
  readonly MAX_SECRETS_PER_APPLICATION: number
}

export function apiKeyOf(request: Request): string {
  return (request.headers.get('Authorization') ?? '').slice('Bearer '.length)
}

/** The digest of the API key that a request carries. */
export function apiKeyDigest(request: Request): Promise<Bytes> {
  return sha256(apiKeyOf(request))
}

/** The n-th part of a path. */
export function part(path: string, n: number): string {
  return path.split('/')[n] ?? ''
}

export function unauthorized(path: string): Response {
  return respond(path, 401, JSON.stringify({ message: 'Unauthorized', code: 'unauthorized' }))
}

/** A secret as the wire shows it. */
export function secretToWire(row: Record<string, unknown>) {
  return {
    object: 'connect_application_secret',
    id: row.id,
    secret_hint: row.secret_hint,
    last_used_at: iso(row.last_used_at),
    created_at: iso(row.created_at),
    updated_at: iso(row.updated_at),
  }
}

export function iso(milliseconds: unknown): string | null {
  return milliseconds === null ? null : new Date(milliseconds as number).toISOString()
}
