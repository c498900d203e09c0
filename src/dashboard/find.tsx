import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Empty, Hint } from '../pages/parts.tsx'
import { findClientSecretsWithApplications } from '../storage/application-secrets.ts'
import { identify } from '../storage/batch.ts'
import { page } from './layout.tsx'
import { SecretTable } from './secret-table.tsx'
import { mayWrite, requireSession } from './session.ts'

const HINT = /^[0-9A-Za-z]{6}$/

/** For whoever has found a secret where it should not be: which one it is, by its end. */
export const find = new Hono<HonoEnv>().get('/find', requireSession('read'), async (c) => {
  const { database, session } = c.var
  const hint = c.req.query('hint') ?? ''
  const now = Date.now()
  if (!HINT.test(hint)) {
    granted(c, await identify(database, session, 'read'))
    // What was asked for is not repeated: it could be a whole secret.
    return page(
      c,
      { title: 'Find a secret', status: 422 },
      <Empty title="Six characters, please">
        <p>A secret is found by its last six letters and digits. Send no more of it than that.</p>
      </Empty>,
    )
  }
  const secrets = granted(c, await findClientSecretsWithApplications(database, session, hint, now))
  return page(
    c,
    { title: `Secrets that end in ${hint}` },
    <>
      <h1>
        Secrets that end in <Hint hint={hint} />
      </h1>
      {secrets.length > 0 && <SecretTable secrets={secrets} path={null} now={now} mayWrite={mayWrite(c)} />}
      {secrets.length === 0 && (
        <Empty title="No live secret ends so">
          <p>
            None in this environment, that is: one that was revoked or has expired is no longer found, and other
            environments are not searched. Capital and small letters differ. <a href="/dashboard/events">The events</a>{' '}
            still tell of what is gone.
          </p>
        </Empty>
      )}
    </>,
  )
})
