import { type Context, Hono } from 'hono'
import { raw } from 'hono/html'
import { NONCE, secureHeaders } from 'hono/secure-headers'
import { Brand, documentOf } from '../dashboard/document.tsx'
import { cacheable } from '../http/caching.ts'
import type { HonoEnv } from '../http/context.ts'
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
    const styles = await asset(c, 'reference.css')
    return c.html(documentOf(c, { title: 'Start', isNarrow: true, styles }, <Start />))
  })

  .use('/docs', pageHeaders)
  .get('/docs', cacheable, async (c) => {
    const [page, styles] = await Promise.all([asset(c, 'docs.html'), asset(c, 'reference.css')])
    const body = raw(page.replaceAll(ORIGIN, () => c.env.ISSUER || new URL(c.req.url).origin))
    return c.html(documentOf(c, { title: 'API reference', header: <Header />, styles }, body))
  })

  .get('/openapi.json', cacheable, async (c) =>
    c.body(await asset(c, 'openapi.json'), { headers: { 'Content-Type': 'application/json' } }),
  )

/** Assets are behind the Worker, which alone is reached from outside. */
async function asset(c: Context<HonoEnv>, name: string): Promise<string> {
  const response = await c.env.ASSETS.fetch(`https://assets.invalid/${name}`)
  if (!response.ok) throw new Error(`the asset ${name} is not there: ${response.status}`)
  return response.text()
}

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

const Start = () => (
  <>
    <div class="stack">
      <h1>OAuth client secrets, shown once</h1>
      <p class="lead">
        Oncekey issues the secrets by which programs sign in, keeps a digest of each, and verifies it from then on.
      </p>
    </div>
    <ul class="ways">
      <Way href="/dashboard" name="Dashboard">
        Applications and their secrets, for people with an API key.
      </Way>
      <Way href="/docs" name="API reference">
        Every call, with a line to paste into a shell.
      </Way>
      <Way href="/openapi.json" name="OpenAPI document">
        The same for programs, in OpenAPI 3.1.
      </Way>
      <Way href="/.well-known/oauth-authorization-server" name="Authorization server metadata">
        Where clients find the endpoints (RFC 8414). Libraries for OpenID Connect have{' '}
        <a href="/.well-known/openid-configuration">a path of their own</a>.
      </Way>
      <Way href="/oauth2/jwks" name="Signing keys">
        What access tokens are checked with (RFC 7517).
      </Way>
      <Way href="/healthz" name="Health">
        Whether it runs; <a href="/readyz">readiness</a> tells whether storage answers too.
      </Way>
    </ul>
  </>
)

const Way = ({ href, name, children }: { href: string; name: string; children: unknown }) => (
  <li>
    <a class="name" href={href}>
      {name}
    </a>
    <p class="quiet">{children}</p>
  </li>
)
