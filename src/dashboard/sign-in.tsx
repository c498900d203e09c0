import type { Context } from 'hono'
import { Hono } from 'hono'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Field, PostForm } from '../pages/forms.tsx'
import { endOwnSession } from '../storage/sessions.ts'
import { readForm } from './form.tsx'
import { isOwnPath, page } from './layout.tsx'
import { readCookie, removeCookie, requireSession, signIn } from './session.ts'

/** The page after sign-in: always a page of the dashboard, even if the request names another address. */
const targetOf = (to: string | undefined) => (to && isOwnPath(to) ? to : '/dashboard')

export const signInAndOut = new Hono<HonoEnv>()

  .get('/sign-in', (c) => {
    const { to, signed } = c.req.query()
    const hasSession = readCookie(c, 'session') !== ''
    // The form leads here, to see that the browser has kept the cookie.
    if (signed !== undefined && hasSession) return c.redirect(targetOf(to), 303)
    return signInPage(c, targetOf(to), { notice: noticeOf(c.req.query(), hasSession) })
  })

  .post('/sign-in', async (c) => {
    const field = await readForm(c)
    const to = targetOf(field('to'))
    if (await signIn(c, field('api_key').trim()))
      return c.redirect(`/dashboard/sign-in?${new URLSearchParams({ signed: '', to })}`, 303)
    // Every invalid key gets the same response, because details would help an attacker to guess.
    return signInPage(c, to, {
      error: 'Invalid or revoked API key. Keys begin with sk_ and have 53 characters.',
    })
  })

  .post('/sign-out', requireSession, async (c) => {
    granted(c, await endOwnSession(c.var.database, beginChange(c, c.var.session)))
    removeCookie(c, 'session')
    // "cookies" is left out: it would clear the cookies of every other host of the domain.
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

function signInPage(
  c: Context<HonoEnv>,
  to: string,
  { notice, error }: { notice?: string | undefined; error?: string },
) {
  return page(
    c,
    { title: 'Sign in', status: error ? 422 : 200 },
    <section class="narrow">
      <h1>Sign in to the dashboard</h1>
      {notice && (
        <p class="notice" role="status">
          {notice}
        </p>
      )}
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
          autofocus
          help="The key decides which environment you see and whether you can change it. Your session ends after 30 minutes of inactivity, and after 12 hours."
          {...(error && { errors: { api_key: error } })}
        />
        <div class="row">
          <button type="submit" class="primary">
            Sign in
          </button>
        </div>
      </PostForm>
      <p class="quiet small">
        No key? The operator creates one with{' '}
        <code>npm run api-key -- create --environment NAME --name YOU --access write</code>
      </p>
    </section>,
  )
}
