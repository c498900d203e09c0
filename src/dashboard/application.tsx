import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { publicOrigin } from '../pages/document.tsx'
import { Copyable, curl, Empty, Snippet } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import type { Application } from '../storage/applications.ts'
import { type ApplicationWithSecrets, findApplicationWithSecrets } from '../storage/client-secrets.ts'
import { TYPES } from './applications.tsx'
import { secretsPath } from './inventory-filter.tsx'
import { APPLICATIONS_PATH, applicationPath, page } from './layout.tsx'
import { SecretTable } from './secret-table.tsx'
import { may, requireSession } from './session.ts'

export const application = new Hono<HonoEnv>().get('/applications/:id', requireSession, async (c) => {
  const found = await findApplicationWithSecrets(c.get('database'), c.get('session'), c.req.param('id'), Date.now())
  return applicationPage(c, granted(c, found))
})

function applicationPage(c: Context<HonoEnv>, { application, secrets }: ApplicationWithSecrets) {
  const now = Date.now()
  const path = applicationPath(application.id)
  return page(
    c,
    { title: application.name, section: APPLICATIONS_PATH },
    <>
      <div>
        <p class="crumb">
          <a href={APPLICATIONS_PATH}>Applications</a>
        </p>
        <div class="title">
          <h1>
            <bdi>{application.name}</bdi>
          </h1>
          {may(c, 'applications:write') && (
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
        {application.description && <p class="quiet lines">{application.description}</p>}
      </div>
      <Facts application={application} now={now} />
      <section aria-labelledby="secrets">
        <SecretsTitle c={c} secrets={secrets} path={path} />
        {secrets.length > 0 && <SecretTable secrets={secrets} now={now} canWrite={may(c, 'secrets:write')} />}
        {secrets.length === 0 && <NoSecrets c={c} application={application} />}
        <p class="row">
          <a class="plain button" href={secretsPath({ application: application.id, state: 'ended' })}>
            Expired and revoked secrets
          </a>
          {secrets.length > 1 && may(c, 'secrets:write') && (
            <a class="plain button danger" href={`${path}/revoke-all`} data-dialog>
              Revoke all secrets…
            </a>
          )}
        </p>
      </section>
    </>,
  )
}

interface SecretsTitleProps extends Pick<ApplicationWithSecrets, 'secrets'> {
  readonly c: Context<HonoEnv>
  readonly path: string
}

const SecretsTitle = ({ c, secrets, path }: SecretsTitleProps) => {
  const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
  const counted = secrets.filter(({ isRotatedOut }) => !isRotatedOut).length
  const expiring = secrets.length - counted
  return (
    <>
      <div class="title">
        <div class="row">
          <h2 id="secrets">Client secrets</h2>
          <span class="quiet">
            {counted} of {limit}
            {expiring > 0 && ` (+${expiring} expiring)`}
          </span>
        </div>
        {may(c, 'secrets:write') && (
          <div class="row">
            {secrets.length > 0 && (
              <a class="button" href={`${path}/rotate`}>
                Rotate…
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
      {may(c, 'secrets:write') && counted >= limit && (
        <p class="quiet">
          Limit reached ({limit} secrets). Revoke one, or rotate: a rotation does not count against the limit.
        </p>
      )}
    </>
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
      This application can’t authenticate without a client secret.
      {may(c, 'secrets:write') && (
        <>
          {' '}
          <a href={`${applicationPath(application.id)}/new-secret`}>Create a secret</a> here, or with the API:
        </>
      )}
    </p>
    {may(c, 'secrets:write') && (
      <Snippet
        id="create-secret"
        title="Create a client secret"
        text={curl(publicOrigin(c), 'POST', `/connect/applications/${application.id}/client_secrets`)}
      />
    )}
  </Empty>
)
