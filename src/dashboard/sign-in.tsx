import type { Context } from 'hono'
import { Hono } from 'hono'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Field, PostForm } from '../pages/forms.tsx'
import { Name, short } from '../pages/parts.tsx'
import { endOwnSession } from '../storage/sessions.ts'
import { readForm } from './form.tsx'
import { isOwnPath, page } from './layout.tsx'
import {
  type AccessRefusal,
  assertionOf,
  hasAccess,
  readCookie,
  removeCookie,
  requireSession,
  signIn,
  signInThroughAccess,
} from './session.ts'

/** The path after sign-in. It is always a page of the dashboard, so that a link cannot redirect to another site. */
const targetOf = (to: string | undefined) => (to && isOwnPath(to) ? to : '/dashboard')

export const signInAndOut = new Hono<HonoEnv>()

  .get('/sign-in', async (c) => {
    const { to, signed } = c.req.query()
    const hasSession = readCookie(c, 'session') !== ''
    // The form redirects here, to check that the browser has kept the cookie.
    if (signed !== undefined && hasSession) return c.redirect(targetOf(to), 303)
    const assertion = await assertionOf(c)
    const notice = noticeOf(c.req.query(), hasSession)
    return signInPage(c, targetOf(to), { notice, person: assertion?.person?.email, refusal: assertion?.refused })
  })

  // Only a form can sign in, also through Access. Otherwise a link on another site could replace the session of the
  // browser.
  .post('/sign-in', async (c) => {
    const field = await readForm(c)
    const to = targetOf(field('to'))
    const signed = `/dashboard/sign-in?${new URLSearchParams({ signed: '', to })}`
    if (field('through') === 'access' && hasAccess(c)) {
      const refusal = await signInThroughAccess(c)
      if (refusal === 'keys_unavailable') c.header('Retry-After', '10')
      const status = refusal === 'keys_unavailable' ? 503 : 422
      return refusal ? signInPage(c, to, { refusal, status }) : c.redirect(signed, 303)
    }
    if (await signIn(c, field('api_key').trim())) return c.redirect(signed, 303)
    // Every invalid key gets the same response, because details would help an attacker to guess.
    return signInPage(c, to, {
      error: 'Invalid or revoked API key. Keys begin with sk_ and have 53 characters.',
      status: 422,
    })
  })

  .post('/sign-out', requireSession, async (c) => {
    granted(c, await endOwnSession(c.get('database'), beginChange(c, c.get('session'))))
    removeCookie(c, 'session')
    // "cookies" is not in the list, because it would also clear the cookies of all other hosts of the domain.
    c.header('Clear-Site-Data', '"cache", "storage"')
    return c.redirect('/dashboard/sign-in?out', 303)
  })

function noticeOf(query: Record<string, string>, hasSession: boolean): string | undefined {
  if (query.signed !== undefined)
    return 'Your browser did not keep the session cookie. Allow cookies for this site and sign in again.'
  if (query.ended !== undefined) return 'Your session has ended. Sign in again to continue.'
  if (query.out !== undefined) return 'You are signed out.'
  return hasSession ? 'You are already signed in. Signing in again ends that session.' : undefined
}

/** Why a person can't sign in through Cloudflare Access, and what to do next. */
const REFUSALS: Readonly<Record<AccessRefusal, string>> = {
  no_assertion:
    'This request did not come through Cloudflare Access, so you are not signed in. Open the dashboard at the URL that Access protects, or sign in with an API key.',
  invalid:
    'The assertion of Cloudflare Access is invalid or has expired, so you can’t sign in through Access. Reload the page. If that does not help, ask the operator: the log has the reason.',
  no_person: 'Cloudflare Access sent no email address, so you can’t sign in through Access. Programs need an API key.',
  keys_unavailable:
    'The public keys of Cloudflare Access could not be read, so you can’t sign in through Access. Try again in a minute, or sign in with an API key.',
  key_refused:
    'The API key for sign-ins through Cloudflare Access is revoked, has expired or does not work from your IP address. Ask the operator.',
}

interface SignInOptions {
  readonly notice?: string | undefined
  /** The person whom Cloudflare Access has identified. */
  readonly person?: string | undefined
  readonly refusal?: AccessRefusal | undefined
  readonly error?: string
  readonly status?: 200 | 422 | 503
}

function signInPage(c: Context<HonoEnv>, to: string, { notice, person, refusal, error, status = 200 }: SignInOptions) {
  return page(
    c,
    { title: 'Sign in', status },
    <section class="narrow">
      <h1>Sign in to the dashboard</h1>
      {notice && (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
      {refusal && (
        <p class="notice bad" role="alert">
          {REFUSALS[refusal]}
        </p>
      )}
      {person !== undefined && <ThroughAccess person={person} to={to} />}
      <PostForm action="/dashboard/sign-in" class="stack" fields={{ to }}>
        {/* Gives password managers a user name to store the key under. */}
        <input type="text" name="username" value="Oncekey" autocomplete="username" hidden />
        <Field
          name="api_key"
          label="API key"
          type="password"
          autocomplete="current-password"
          isRequired
          isCode
          autofocus={person === undefined}
          help="The key decides which environment you see and whether you can change it. Your session ends after 30 minutes of inactivity, or after 12 hours."
          {...(error && { errors: { api_key: error } })}
        />
        <div class="row">
          <button type="submit" class={person === undefined ? 'primary' : undefined}>
            Sign in
          </button>
        </div>
      </PostForm>
      <p class="quiet small">
        No key? The operator creates one with{' '}
        <code class="sub">npm run api-key -- create --environment NAME --name YOU --access write</code>
      </p>
    </section>,
  )
}

/**
 * Signing out of the dashboard does not sign out of Access. On a shared computer, Access may therefore name another
 * person.
 */
const ThroughAccess = ({ person, to }: { person: string; to: string }) => (
  <>
    <PostForm action="/dashboard/sign-in" fields={{ to, through: 'access' }}>
      <button type="submit" class="primary">
        Continue as <Name>{short(person)}</Name>
      </button>
    </PostForm>
    <p class="quiet small">
      Not you? <a href="/cdn-cgi/access/logout">Sign out of Cloudflare Access</a>, which signs you out of all its
      applications.
    </p>
    <p>Or sign in with an API key:</p>
  </>
)
