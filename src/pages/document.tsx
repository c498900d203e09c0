import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import { NONCE, secureHeaders } from 'hono/secure-headers'
import type { HonoEnv } from '../http/context.ts'
import { asset } from './assets.ts'

/** What every page for people may do: nothing but its own styles, its own script, and forms to its own origin. */
export const pageHeaders = secureHeaders({
  xFrameOptions: 'DENY',
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: [NONCE],
    styleSrc: [NONCE],
    imgSrc: ['data:'],
    connectSrc: ["'self'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
    baseUri: ["'none'"],
  },
})

/** A key's bow, with the one hole. */
const MARK =
  'M10 1a6 6 0 0 1 2 11.66V14h2v2.5h-2V19H8.5v-6.5A6 6 0 0 1 10 1Zm0 3.25a1.75 1.75 0 1 0 0 3.5 1.75 1.75 0 0 0 0-3.5Z'
const ICON = `data:image/svg+xml,${encodeURIComponent(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><path fill="#b07a1e" fill-rule="evenodd" d="${MARK}"/></svg>`,
)}`

export const Brand = ({ href }: { href: string }) => (
  <a class="brand" href={href}>
    <svg viewBox="0 0 20 20" aria-hidden="true" fill="currentColor" fill-rule="evenodd">
      <path d={MARK} />
    </svg>
    Oncekey
  </a>
)

interface DocumentOptions {
  readonly title: string
  /** Above the page's own part; a link to the beginning where there is nothing else. */
  readonly header?: Child
  /** Forms and texts, where a wide line is hard to read. */
  readonly isNarrow?: boolean
  /** An asset: what the page has besides the stylesheet of every page. */
  readonly styles?: string
  /** An asset. Comfort alone: without it, every page works. */
  readonly script?: string
}

/**
 * A page as text. Its route must have `pageHeaders`, whose nonce lets the styles and the script in; a style attribute is
 * let in nowhere.
 */
export async function documentOf(
  c: Context<HonoEnv>,
  { title, header, isNarrow, styles, script }: DocumentOptions,
  body: Child,
): Promise<string> {
  const nonce = c.get('secureHeadersNonce')
  const [common, own = '', comfort] = await Promise.all([
    asset(c, 'pages.css'),
    styles && asset(c, styles),
    script && asset(c, script),
  ])
  const page = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <title>{`${title} · Oncekey`}</title>
        <link rel="icon" href={ICON} />
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: common + own }} />
      </head>
      <body>
        <a class="skip" href="#main">
          Skip to the content
        </a>
        <header class="top">
          <div>{header ?? <Brand href="/" />}</div>
        </header>
        <main id="main" class={isNarrow ? 'narrow' : undefined}>
          {body}
        </main>
        {comfort && <script nonce={nonce} dangerouslySetInnerHTML={{ __html: comfort }} />}
      </body>
    </html>
  )
  return `<!DOCTYPE html>${page}`
}
