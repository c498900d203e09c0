import type { Context } from 'hono'
import type { HonoEnv } from './context.ts'

declare global {
  interface Env {
    /** A dataset of Workers Analytics Engine. Nothing is counted without it, as on a local server. */
    readonly USAGE?: AnalyticsEngineDataset
  }
}

/** `create` issues a client secret; `refused` is the use of a secret that exists, and authenticates no client. */
export type Operation = 'token' | 'introspection' | 'create' | 'refused'

/** Null or absent: the application is unknown, and nothing is counted. */
interface Subject {
  readonly environmentId?: string | null
  readonly applicationId: string | null
}

/**
 * Counts one operation of an application: one data point, which the platform writes behind the response. It must not fail
 * a request. `npm run usage` reads it: the index is the environment, so that a busy one is sampled by itself.
 */
export function countUsage(c: Context<HonoEnv>, operation: Operation, { environmentId, applicationId }: Subject): void {
  const { USAGE } = c.env
  if (!USAGE || !environmentId || !applicationId) return
  try {
    USAGE.writeDataPoint({ indexes: [environmentId], blobs: [operation, applicationId] })
  } catch (error) {
    console.error({ message: 'usage not counted', request_id: c.get('requestId'), error: String(error) })
  }
}
