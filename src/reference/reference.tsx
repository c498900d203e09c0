import { type Context, Hono } from 'hono'
import { raw } from 'hono/html'
import type { HonoEnv } from '../http/context.ts'
import { cacheable } from '../http/headers.ts'
import { asset, Brand, htmlPage, publicOrigin } from '../pages/document.tsx'
import { withOrigin } from './origin.ts'

/** The public documentation. `npm run openapi` generates the files, and the Worker reads them from its assets. */
export const reference = new Hono<HonoEnv>()
  .get('/', cacheable, (c) => htmlPage(c, { title: 'Start', styles: 'reference.css' }, <Start />))

  .get('/docs', cacheable, async (c) => {
    const body = raw(withOrigin(await asset(c, 'generated/docs.html'), publicOrigin(c), 'html'))
    return htmlPage(
      c,
      { title: 'API reference', header: <Header />, styles: 'reference.css', script: 'reference.js' },
      body,
    )
  })

  .get('/openapi.json', async (c) =>
    c.body(await asset(c, 'generated/openapi.json'), { headers: { 'Content-Type': 'application/json' } }),
  )

  .get('/docs.md', (c) => textOf(c, 'docs.md', 'text/markdown'))

  .get('/llms.txt', (c) => textOf(c, 'llms.txt', 'text/plain'))

/** A generated text, with the origin of the Worker in place of the placeholders. */
async function textOf(c: Context<HonoEnv>, name: string, type: string): Promise<Response> {
  const text = withOrigin(await asset(c, `generated/${name}`), publicOrigin(c))
  return c.body(text, { headers: { 'Content-Type': `${type}; charset=UTF-8` } })
}

const Header = () => (
  <>
    <Brand href="/" />
    <span class="spacer" />
    <span class="row small">
      <a href="/dashboard">Dashboard</a>
      <a href="/docs.md">Markdown</a>
      <a href="/openapi.json">OpenAPI</a>
    </span>
  </>
)

const LINKS = [
  ['/dashboard', 'Dashboard', 'Manage applications and client secrets. Sign in with an API key.'],
  ['/docs', 'API reference', 'Guides, and every call with samples in six languages.'],
  ['/docs.md', 'API reference as Markdown', 'The same in one file, for tools and language models.'],
  ['/openapi.json', 'OpenAPI document', 'The API in OpenAPI 3.1, for tools and code generators.'],
  [
    '/.well-known/oauth-authorization-server',
    'Authorization server metadata',
    'The OAuth endpoints, for client libraries (RFC 8414).',
  ],
  [
    '/.well-known/openid-configuration',
    'OpenID configuration',
    'The same, where OpenID Connect libraries look for it.',
  ],
  ['/oauth2/jwks', 'Signing keys', 'Public keys for verifying access tokens (RFC 7517).'],
  ['/healthz', 'Liveness', 'Whether the Worker runs.'],
  ['/readyz', 'Readiness', 'Whether the Worker can serve requests.'],
] as const

const Start = () => (
  <section class="narrow">
    <div class="stack">
      <h1>OAuth client secrets, shown once</h1>
      <p class="lead">
        Oncekey issues client secrets for your applications and services, stores a digest of each, and verifies it.
      </p>
    </div>
    <ul class="ways">
      {LINKS.map(([href, name, description]) => (
        <li>
          <a class="name" href={href}>
            {name}
          </a>
          <p class="quiet">{description}</p>
        </li>
      ))}
    </ul>
  </section>
)
