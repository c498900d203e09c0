import type { Bytes } from '../credential/digest.ts'
import type { UnixMs } from './database.ts'

export type Access = 'read' | 'write'

/** The caller that a request names. The database knows whether it exists. */
export interface Caller {
  readonly kind: 'api_key' | 'session'
  /** SHA-256 of the API key or of the session credential. */
  readonly digest: Bytes
  /** The environment that a form was made for. In another one the caller has no write access. */
  readonly environmentId?: string
}

/** A caller that the database knows. A session has the identity of its API key. */
export interface Identity {
  readonly apiKeyId: string
  readonly apiKeyName: string
  readonly access: Access
  readonly environmentId: string
  /** The name of a session's environment; null for an API key, which does not need it. */
  readonly environmentName: string | null
  /** True if a session's environment is frozen; false for an API key, which does not need it. */
  readonly isFrozen: boolean
  /** Null for an API key. */
  readonly sessionId: string | null
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
