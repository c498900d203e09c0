import type { Bytes } from '../credential/digest.ts'
import type { UnixMs } from './database.ts'

export type Access = 'read' | 'write'

/** The permissions of an API key that may do less than its access would allow. */
export const PERMISSIONS = ['applications:write', 'secrets:write', 'secrets:verify', 'events:read'] as const
export type Permission = (typeof PERMISSIONS)[number]

/**
 * The right that a statement or a request needs. `secrets:read` is for applications and their secrets. `read` and `write` are for
 * everything that has no permission of its own, such as API keys and webhook endpoints.
 */
export type Need = Access | Permission | 'secrets:read'

/** The rights of an API key. */
export interface Rights {
  readonly access: Access
  /** Null for all that the access allows. Older versions know the access only, so it is `read` beside permissions. */
  readonly permissions: readonly string[] | null
}

export const isChanging = (needs: Need) => needs.endsWith('write')

/** The permissions that are enough for a need. Who may change applications or secrets may read both. */
export function permissionsFor(needs: Need): readonly Permission[] {
  if (needs === 'secrets:read') return ['applications:write', 'secrets:write']
  return PERMISSIONS.filter((permission) => permission === needs)
}

/** True if a key may do it. `scopeOf` has the same rule in SQL. */
export function isAllowed({ access, permissions }: Rights, needs: Need): boolean {
  if (permissions === null) return access === 'write' || !isChanging(needs)
  return permissionsFor(needs).some((permission) => permissions.includes(permission))
}

/** The caller that a request names. The database knows whether it exists. */
export interface Caller {
  readonly kind: 'api_key' | 'session'
  /** SHA-256 of the API key or of the session credential. */
  readonly digest: Bytes
  /**
   * The ID of the API key that a person acts with whom Cloudflare Access has identified. It takes the place of the digest,
   * and proves nothing: only the sign-in may set it, after it has verified the person.
   */
  readonly apiKeyId?: string
  /** The bits of the caller's address: see `addressBits`. Without them, a key with IP ranges is unknown. */
  readonly addressBits?: string
  /** The environment that a form was made for. In another one the caller has no write access. */
  readonly environmentId?: string
}

/** A caller that the database knows. A session has the identity of its API key. */
export interface Identity extends Rights {
  readonly apiKeyId: string
  readonly apiKeyName: string
  readonly environmentId: string
  /** The name of a session's environment; null for an API key, which does not need it. */
  readonly environmentName: string | null
  /** True if a session's environment is frozen; false for an API key, which does not need it. */
  readonly isFrozen: boolean
  /** Null for an API key. */
  readonly sessionId: string | null
  /** The email address of the person, if the session was started through Cloudflare Access. */
  readonly person: string | null
}

/** The origin of a change, for its event. */
export interface Origin {
  readonly address: string | null
  /** ISO 3166-1 alpha-2. */
  readonly country: string | null
  readonly userAgent: string | null
  /** The request ID that the client chose. */
  readonly clientRequestId: string | null
}

/** A change, fixed before its first attempt, so that a retry cannot make it twice. */
export interface Change {
  readonly caller: Caller
  readonly eventId: string
  readonly requestId: string
  readonly now: UnixMs
  /** Null if the change does not come from a request. */
  readonly origin: Origin | null
}

type Refused<Code extends string> = Code extends string ? { readonly refused: Code } : never

/** The result of a request, as a value: granted, or refused for one reason. `refused` tells which. */
export type Result<Granted, Refusal extends string = never> =
  | { readonly granted: Granted; readonly refused?: undefined }
  | Refused<Refusal>

/** A result, with the identity of the caller unless it is unknown. */
export type Outcome<Granted, Refusal extends string = never> =
  | (Refused<'unauthorized'> & { readonly identity?: undefined })
  | (Result<Granted, Refusal | 'forbidden'> & {
      readonly identity: Identity
      /** True if the change recorded an event that a webhook endpoint wants. */
      readonly hasDelivery: boolean
    })
