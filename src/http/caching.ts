import { createMiddleware } from 'hono/factory'
import type { HonoEnv } from './context.ts'

/** How long what is the same for everybody may be kept, in seconds. A rotation of signing keys waits for as long. */
const CACHE_SECONDS = 300

/** Lets an answer be kept that is the same for everybody; a refusal never is. */
export const cacheable = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  if (c.res.ok) c.res.headers.set('Cache-Control', `public, max-age=${CACHE_SECONDS}`)
})
