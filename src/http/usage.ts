import type { Context } from 'hono'
import type { HonoEnv } from './context.ts'

declare global {
  interface Env {
    /** A dataset of Workers Analytics Engine. Nothing is counted without it, as on a local server. */
    readonly USAGE?: AnalyticsEngineDataset
  }
}

/** `create`: a client secret was issued. `refused`: an existing secret was used, but it authenticates no client. */
export type Operation = 'token' | 'introspection' | 'create' | 'refused'

/** Null or absent: the application is unknown, and nothing is counted. */
interface Subject {
  readonly environmentId?: string | null
  readonly applicationId: string | null
}

/**
 * Counts one operation of an application as one data point, which Cloudflare writes after the response. It must not
 * fail a request. `npm run usage` reads the data. The index is the environment, so that Cloudflare samples each
 * environment on its own.
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
