import type { Bytes } from '../credential/digest.ts'
import type { UnixMs } from './database.ts'

export type Access = 'read' | 'write'

/** Whoever makes a request, as far as the request tells: the database knows whether there is such a caller. */
export interface Caller {
  readonly kind: 'api_key' | 'session'
  /** SHA-256 of the API key or of the session credential. */
  readonly digest: Bytes
}

/** A caller that the database knows. A session has the identity of its API key. */
export interface Identity {
  readonly apiKeyId: string
  readonly apiKeyName: string
  readonly access: Access
  readonly environmentId: string
  readonly environmentName: string
}

/** A change, fixed before its first attempt, so that a retry cannot make it twice. */
export interface Change {
  readonly caller: Caller
  readonly eventId: string
  readonly requestId: string
  readonly now: UnixMs
}

type Refused<Code extends string> = Code extends string ? { readonly refused: Code } : never

/** The result of a request, as a value: granted, or refused for one reason. */
export type Result<Granted, Refusal extends string = never> = { readonly granted: Granted } | Refused<Refusal>

/** A result together with the caller's identity, which only an unknown caller has not. */
export type Outcome<Granted, Refusal extends string = never> =
  | { readonly refused: 'unauthorized' }
  | (Result<Granted, Refusal | 'forbidden'> & { readonly identity: Identity })
