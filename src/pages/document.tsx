import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { HonoEnv } from '../http/context.ts'

/**
 * The Content-Security-Policy. A page loads only files of this Worker. Only an interactive page may send forms and
 * requests.
 */
const policyOf = (isInteractive: boolean, script?: string) =>
  [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    ...(script ? ["script-src 'self'"] : []),
    ...(isInteractive ? ["connect-src 'self'"] : []),
    `form-action ${isInteractive ? "'self'" : "'none'"}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')

/** The origin of every URL that pages show: the setting ISSUER, or the origin of the request if ISSUER is empty. */
export function publicOrigin(c: Context<HonoEnv>): string {
  return c.env.ISSUER || new URL(c.req.url).origin
}

export const Brand = ({ href }: { href: string }) => (
  <a class="brand" href={href}>
    <img src="/static/icon.svg" alt="" width="20" height="20" />
    Oncekey
  </a>
)

interface PageOptions {
  readonly title: string
  readonly status?: ContentfulStatusCode
  /** The content of the header. Default: a link to the start page. */
  readonly header?: Child
  /** A stylesheet in `/static`, in addition to the common one. Default for an interactive page: `dashboard.css`. */
  readonly styles?: string
  /** True if the page has forms. */
  readonly isInteractive?: boolean
  /** A script in `/static`. The page must also work without it. Default for an interactive page: `pages.js`. */
  readonly script?: string
}

/** Responds with an HTML page. Its policy blocks style attributes and inline scripts. */
export function htmlPage(c: Context<HonoEnv>, options: PageOptions, body: Child): Response {
  const { title, status = 200, header, isInteractive = false } = options
  const styles = options.styles ?? (isInteractive ? 'dashboard.css' : undefined)
  const script = options.script ?? (isInteractive ? 'pages.js' : undefined)
  const page = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <title>{`${title} · Oncekey`}</title>
        <link rel="icon" href="/static/icon.svg" />
        <link rel="stylesheet" href="/static/pages.css" />
        {styles && <link rel="stylesheet" href={`/static/${styles}`} />}
        {script && <script type="module" src={`/static/${script}`} />}
      </head>
      <body>
        <a class="skip" href="#main">
          Skip to content
        </a>
        <header class="top">
          <div>{header ?? <Brand href="/" />}</div>
        </header>
        <main id="main">{body}</main>
      </body>
    </html>
  )
  c.header('Content-Security-Policy', policyOf(isInteractive, script))
  return c.html(`<!DOCTYPE html>${page}`, status) as Response
}

/** The text of a file that is deployed beside the Worker, outside its bundle. */
export async function asset(c: Context<HonoEnv>, name: string): Promise<string> {
  const response = await c.env.ASSETS.fetch(`https://assets.invalid/${name}`)
  if (!response.ok) throw new Error(`the asset ${name} is missing: ${response.status}`)
  return response.text()
}
