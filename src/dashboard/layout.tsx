import type { Context, ErrorHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { Child } from 'hono/jsx'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, onError } from '../http/errors.ts'
import { Brand, documentOf } from '../pages/document.tsx'
import { noSpellcheck } from '../pages/parts.tsx'
import { forgetCookie } from './session.ts'

const SECTIONS = [
  ['/dashboard', 'Applications'],
  ['/dashboard/events', 'Events'],
  ['/dashboard/webhooks', 'Webhooks'],
  ['/dashboard/keys', 'Keys'],
] as const

/** What a page says has just been done. The URL names it, and cannot say anything else. */
const NOTICES: Readonly<Record<string, string>> = {
  created: 'The application was created.',
  saved: 'Saved.',
  deleted: 'The application was deleted, and its secrets were revoked.',
  revoked: 'The secret was revoked.',
  'all-revoked': 'All secrets of the application were revoked.',
  disabled: 'The secret was disabled. It can be enabled again.',
  enabled: 'The secret was enabled.',
  kept: 'The secret was taken back: it no longer expires.',
  'key-revoked': 'The API key was revoked, and its sessions have ended.',
  'session-ended': 'The session has ended.',
  revived: 'The delivery is on its way again.',
}

interface PageOptions {
  readonly title: string
  /** The section of the navigation that it belongs to. */
  readonly section?: (typeof SECTIONS)[number][0]
  readonly isNarrow?: boolean
  readonly status?: ContentfulStatusCode
}

/** Answers with a page of the dashboard. */
export async function page(c: Context<HonoEnv>, { title, section, isNarrow, status = 200 }: PageOptions, body: Child) {
  const notice = NOTICES[c.req.query('notice') ?? '']
  const content = (
    <>
      {notice && (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
      {body}
      <p id="status" class="said" role="status" />
    </>
  )
  const header = <Header identity={c.var.identity} section={section} />
  const options = { title, header, isNarrow: isNarrow ?? false, script: 'dashboard.js' }
  return c.html(await documentOf(c, options, content), status)
}

const Header = ({
  identity,
  section,
}: {
  identity: HonoEnv['Variables']['identity'] | undefined
  section?: string | undefined
}) => (
  <>
    <Brand href="/dashboard" />
    {identity && (
      <>
        <p class="where">
          <b>{identity.environmentName}</b> · {identity.apiKeyName}
          {identity.access === 'read' && ', which may only read'}
        </p>
        <form method="post" action="/dashboard/sign-out">
          <button type="submit" class="plain">
            Sign out
          </button>
        </form>
        <nav aria-label="Dashboard">
          {SECTIONS.map(([href, name]) => (
            <a href={href} aria-current={href === section ? 'page' : undefined}>
              {name}
            </a>
          ))}
          <FindByHint />
        </nav>
      </>
    )}
  </>
)

/** No more of a secret than its end fits in, so that none comes into a URL. */
const FindByHint = () => (
  <search>
    <form class="find" action="/dashboard/find">
      <label for="hint">Find a secret by its end</label>
      <input
        id="hint"
        name="hint"
        required
        maxlength={6}
        minlength={6}
        pattern="[0-9A-Za-z]{6}"
        placeholder="a4d5f2"
        title="The last six characters of a secret"
        class="code"
        autocomplete="off"
        {...noSpellcheck}
        autocapitalize="off"
      />
      <button type="submit">Find</button>
    </form>
  </search>
)

/** What went wrong, with a way on. Thrown, it becomes a page. */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly status: ContentfulStatusCode
  readonly title: string
  readonly words: Child

  constructor(status: ContentfulStatusCode, title: string, words: Child) {
    super(title)
    this.status = status
    this.title = title
    this.words = words
  }
}

const TITLES: Partial<Record<number, string>> = {
  403: 'Not allowed',
  404: 'Not found',
  405: 'Nothing to see here',
  422: 'That cannot be done',
  429: 'Too many requests',
  503: 'Storage did not answer',
}

/** Every refusal as a page. Its words are the API's; whoever is not signed in, or no longer, is asked to. */
export const onPageError: ErrorHandler<HonoEnv> = async (error, c) => {
  if (error instanceof ApiError && error.code === 'unauthorized') {
    const query = new URLSearchParams()
    if (forgetCookie(c)) query.set('ended', '')
    if (c.req.method === 'GET' && c.req.path !== '/dashboard') query.set('to', c.req.path)
    return c.redirect(`/dashboard/sign-in${query.size > 0 ? `?${query}` : ''}`, 303)
  }
  const { status, title, words } = await problemOf(error, c)
  return page(
    c,
    { title, isNarrow: true, status },
    <section>
      <h1>{title}</h1>
      {typeof words === 'string' ? <p>{words}</p> : words}
      <p>
        <a href="/dashboard">Back to the applications</a>
      </p>
    </section>,
  )
}

async function problemOf(error: Error, c: Context<HonoEnv>): Promise<Problem> {
  if (error instanceof Problem) return error
  if (error instanceof HTTPException) {
    const words =
      'This form was not sent by a page of this dashboard. Open the page again, and send the form from there.'
    return new Problem(403, 'Not allowed', words)
  }
  const response = await onError(error, c)
  const { message } = (await response.json()) as { message: string }
  return new Problem(
    response.status as ContentfulStatusCode,
    TITLES[response.status] ?? 'Something went wrong',
    message,
  )
}
