import type { Context } from 'hono'
import { Hono } from 'hono'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { PostForm } from '../pages/forms.tsx'
import { Copyable, Hint } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { revokeClientSecret } from '../storage/client-secrets.ts'
import type { ListedSecret } from '../storage/listed-secrets.ts'
import { findSecretDetails, type SecretDetails } from '../storage/secret-details.ts'
import { readUsedMinutes } from '../storage/used-minutes.ts'
import { Actor } from './event-filter.tsx'
import { readChange } from './form.tsx'
import { applicationPath, page, redirectWithNotice, SECRETS_PATH, secretPath } from './layout.tsx'
import { IfLeaked } from './leak.tsx'
import { SecretHistory } from './secret-history.tsx'
import { SecretState } from './secret-state.tsx'
import { TimeOrNever } from './secret-table.tsx'
import { changeSecret } from './secrets.tsx'
import { may, requireSession } from './session.ts'
import { LatestUse, UseChart } from './use-chart.tsx'

/** The page of one secret in any state, and the changes that return to it. */
export const secret = new Hono<HonoEnv>()

  .get('/secrets/:secret', requireSession, async (c) => {
    const now = Date.now()
    const found = await findSecretDetails(c.get('database'), c.get('session'), c.req.param('secret'), now)
    return secretPage(c, granted(c, found), now)
  })

  /** This form has no confirmation page, because the page with its button states the consequences. */
  .post('/secrets/:secret/revoke', requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    const id = c.req.param('secret')
    granted(c, await revokeClientSecret(c.get('database'), beginChange(c, c.get('session')), { id }))
    return redirectWithNotice(c, secretPath(id), 'secret-revoked')
  })

  .post('/secrets/:secret/disable', requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    return changeSecret(c, { id: c.req.param('secret') }, { disabled: true }, 'secret-disabled', secretPath)
  })

  .post('/secrets/:secret/enable', requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    return changeSecret(c, { id: c.req.param('secret') }, { disabled: false }, 'secret-enabled', secretPath)
  })

  .post('/secrets/:secret/keep', requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    return changeSecret(c, { id: c.req.param('secret') }, { expiresAt: null }, 'secret-kept', secretPath)
  })

function secretPage(c: Context<HonoEnv>, details: SecretDetails, now: number) {
  const { secret, history } = details
  return page(
    c,
    { title: `Secret …${secret.hint}`, section: SECRETS_PATH },
    <>
      <div>
        <p class="crumb">
          <a href={SECRETS_PATH}>Secrets</a> / <ApplicationLink details={details} />
        </p>
        <div class="title">
          <h1>
            {secret.name && (
              <>
                <bdi>{secret.name}</bdi>{' '}
              </>
            )}
            <Hint hint={secret.hint} />
          </h1>
          {may(c, 'secrets:write') && <Actions secret={secret} />}
        </div>
      </div>
      <div class="split">
        <div class="stack">
          <Facts details={details} now={now} />
          <section aria-labelledby="use">
            <h2 id="use">Use in the last 30 days</h2>
            <LatestUse secret={secret} />
            {secret.lastUsedAt !== null && (
              <UseChart minutes={readUsedMinutes(secret.usedMinutes, secret.lastUsedAt, now)} now={now} />
            )}
          </section>
        </div>
        <IfLeaked c={c} details={details} now={now} />
      </div>
      <SecretHistory id={secret.id} history={history} />
    </>,
  )
}

const ApplicationLink = ({ details: { secret, isOrphaned } }: { details: SecretDetails }) =>
  isOrphaned ? (
    <>
      <bdi>{secret.applicationName}</bdi> (deleted)
    </>
  ) : (
    <a href={`${applicationPath(secret.applicationId)}#${secret.id}`}>
      <bdi>{secret.applicationName}</bdi>
    </a>
  )

const Actions = ({ secret: { id, applicationId, state, isRotatedOut } }: { secret: ListedSecret }) => {
  if (state === 'expired' || state === 'revoked') return null
  return (
    <div class="row">
      {isRotatedOut && (
        <PostForm action={`${secretPath(id)}/keep`}>
          <button type="submit">Keep</button>
        </PostForm>
      )}
      <PostForm action={`${secretPath(id)}/${state === 'disabled' ? 'enable' : 'disable'}`}>
        <button type="submit">{state === 'disabled' ? 'Enable' : 'Disable'}</button>
      </PostForm>
      <a class="button" href={`${applicationPath(applicationId)}/secrets/${id}/edit`}>
        Edit
      </a>
      <a class="button" href={`${applicationPath(applicationId)}/rotate`}>
        Rotate…
      </a>
    </div>
  )
}

const Facts = ({ details, now }: { details: SecretDetails; now: number }) => {
  const { secret } = details
  return (
    <dl class="facts">
      <dt>State</dt>
      <dd>
        <SecretState secret={secret} />
        {secret.leakReportedAt !== null && <b class="error"> Reported as leaked</b>}
        {secret.disabledAt !== null && (
          <>
            {' '}
            since <Time at={secret.disabledAt} now={now} />
          </>
        )}
      </dd>
      <dt>Application</dt>
      <dd>
        <ApplicationLink details={details} />
      </dd>
      {secret.organizationId && (
        <>
          <dt>Organization</dt>
          <dd>
            <code>{secret.organizationId}</code>
          </dd>
        </>
      )}
      <dt>Created</dt>
      <dd>
        <Time at={secret.createdAt} now={now} />
        {secret.createdBy && (
          <>
            {' by '}
            <Actor
              person={secret.createdByPerson}
              id={secret.createdBy}
              name={secret.createdByName ?? secret.createdBy}
            />
          </>
        )}
      </dd>
      <dt>{secret.state === 'expired' ? 'Expired' : 'Expires'}</dt>
      <dd>
        <TimeOrNever at={secret.expiresAt} now={now} />
      </dd>
      {secret.revokedAt !== null && (
        <>
          <dt>Revoked</dt>
          <dd>
            <Time at={secret.revokedAt} now={now} />
          </dd>
        </>
      )}
      {secret.scopes && (
        <>
          <dt>Scopes</dt>
          <dd>
            <code>{secret.scopes.join(' ')}</code>
          </dd>
        </>
      )}
      {secret.allowedIps && (
        <>
          <dt>IP addresses</dt>
          <dd>
            <code>{secret.allowedIps.join(' ')}</code>
          </dd>
        </>
      )}
      <dt>Secret ID</dt>
      <dd>
        <Copyable id="secret-id" what="Secret ID" value={secret.id} />
      </dd>
    </dl>
  )
}
