import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Field } from '../pages/parts.tsx'
import { endOwnSession } from '../storage/sessions.ts'
import { readForm } from './form.ts'
import { page } from './layout.tsx'
import { forgetCookie, requireSession, signIn } from './session.ts'

/** Where somebody may be led after signing in: a page of the dashboard, and nowhere else. */
const OWN_PATH = /^\/dashboard(\/[\w-]+)*$/

export const signInAndOut = new Hono<HonoEnv>()

  .get('/sign-in', (c) => signInPage(c, c.req.query('to') ?? ''))

  .post('/sign-in', async (c) => {
    const field = await readForm(c)
    const to = field('to')
    if (!(await signIn(c, field('api_key').trim()))) {
      // One answer for every key that is not good: which part of it is wrong is nobody's business.
      const words = 'This is not a working API key of this Oncekey. Keys begin with sk_ and are 52 characters long.'
      return signInPage(c, to, words)
    }
    return c.redirect(OWN_PATH.test(to) ? to : '/dashboard', 303)
  })

  .post('/sign-out', requireSession('read'), async (c) => {
    granted(c, await endOwnSession(c.var.database, c.var.session, Date.now()))
    forgetCookie(c)
    return c.redirect('/dashboard/sign-in?out', 303)
  })

function signInPage(c: Context<HonoEnv>, to: string, error?: string) {
  const hasEnded = c.req.query('ended') !== undefined
  const isOut = c.req.query('out') !== undefined
  return page(
    c,
    { title: 'Sign in', isNarrow: true, status: error ? 422 : 200 },
    <section>
      <h1>Sign in</h1>
      {hasEnded && (
        <p class="notice" role="status">
          Your session has ended. Sign in again to go on.
        </p>
      )}
      {isOut && (
        <p class="notice" role="status">
          You are signed out.
        </p>
      )}
      <form method="post" action="/dashboard/sign-in" class="stack">
        <input type="hidden" name="to" value={to} />
        {/* Gives a password manager a name to keep the key under. */}
        <input type="text" name="username" value="Oncekey" autocomplete="username" hidden />
        <Field
          name="api_key"
          label="API key"
          type="password"
          autocomplete="current-password"
          isRequired
          isCode
          help="The key decides which environment you see, and whether you may change it. It is exchanged for a session that ends after 30 minutes of rest."
          {...(error && { errors: { api_key: error } })}
        />
        <div class="row">
          <button type="submit" class="primary">
            Sign in
          </button>
        </div>
      </form>
      <p class="quiet small">
        No key yet? Whoever runs this Oncekey makes one with{' '}
        <code>npm run api-key -- create --environment NAME --name YOU --access write</code>
      </p>
    </section>,
  )
}
