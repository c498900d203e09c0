import { createMiddleware } from 'hono/factory'
import type { HonoEnv } from './context.ts'
import { ApiError } from './errors.ts'
import { CLOSED_MESSAGE, isClosed } from './settings.ts'

declare global {
  interface Env {
    /** A Worker secret: `true` while `npm run recover` has closed the Worker. */
    readonly MAINTENANCE?: string
  }
}

const RETRY_AFTER_SECONDS = 60

/**
 * Refuses every route that needs a credential while the Worker is closed: the database may have been restored to a time
 * before a revocation. The state is a secret of the Worker, because a restored database would not have it.
 */
export const refuseIfClosed = createMiddleware<HonoEnv>(async (c, next) => {
  if (isClosed(c.env)) {
    throw new ApiError('service_unavailable', { message: CLOSED_MESSAGE, retryAfter: RETRY_AFTER_SECONDS })
  }
  await next()
})
