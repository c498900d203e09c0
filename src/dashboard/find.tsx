import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Field, PostForm } from '../pages/forms.tsx'
import { Empty, Hint, Name } from '../pages/parts.tsx'
import { identify } from '../storage/batch.ts'
import { findClientSecretsByHint } from '../storage/client-secrets.ts'
import { readForm } from './form.ts'
import { page } from './layout.tsx'
import { findPath, hintIn } from './paths.ts'
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
