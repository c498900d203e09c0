import type { Context, ErrorHandler } from 'hono'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { HonoEnv } from '../http/context.ts'
import { ApiError } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Brand, htmlPage } from '../pages/document.tsx'
import { noSpellcheck, PostForm, withCommonFields } from '../pages/forms.tsx'
import { isolated, Name, short } from '../pages/parts.tsx'
import { ProblemText, problemOf } from '../pages/problem.tsx'
import { isAllowed } from '../storage/caller.ts'
import type { Region } from '../storage/regions.ts'
import { readCookie, removeCookie, writeCookie } from './session.ts'

export const APPLICATIONS_PATH = '/dashboard/applications'
export const SECRETS_PATH = '/dashboard/secrets'
export const SETTINGS_PATH = '/dashboard/settings'

const SECTIONS = [
  ['/dashboard', 'Overview', 'secrets:read'],
  [APPLICATIONS_PATH, 'Applications', 'secrets:read'],
  [SECRETS_PATH, 'Secrets', 'secrets:read'],
  ['/dashboard/events', 'Activity', 'events:read'],
  ['/dashboard/webhooks', 'Webhooks', 'read'],
  ['/dashboard/keys', 'Keys', 'read'],
  [SETTINGS_PATH, 'Settings', 'read'],
] as const

/** The path of an entry of the navigation. */
export type Section = (typeof SECTIONS)[number][0]

/** Texts about a change. The next page shows the text once. */
const NOTICES = new Map([
  ['application-created', 'Application created.'],
  ['application-saved', 'Application saved.'],
  ['application-deleted', 'Application deleted. Its secrets are revoked.'],
  ['secret-saved', 'Secret saved.'],
  ['secret-disabled', 'Secret disabled. You can enable it again.'],
  ['secret-enabled', 'Secret enabled.'],
  ['secret-kept', 'Secret kept. It keeps working after the rotation.'],
  ['secret-revoked', 'Secret revoked.'],
  ['secrets-revoked', 'All secrets of this application revoked.'],
  ['selected-revoked', 'The selected secrets are revoked.'],
  ['selected-disabled', 'The selected secrets are disabled. You can enable each of them again.'],
  ['key-renamed', 'API key renamed.'],
  ['key-revoked', 'API key revoked. Its sessions have ended.'],
  ['session-ended', 'Session ended.'],
  ['delivery-queued', 'Delivery queued.'],
  ['settings-saved', 'Settings saved.'],
  ['frozen', 'Environment frozen.'],
  ['unfrozen', 'Freeze lifted.'],
  ['deliveries-queued', 'Up to 1,000 failed deliveries are queued again.'],
  ['endpoint-paused', 'Endpoint paused. Its events are sent when you resume it.'],
  ['endpoint-resumed', 'Endpoint resumed. The waiting events are sent within a minute.'],
  ['endpoint-deleted', 'Webhook endpoint deleted.'],
])

/** Redirects to a page after a change. The page shows the notice once. */
export function redirectWithNotice(c: Context<HonoEnv>, path: string, notice: string): Response {
  writeCookie(c, 'notice', notice)
  return c.redirect(path, 303)
}

interface PageOptions {
  readonly title: string
  /** The entry of the navigation that the page belongs to. */
  readonly section?: Section
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
      {c.get('identity')?.isFrozen && section !== SETTINGS_PATH && (
        <p class="notice bad">
          <span>
            <b>This environment is frozen.</b> It issues no secrets and no tokens. <a href={SETTINGS_PATH}>Settings</a>
          </span>
        </p>
      )}
      {body}
      <p id="status" class="visually-hidden" role="status" />
    </>
  )
  // Binds every form of the page to the environment that it shows.
  const identity = c.get('identity')
  const fields = identity ? { environment: identity.environmentId } : {}
  const header = <Header identity={identity} section={section} region={regionOf(c)} />
  return withCommonFields(fields, () => htmlPage(c, { title, status, header, isInteractive: true }, content))
}

/** The region of the environment; undefined if there is only one region, or before the caller is identified. */
function regionOf(c: Context<HonoEnv>): Region | undefined {
  if (!c.get('identity')) return undefined
  const { REGIONS } = readSettings(c.env)
  return REGIONS.length > 1 ? REGIONS.find(({ digit }) => digit === c.get('database').region) : undefined
}

interface HeaderProps {
  readonly identity: HonoEnv['Variables']['identity'] | undefined
  readonly section: string | undefined
  readonly region: Region | undefined
}

/**
 * On a narrow screen, one menu has the sections, the search and the account. The browser opens the menu without a
 * script.
 */
const Header = ({ identity, section, region }: HeaderProps) => {
  const keyName = short(identity?.apiKeyName ?? '')
  const name = short(identity?.person ?? keyName)
  return (
    <>
      <Brand href="/dashboard" />
      {identity && (
        <>
          <p class="where" title={identity.environmentName ?? undefined}>
            <Name>{short(identity.environmentName)}</Name>
            {region && <span class="quiet"> · {region.binding}</span>}
          </p>
          <button type="button" class="if-narrow" popovertarget="site-menu">
            Menu
          </button>
          <div id="site-menu" popover="auto">
            <nav aria-label="Dashboard">
              {SECTIONS.filter(([, , needs]) => isAllowed(identity, needs)).map(([href, name]) => (
                <a href={href} aria-current={href === section ? 'page' : undefined}>
                  {name}
                </a>
              ))}
            </nav>
            <SearchField />
            <button type="button" class="who if-wide" popovertarget="account" aria-label={`Account: ${isolated(name)}`}>
              <bdi>{name}</bdi>
            </button>
            <div id="account" class="menu" popover="auto">
              {identity.person !== null && (
                <p>
                  <Name>{name}</Name> through Cloudflare Access
                </p>
              )}
              <p>
                API key <Name>{keyName}</Name>
                {identity.permissions
                  ? ` · ${identity.permissions.join(', ')}`
                  : identity.access === 'read' && ' · Read-only'}
              </p>
              {region && (
                <p class="quiet">
                  Region {region.digit} ({region.binding})
                </p>
              )}
              <a class="button plain" href="/docs">
                API reference
              </a>
              <PostForm action="/dashboard/sign-out">
                <button type="submit" class="plain">
                  Sign out
                </button>
              </PostForm>
            </div>
          </div>
        </>
      )}
    </>
  )
}

/** A POST, so that no URL contains a pasted secret. Pressing `/` moves the focus to this field. */
const SearchField = () => (
  <search>
    <PostForm action="/dashboard/find" class="find">
      <label for="q" class="visually-hidden">
        Search, or paste a leaked secret
      </label>
      <input
        id="q"
        name="q"
        required
        placeholder="Search or paste a secret"
        autocomplete="off"
        {...noSpellcheck}
        autocapitalize="off"
        aria-keyshortcuts="/"
      />
      <button type="submit">Search</button>
    </PostForm>
  </search>
)

/** Responds to every error with a page. A caller without a valid session is redirected to the sign-in page. */
export const onPageError: ErrorHandler<HonoEnv> = async (error, c) => {
  if (error instanceof ApiError && error.code === 'unauthorized') {
    const query = new URLSearchParams()
    if (removeCookie(c, 'session')) query.set('ended', '')
    if (c.req.method === 'GET' && c.req.path !== '/dashboard' && isOwnPath(c.req.path)) query.set('to', c.req.path)
    return c.redirect(`/dashboard/sign-in${query.size > 0 ? `?${query}` : ''}`, 303)
  }
  const problem = await problemOf(error, c)
  return page(
    c,
    { title: problem.message, status: problem.status },
    <ProblemText problem={problem} back={{ path: '/dashboard', name: 'Overview' }} />,
  )
}

/**
 * Matches a segment of a path of the dashboard. Redirects use only such paths, because the path or a field of a request
 * may have a pasted credential.
 */
const SEGMENT = /^([a-z][a-z-]{0,19}|(conn_app|client|secret|api_key|session|event|we)_[0-9A-HJKMNP-TV-Z]{26})$/

/**
 * True for the path of a dashboard page. It has only words and IDs, so it can neither have a credential nor lead to
 * another site.
 */
export function isOwnPath(path: string): boolean {
  const [root, ...segments] = path.split('/').slice(1)
  return path.startsWith('/') && root === 'dashboard' && segments.every((segment) => SEGMENT.test(segment))
}

/** The path of an application. For a redirect, `id` must be one that storage has found, not a text of the request. */
export function applicationPath(id: string): string {
  return `${APPLICATIONS_PATH}/${id}`
}

/** The path of a secret. */
export function secretPath(id: string): string {
  return `${SECRETS_PATH}/${id}`
}
