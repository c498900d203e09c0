import type { Context } from 'hono'
import { Hono } from 'hono'
import { createMiddleware } from 'hono/factory'
import { mayContainCredential } from '../credential/credential.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Field, PostForm } from '../pages/forms.tsx'
import { Empty, Hint, Name } from '../pages/parts.tsx'
import { identify } from '../storage/batch.ts'
import { findClientSecretsByHint } from '../storage/client-secrets.ts'
import { readForm } from './form.tsx'
import { page } from './layout.tsx'
import { SecretTable } from './secret-table.tsx'
import { canWrite, requireSession } from './session.ts'

const HINT = /^[0-9A-Za-z]{6}$/

/** Finds a leaked secret by its last six characters. */
export const find = new Hono<HonoEnv>()

  .get('/find', requireSession, async (c) => {
    const { database, session } = c.var
    const hint = c.req.query('hint')
    if (hint === undefined || !HINT.test(hint)) {
      granted(c, await identify(database, session, 'read'))
      return formPage(c, hint !== undefined)
    }
    const now = Date.now()
    const secrets = granted(c, await findClientSecretsByHint(database, session, hint, now))
    return page(
      c,
      { title: `Secrets ending in …${hint}` },
      <>
        <h1>
          Secrets ending in <Hint hint={hint} />
        </h1>
        {secrets.length > 0 && <SecretTable secrets={secrets} now={now} canWrite={canWrite(c)} />}
        {secrets.length === 0 && (
          <Empty title={`No active secret ends in …${hint}`}>
            <p>
              No active secret in <Name>{c.var.identity?.environmentName}</Name> matches. It may be revoked or expired,
              or belong to another environment. Search is case-sensitive. <a href="/dashboard/events">Events</a> list
              revoked and expired secrets.
            </p>
          </Empty>
        )}
      </>,
    )
  })

  // A POST, so that a whole secret that is pasted comes into no URL.
  .post('/find', requireSession, async (c) => {
    const field = await readForm(c)
    return c.redirect(findPath(hintIn(field('hint') || field('ending')) ?? ''), 303)
  })

/** The page does not repeat the text that was sent, because it may be a part of a secret. */
function formPage(c: Context<HonoEnv>, isRefused: boolean) {
  return page(
    c,
    { title: 'Find a secret', status: isRefused ? 422 : 200 },
    <section class="narrow">
      <h1>Find a secret</h1>
      <search>
        <PostForm action="/dashboard/find" class="stack">
          <Field
            name="ending"
            label="Last 6 characters of the secret"
            isRequired
            isCode
            autofocus
            help="You don’t need the rest of it. Search is case-sensitive."
            {...(isRefused && { errors: { ending: 'Enter the last 6 letters and digits of the secret.' } })}
          />
          <div class="row">
            <button type="submit" class="primary">
              Find secret
            </button>
          </div>
        </PostForm>
      </search>
    </section>,
  )
}

/** The last six characters of a credential in a text; null if there is none. */
export function hintOfCredential(text: string): string | null {
  return mayContainCredential(text) ? hintIn(/[0-9A-Za-z]{40,}/.exec(text)?.[0] ?? '') : null
}

/** The last six characters of a text pasted to find a secret: a hint, a log line, a whole secret. */
function hintIn(text: string): string | null {
  return (text.match(/[0-9A-Za-z]{6,}/g) ?? []).at(-1)?.slice(-6) ?? null
}

/** The page that finds a secret. */
export function findPath(hint: string): string {
  return `/dashboard/find?hint=${hint}`
}

/** Leads a URL with a credential in its query to the page that finds the secret, so that it is not used or logged again. */
export const withoutCredentials = createMiddleware(async (c, next) => {
  const hint = hintOfCredential(new URL(c.req.url).search)
  if (c.req.method === 'GET' && hint) return c.redirect(findPath(hint), 303)
  return next()
})
