import { createMiddleware } from 'hono/factory'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { CLOSED_MESSAGE, isClosed } from './settings.ts'

declare global {
  interface Env {
    /** A Worker secret. It is `true` while `npm run recover` keeps the Worker closed. */
    readonly MAINTENANCE?: string
  }
}

const RETRY_AFTER_SECONDS = 60

/**
 * While the Worker is closed, refuses every request that may need a database. During a recovery, the database may be
 * restored to a time before a revocation, so a revoked credential could work again. MAINTENANCE is a Worker secret,
 * because the restore would undo a state that is stored in the database.
 */
export const refuseIfClosed = createMiddleware<HonoEnv>(async (c, next) => {
  if (isClosed(c.env)) {
    throw new ApiError('service_unavailable', { message: CLOSED_MESSAGE, retryAfter: RETRY_AFTER_SECONDS })
  }
  await next()
})
