import type { Caller, Change, Identity, Need } from '../storage/caller.ts'
import type { AuthenticatedClient } from '../storage/client-authentication.ts'
import type { Database } from '../storage/database.ts'

/**
 * The caller that a request to the management API claims to be, read from its API key. Only the database knows whether
 * the key exists.
 */
export interface ApiCaller extends Caller {
  /** The plaintext key, used only to derive client secrets. */
  readonly apiKey: string
  readonly region: string
  /** The right that the route needs. */
  readonly needs: Need
}

/** The caller that a request to the dashboard claims to be, read from its session cookie. */
export interface SessionCaller extends Caller {
  readonly region: string
  /** The right that the submitted form needs. Absent if the request submits no form. */
  readonly needs?: Need
}

/**
 * Fields that a route can add to the log entry of its request. They hold no credential and no free text from the
 * caller.
 */
export interface LogFields {
  /** The Cloudflare location of the Worker. */
  readonly colo?: string
  /** The deployed version of the Worker. */
  readonly version?: string
  /** The digit of the region that the credential names. */
  readonly region?: string
  /** The code of the error in the response. */
  readonly error?: string
  /** The reason that the response must not reveal, such as `secret_revoked` behind an `invalid_client`. */
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
    /** The ID that the Worker generates. The X-Request-ID that the caller sent is never used here. */
    requestId: string
    logFields: LogFields
    caller: ApiCaller
    session: SessionCaller
    /** The identity of the caller. It is set after the database has identified the caller. */
    identity?: Identity
    /** The client that an OAuth endpoint has authenticated. */
    client?: Pick<AuthenticatedClient, 'environmentId' | 'application'>
    /** True if a webhook endpoint is subscribed to the event of this request's change. */
    hasDelivery?: boolean
    /** Sends events to the webhooks, for routes that record events after the response. It does not throw. */
    deliver: (database: Database, events: readonly RecordedEvent[]) => Promise<void>
    /** The database of the caller's region. */
    database: Database
    /** The change of this request; see `beginChange`. It is absent until the request starts a change. */
    change?: Change
    /** The parsed JSON body. */
    body: unknown
  }
}
