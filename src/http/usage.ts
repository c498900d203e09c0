import type { Context } from 'hono'
import type { CountedOperation } from '../contract/usage.ts'
import type { HonoEnv } from './context.ts'

declare global {
  interface Env {
    /** A dataset of Workers Analytics Engine. Nothing is counted without it, as on a local server. */
    readonly USAGE?: AnalyticsEngineDataset
  }
}

/** The application. If it is null or absent, nothing is counted. */
interface Subject {
  readonly environmentId?: string | null
  readonly applicationId: string | null
}

/**
 * Counts one operation of an application as one data point, which Cloudflare writes after the response. It must not
 * fail a request. `npm run usage` reads the data. The index is the environment, so that Cloudflare samples each
 * environment on its own.
 */
export function countUsage(
  c: Context<HonoEnv>,
  operation: CountedOperation,
  { environmentId, applicationId }: Subject,
): void {
  const { USAGE } = c.env
  if (!USAGE || !environmentId || !applicationId) return
  try {
    USAGE.writeDataPoint({ indexes: [environmentId], blobs: [operation, applicationId] })
  } catch (error) {
    console.error({ message: 'usage not counted', request_id: c.get('requestId'), error: String(error) })
  }
}
