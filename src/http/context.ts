import type { RequestIdVariables } from 'hono/request-id'
import type { Access, Caller, Change, Identity } from '../storage/caller.ts'
import type { Database } from '../storage/database.ts'

/** Who sent a request to the management API, as far as its key tells; whether the key is known, storage tells. */
export interface ApiCaller extends Caller {
  /** The plaintext key: for deriving, and for nothing else. */
  readonly apiKey: string
  readonly region: string
  /** What this route asks of it. */
  readonly needs: Access
}

/** Who sent a request to the dashboard, as far as its cookie tells. */
export interface SessionCaller extends Caller {
  readonly region: string
}

export interface HonoEnv {
  Bindings: Env
  Variables: RequestIdVariables & {
    caller: ApiCaller
    session: SessionCaller
    /** The caller as the database knows it, once it has been asked. */
    identity?: Identity
    /** A webhook endpoint wants the event of the change that the request made. */
    hasDelivery?: boolean
    database: Database
    /** What the request changes, where it does. */
    change?: Change
    /** The JSON body, the same text for the same value. */
    canonicalBody: string
  }
}
