import type { Context } from 'hono'
import { Hono } from 'hono'
import { changeOf } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Confirm, Copyable, curl, Empty, Field, Snippet } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { type ApplicationWithSecrets, findApplicationWithSecrets } from '../storage/application-secrets.ts'
import { type Application, deleteApplication, findApplication } from '../storage/applications.ts'
import { TYPES } from './applications.tsx'
import { readForm } from './form.ts'
import { page } from './layout.tsx'
import { SecretTable } from './secret-table.tsx'
import { mayWrite, requireSession, requireWriteAccess } from './session.ts'

export const application = new Hono<HonoEnv>()

  .get('/applications/:id', requireSession('read'), async (c) => {
    const found = await findApplicationWithSecrets(c.var.database, c.var.session, c.req.param('id'), Date.now())
    return applicationPage(c, granted(c, found))
  })

  .get('/applications/:id/delete', requireSession('read'), async (c) => {
    const found = granted(c, await findApplication(c.var.database, c.var.session, c.req.param('id')))
    requireWriteAccess(c)
    return deletePage(c, found)
  })

  .post('/applications/:id/delete', requireSession('write'), async (c) => {
    const { database, session } = c.var
    const id = c.req.param('id')
    const field = await readForm(c)
    if (field('name') === '' || field('name') !== field('expected')) {
      const found = granted(c, await findApplication(database, session, id))
      requireWriteAccess(c)
      return deletePage(c, found, 'This is not the name of the application. Nothing was deleted.')
    }
    granted(c, await deleteApplication(database, changeOf(c, session), id))
    return c.redirect('/dashboard?notice=deleted', 303)
  })

function applicationPage(c: Context<HonoEnv>, { application, secrets }: ApplicationWithSecrets) {
  const now = Date.now()
  const path = `/dashboard/applications/${application.id}`
  const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
  const counted = secrets.filter(({ isRetiring }) => !isRetiring).length
  return page(
    c,
    { title: application.name, section: '/dashboard' },
    <>
      <div>
        <p class="crumb">
          <a href="/dashboard">Applications</a>
        </p>
        <div class="title">
          <h1>{application.name}</h1>
          {mayWrite(c) && (
            <div class="row">
              <a class="button" href={`${path}/edit`}>
                Edit
              </a>
              <a class="button danger" href={`${path}/delete`} data-dialog>
                Delete…
              </a>
            </div>
          )}
        </div>
        {application.description && <p class="quiet">{application.description}</p>}
      </div>
      <Facts application={application} now={now} />
      <section aria-labelledby="secrets">
        <div class="title">
          <div class="row">
            <h2 id="secrets">Client secrets</h2>
            <span class="quiet">
              {counted} of {limit}
            </span>
          </div>
          {mayWrite(c) && (
            <div class="row">
              {secrets.length > 0 && (
                <a class="button" href={`${path}/rotate`}>
                  Rotate
                </a>
              )}
              {counted < limit && (
                <a class="button primary" href={`${path}/new-secret`}>
                  New secret
                </a>
              )}
            </div>
          )}
        </div>
        {mayWrite(c) && counted >= limit && (
          <p class="quiet">
            It has as many as it may have. Rotate, which takes none of the {limit} places, or revoke one that is no
            longer needed.
          </p>
        )}
        {secrets.length > 0 && <SecretTable secrets={secrets} path={path} now={now} mayWrite={mayWrite(c)} />}
        {secrets.length === 0 && <NoSecrets c={c} application={application} />}
        {secrets.length > 1 && mayWrite(c) && (
          <p>
            <a class="plain button danger" href={`${path}/revoke-all`} data-dialog>
              Revoke all secrets…
            </a>
          </p>
        )}
      </section>
    </>,
  )
}

const Facts = ({ application, now }: { application: Application; now: number }) => (
  <dl class="facts">
    <dt>Client ID</dt>
    <dd>
      <Copyable id="client-id" what="Client ID" value={application.clientId} />
    </dd>
    <dt>Application ID</dt>
    <dd>
      <Copyable id="application-id" what="Application ID" value={application.id} />
    </dd>
    <dt>Type</dt>
    <dd>
      {TYPES[application.applicationType]}
      {application.isFirstParty && ', first-party'}
      {application.usesPkce && ', with PKCE'}
    </dd>
    {application.organizationId && (
      <>
        <dt>Organization</dt>
        <dd>
          <code>{application.organizationId}</code>
        </dd>
      </>
    )}
    <dt>Scopes</dt>
    <dd>
      {application.scopes.length > 0 ? <code>{application.scopes.join(' ')}</code> : <span class="quiet">none</span>}
    </dd>
    {application.redirectUris.length > 0 && (
      <>
        <dt>Redirect URIs</dt>
        <dd>
          {application.redirectUris.map((redirect) => (
            <div>
              <code>{redirect.uri}</code>
              {redirect.default && <span class="quiet small"> default</span>}
            </div>
          ))}
        </dd>
      </>
    )}
    <dt>Created</dt>
    <dd>
      <Time at={application.createdAt} now={now} />
    </dd>
  </dl>
)

const NoSecrets = ({ c, application }: { c: Context<HonoEnv>; application: Application }) => (
  <Empty title="No client secrets">
    <p>
      Without one, nothing can authenticate as this application.
      {mayWrite(c) && (
        <>
          {' '}
          <a href={`/dashboard/applications/${application.id}/new-secret`}>Create a secret</a>, here or by a call:
        </>
      )}
    </p>
    {mayWrite(c) && (
      <Snippet
        id="create-secret"
        title="Create a client secret"
        text={curl(new URL(c.req.url).origin, 'POST', `/connect/applications/${application.id}/client_secrets`)}
      />
    )}
  </Empty>
)

function deletePage(c: Context<HonoEnv>, application: Application, error?: string) {
  const path = `/dashboard/applications/${application.id}`
  return page(
    c,
    { title: `Delete ${application.name}`, section: '/dashboard', isNarrow: true, status: error ? 422 : 200 },
    <Confirm title={`Delete ${application.name}?`} action={`${path}/delete`} verb="Delete application" back={path}>
      <p>
        The application and its client ID are gone for good, and every client secret of it stops working at once. Tokens
        that were obtained with them are refused by introspection.
      </p>
      <input type="hidden" name="expected" value={application.name} />
      <Field
        name="name"
        label="Name of the application"
        isRequired
        help={
          <>
            To confirm, type <b>{application.name}</b>
          </>
        }
        {...(error && { errors: { name: error } })}
      />
    </Confirm>,
  )
}
