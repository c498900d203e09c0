import { Hono } from 'hono'
import { raw } from 'hono/html'
import { NONCE, secureHeaders } from 'hono/secure-headers'
import { cacheable } from '../http/caching.ts'
import type { HonoEnv } from '../http/context.ts'
import { asset } from '../pages/assets.ts'
import { Brand, documentOf } from '../pages/document.tsx'
import { ORIGIN } from './origin.ts'

/** Pages that are read: there is no script to be let in, and nothing to be sent. */
const pageHeaders = secureHeaders({
  xFrameOptions: 'DENY',
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    styleSrc: [NONCE],
    imgSrc: ['data:'],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
    baseUri: ["'none'"],
  },
})

/**
 * What is served, for programs and for people: the same for everybody. What is long of it was made beforehand, by
 * `npm run openapi`, and is no part of the bundle.
 */
export const reference = new Hono<HonoEnv>()
  .use('/', pageHeaders)
  .get('/', cacheable, async (c) => {
    const body = raw(await asset(c, 'start.html'))
    return c.html(await documentOf(c, { title: 'Start', isNarrow: true, styles: 'reference.css' }, body))
  })

  .use('/docs', pageHeaders)
  .get('/docs', cacheable, async (c) => {
    const page = await asset(c, 'generated/docs.html')
    const body = raw(page.replaceAll(ORIGIN, () => c.env.ISSUER || new URL(c.req.url).origin))
    return c.html(await documentOf(c, { title: 'API reference', header: <Header />, styles: 'reference.css' }, body))
  })

  .get('/openapi.json', cacheable, async (c) =>
    c.body(await asset(c, 'generated/openapi.json'), { headers: { 'Content-Type': 'application/json' } }),
  )

const Header = () => (
  <>
    <Brand href="/" />
    <span class="where" />
    <span class="row small">
      <a href="/dashboard">Dashboard</a>
      <a href="/openapi.json">OpenAPI</a>
    </span>
  </>
)
