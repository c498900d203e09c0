import type { RequestIdVariables } from 'hono/request-id'
import type { Database } from '../storage/database.ts'
import type { Access, Caller, Change, Identity } from '../storage/statements.ts'

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
  /** What this page asks of it. */
  readonly needs: Access
}

export interface HonoEnv {
  Bindings: Env
  Variables: RequestIdVariables & {
    caller: ApiCaller
    session: SessionCaller
    /** Whose the session is, once storage has told. */
    identity: Identity
    database: Database
    /** What the request changes, where it does. */
    change?: Change
    /** The JSON body, the same text for the same value. */
    canonicalBody: string
  }
}
