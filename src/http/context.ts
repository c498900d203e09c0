import type { AuthenticatedClient } from '../storage/authentication.ts'
import type { Access, Caller, Change, Identity } from '../storage/caller.ts'
import type { Database } from '../storage/database.ts'

/** The caller of a request to the management API, as far as its key tells. The database knows whether the key exists. */
export interface ApiCaller extends Caller {
  /** The plaintext key: only to derive client secrets. */
  readonly apiKey: string
  readonly region: string
  /** The access that this route needs. */
  readonly needs: Access
}

/** The caller of a request to the dashboard, as far as its cookie tells. */
export interface SessionCaller extends Caller {
  readonly region: string
}

/** Fields that a route can add to the log entry of its request. No credential, and nothing that a caller chose freely. */
export interface LogFields {
  /** The Cloudflare location of the Worker. */
  readonly colo?: string
  /** The deployed version of the Worker. */
  readonly version?: string
  /** The digit of the region that the credential names. */
  readonly region?: string
  /** The code of the error that was answered. */
  readonly error?: string
  /** Why, where the answer must not say: `secret_revoked` behind an `invalid_client`. */
  readonly reason?: string
  readonly client_id?: string
  readonly secret_id?: string
  readonly api_key_id?: string
  readonly environment_id?: string
  readonly event_id?: string
}

export interface HonoEnv {
  Bindings: Env
  Variables: {
    /** An ID that the Worker made, never the X-Request-ID that the caller sent. */
    requestId: string
    logFields: LogFields
    caller: ApiCaller
    session: SessionCaller
    /** The caller as the database knows it, once it has answered. */
    identity?: Identity
    /** The client that an OAuth endpoint has authenticated. */
    client?: Pick<AuthenticatedClient, 'environmentId' | 'application'>
    /** A webhook endpoint wants the event of the change that the request made. */
    hasDelivery?: boolean
    /** Once the request has named a region. */
    database: Database
    /** The change that this request has sent to the database, if any: see `beginChange`. */
    change?: Change
    /** The parsed JSON body. */
    body: unknown
  }
}
