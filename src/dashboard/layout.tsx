import type { Context } from 'hono'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { HonoEnv } from '../http/context.ts'
import { Brand, documentOf } from '../pages/document.tsx'
import { noSpellcheck, PostForm } from '../pages/forms.tsx'
import { Name } from '../pages/parts.tsx'
import { readCookie, removeCookie, writeCookie } from './cookies.ts'

const SECTIONS = [
  ['/dashboard', 'Applications'],
  ['/dashboard/events', 'Events'],
  ['/dashboard/webhooks', 'Webhooks'],
  ['/dashboard/keys', 'Keys'],
] as const

/** Texts about a change, each shown once on the next page. */
const NOTICES = new Map([
  ['application-created', 'Application created.'],
  ['application-saved', 'Application saved.'],
  ['application-deleted', 'Application deleted. Its secrets are revoked.'],
  ['secret-saved', 'Secret saved.'],
  ['secret-disabled', 'Secret disabled. You can enable it again.'],
  ['secret-enabled', 'Secret enabled.'],
  ['secret-kept', 'Secret kept. It no longer expires.'],
  ['secret-revoked', 'Secret revoked.'],
  ['secrets-revoked', 'All secrets of this application revoked.'],
  ['key-revoked', 'API key revoked. Its sessions have ended.'],
  ['session-ended', 'Session ended.'],
  ['delivery-queued', 'Delivery queued.'],
])

/** Leads on to a page after a change, and has it say what was done. */
export function redirectWithNotice(c: Context<HonoEnv>, path: string, notice: string): Response {
  writeCookie(c, 'notice', notice)
  return c.redirect(path, 303)
}

interface PageOptions {
  readonly title: string
  /** The entry of the navigation that the page belongs to. */
  readonly section?: (typeof SECTIONS)[number][0]
  readonly status?: ContentfulStatusCode
}

/** Answers with a page of the dashboard. */
export function page(c: Context<HonoEnv>, { title, section, status = 200 }: PageOptions, body: Child): Response {
  const notice = NOTICES.get(readCookie(c, 'notice'))
  removeCookie(c, 'notice')
  const content = (
    <>
      {notice && (
        <p class="notice good" role="status">
          {notice}
        </p>
      )}
      {body}
      <p id="status" class="visually-hidden" role="status" />
    </>
  )
  const header = <Header identity={c.var.identity} section={section} />
  return c.html(documentOf({ title, header, hasScript: true }, content), status) as Response
}

interface HeaderProps {
  readonly identity: HonoEnv['Variables']['identity'] | undefined
  readonly section: string | undefined
}

const Header = ({ identity, section }: HeaderProps) => (
  <>
    <Brand href="/dashboard" />
    {identity && (
      <>
        <p class="where">
          <Name>{identity.environmentName}</Name>
        </p>
        <nav aria-label="Dashboard">
          {SECTIONS.map(([href, name]) => (
            <a href={href} aria-current={href === section ? 'page' : undefined}>
              {name}
            </a>
          ))}
          <a href="/docs">Docs</a>
          <a href="/dashboard/find" class="if-narrow">
            Find
          </a>
        </nav>
        <FindByHint />
        <p class="who">
          <bdi>{identity.apiKeyName}</bdi>
          {identity.access === 'read' && ' · Read-only'}
        </p>
        <PostForm action="/dashboard/sign-out">
          <button type="submit" class="plain">
            Sign out
          </button>
        </PostForm>
      </>
    )}
  </>
)

/** A POST, so that a whole secret that is pasted here comes into no URL. */
const FindByHint = () => (
  <search>
    <PostForm action="/dashboard/find" class="find">
      <label for="hint" class="visually-hidden">
        Find a secret (last 6 characters)
      </label>
      <input
        id="hint"
        name="hint"
        required
        placeholder="Secret’s last 6 characters"
        class="code"
        autocomplete="off"
        {...noSpellcheck}
        autocapitalize="off"
      />
      <button type="submit">Find</button>
    </PostForm>
  </search>
)
