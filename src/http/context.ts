import type { Caller, Change, Identity, Need } from '../storage/caller.ts'
import type { AuthenticatedClient } from '../storage/client-authentication.ts'
import type { Database } from '../storage/database.ts'

/**
 * The caller of a request to the management API, from its API key alone. Only the database knows whether the key
 * exists.
 */
export interface ApiCaller extends Caller {
  /** The plaintext key, used only to derive client secrets. */
  readonly apiKey: string
  readonly region: string
  /** The right that this route needs. */
  readonly needs: Need
}

/** The caller of a request to the dashboard, from its cookie alone. */
export interface SessionCaller extends Caller {
  readonly region: string
  /** The right that the submitted form needs; absent on other pages. */
  readonly needs?: Need
}

/**
 * Fields that a route can add to the log entry of its request. No credential, and nothing that a caller chose freely.
 */
export interface LogFields {
  /** The Cloudflare location of the Worker. */
  readonly colo?: string
  /** The deployed version of the Worker. */
  readonly version?: string
  /** The digit of the region that the credential names. */
  readonly region?: string
  /** The code of the error that was answered. */
  readonly error?: string
  /** The reason that the response must not tell, such as `secret_revoked` behind an `invalid_client`. */
  readonly reason?: string
  readonly client_id?: string
  readonly secret_id?: string
  readonly api_key_id?: string
  readonly environment_id?: string
  readonly event_id?: string
}

export interface RecordedEvent {
  readonly id: string
  readonly environmentId: string
}

export interface HonoEnv {
  Bindings: Env
  Variables: {
    /** An ID that the Worker made, never the X-Request-ID that the caller sent. */
    requestId: string
    logFields: LogFields
    caller: ApiCaller
    session: SessionCaller
    /** The caller; set when the database has identified it. */
    identity?: Identity
    /** The client that an OAuth endpoint has authenticated. */
    client?: Pick<AuthenticatedClient, 'environmentId' | 'application'>
    /** True if a webhook endpoint wants the event of this request's change. */
    hasDelivery?: boolean
    /** Sends events that were recorded after the response to the webhooks. It does not throw. */
    deliver: (database: Database, events: readonly RecordedEvent[]) => Promise<void>
    /** The database; set when the request has named a region. */
    database: Database
    /** The change that this request has sent to the database, if any: see `beginChange`. */
    change?: Change
    /** The parsed JSON body. */
    body: unknown
  }
}
