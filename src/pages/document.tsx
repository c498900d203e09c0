import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import { secureHeaders } from 'hono/secure-headers'
import type { HonoEnv } from '../http/context.ts'

/** The headers of an HTML page. It loads only what this Worker serves, and sends forms only where it says. */
export const pageHeaders = ({ hasForms }: { hasForms: boolean }) =>
  secureHeaders({
    xFrameOptions: 'DENY',
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      ...(hasForms && { scriptSrc: ["'self'"], connectSrc: ["'self'"] }),
      formAction: [hasForms ? "'self'" : "'none'"],
      frameAncestors: ["'none'"],
      baseUri: ["'none'"],
      requireTrustedTypesFor: ["'script'"],
      trustedTypes: ["'none'"],
    },
    permissionsPolicy: {
      camera: [],
      displayCapture: [],
      geolocation: [],
      microphone: [],
      payment: [],
      usb: [],
    },
  })

/** The origin for every address shown to people: from the settings, and from the request only if they have none. */
export function publicOrigin(c: Context<HonoEnv>): string {
  return c.env.ISSUER || new URL(c.req.url).origin
}

export const Brand = ({ href }: { href: string }) => (
  <a class="brand" href={href}>
    <img src="/static/icon.svg" alt="" width="20" height="20" />
    Oncekey
  </a>
)

interface DocumentOptions {
  readonly title: string
  /** The content of the header; a link to the start page by default. */
  readonly header?: Child
  /** A stylesheet in `/static` besides the common one. */
  readonly styles?: string
  /** Loads the browser script, which every page works without. */
  readonly hasScript?: boolean
}

/** Renders a whole page. Its route needs `pageHeaders`. Style attributes and inline scripts are blocked. */
export function documentOf({ title, header, styles, hasScript }: DocumentOptions, body: Child): string {
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
        {hasScript && <script type="module" src="/static/pages.js" />}
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
  return `<!DOCTYPE html>${page}`
}

/** The text of a file that is deployed beside the Worker, outside its bundle. */
export async function asset(c: Context<HonoEnv>, name: string): Promise<string> {
  const response = await c.env.ASSETS.fetch(`https://assets.invalid/${name}`)
  if (!response.ok) throw new Error(`the asset ${name} is missing: ${response.status}`)
  return response.text()
}
