import type { Context } from 'hono'
import type { CountedOperation } from '../contract/usage.ts'
import type { HonoEnv } from './context.ts'

declare global {
  interface Env {
    /** A dataset of Workers Analytics Engine. If it is absent, as on a local server, usage is not counted. */
    readonly USAGE?: AnalyticsEngineDataset
  }
}

/** The application whose usage is counted. If either ID is null or absent, nothing is counted. */
interface Subject {
  readonly environmentId?: string | null
  readonly applicationId: string | null
}

/**
 * Counts one operation of an application. Cloudflare writes the data point after the response. An error here must not
 * fail the request. `npm run usage` reads the data. The environment is the index, because Cloudflare samples the data
 * of each index separately.
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
