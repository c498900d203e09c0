import type { Bytes } from '../credential/digest.ts'
import type { UnixMs } from './database.ts'

export type Access = 'read' | 'write'

/** The permissions that an API key can be limited to. */
export const PERMISSIONS = ['applications:write', 'secrets:write', 'secrets:verify', 'events:read'] as const
export type Permission = (typeof PERMISSIONS)[number]

/**
 * The right that a statement or a request needs. `secrets:read` is for reading applications and their secrets. `read`
 * and `write` are for objects without permissions of their own, such as API keys and webhook endpoints.
 */
export type Need = Access | Permission | 'secrets:read'

/** The rights of an API key. */
export interface Rights {
  readonly access: Access
  /**
   * Null if the key has all permissions of its access level. A key with a list has access `read`, because older
   * versions of the Worker check only `access`.
   */
  readonly permissions: readonly string[] | null
}

export const isChanging = (needs: Need) => needs.endsWith('write')

/**
 * Returns the permissions that allow `needs`. One of them is enough. A key that may change applications or secrets may
 * read both.
 */
export function permissionsFor(needs: Need): readonly Permission[] {
  if (needs === 'secrets:read') return ['applications:write', 'secrets:write']
  return PERMISSIONS.filter((permission) => permission === needs)
}

/** Returns true if a key has the right `needs`. `mayDo` is the same rule in SQL. */
export function isAllowed({ access, permissions }: Rights, needs: Need): boolean {
  if (permissions === null) return access === 'write' || !isChanging(needs)
  return permissionsFor(needs).some((permission) => permissions.includes(permission))
}

/** The caller that a request names. Only the database knows whether this caller exists. */
export interface Caller {
  readonly kind: 'api_key' | 'session'
  /** SHA-256 of the API key or of the session credential. */
  readonly digest: Bytes
  /**
   * The ID of an API key, used instead of the digest for a person who signs in through Cloudflare Access. This ID is no
   * credential: only the sign-in may set it, after it has verified the person.
   */
  readonly apiKeyId?: string
  /**
   * The bits of the caller's IP address; see `addressBits`. If they are absent, an API key with IP ranges is refused.
   */
  readonly addressBits?: string
  /**
   * The environment that a form was rendered for. If the caller belongs to a different environment, it has no write
   * access.
   */
  readonly environmentId?: string
}

/** The identity of a caller that the database knows. A session has the identity of its API key. */
export interface Identity extends Rights {
  readonly apiKeyId: string
  readonly apiKeyName: string
  readonly environmentId: string
  /**
   * The name of the environment, for a session only. It is null for an API key, because only the dashboard shows it.
   */
  readonly environmentName: string | null
  /**
   * True if the environment is frozen, for a session only. It is always false for an API key, because only the
   * dashboard shows it.
   */
  readonly isFrozen: boolean
  /** The ID of the session; null for an API key. */
  readonly sessionId: string | null
  /** The email address of a person who signed in through Cloudflare Access; null otherwise. */
  readonly person: string | null
}

/** The client that sent the request for a change, as the event of the change records it. */
export interface Origin {
  readonly address: string | null
  /** A country code (ISO 3166-1 alpha-2). */
  readonly country: string | null
  readonly userAgent: string | null
  /** The X-Request-ID that the client sent. */
  readonly clientRequestId: string | null
}

/**
 * A change. Its IDs and its time are fixed before the first attempt, so that a retry does not make the change twice.
 */
export interface Change {
  readonly caller: Caller
  readonly eventId: string
  readonly requestId: string
  readonly now: UnixMs
  /** Null if the change was not caused by a request. */
  readonly origin: Origin | null
}

type Refused<Code extends string> = Code extends string ? { readonly refused: Code } : never

/** The result of an operation: a granted value, or the code of a refusal. */
export type Result<Granted, Refusal extends string = never> =
  | { readonly granted: Granted; readonly refused?: undefined }
  | Refused<Refusal>

/** A result, with the identity of the caller unless the caller is unknown. */
export type Outcome<Granted, Refusal extends string = never> =
  | (Refused<'unauthorized'> & { readonly identity?: undefined })
  | (Result<Granted, Refusal | 'forbidden'> & {
      readonly identity: Identity
      /** True if the change recorded an event that a webhook endpoint is subscribed to. */
      readonly hasDelivery: boolean
    })
