import { cors } from 'hono/cors'
import { createMiddleware } from 'hono/factory'
import type { HonoEnv } from './context.ts'
import { PUBLIC_CACHE_SECONDS } from './settings.ts'

/** Lets everyone keep a successful response, which is the same for all callers. Errors are never kept. */
export const cacheable = createMiddleware<HonoEnv>(async (c, next) => {
  await next()
  if (c.res.ok) c.res.headers.set('Cache-Control', `public, max-age=${PUBLIC_CACHE_SECONDS}`)
})

const anyOrigin = cors({ origin: '*', allowMethods: ['GET', 'HEAD'], maxAge: 86_400 })

/** For public documents: keys, discovery, the API description. Pages of any origin may read them. */
export const publicDocument = createMiddleware<HonoEnv>(async (c, next) => {
  const response = await anyOrigin(c, next)
  if (response) return response
  c.res.headers.set('Cross-Origin-Resource-Policy', 'cross-origin')
  if (c.res.ok) c.res.headers.set('Cache-Control', `public, max-age=${PUBLIC_CACHE_SECONDS}`)
})
