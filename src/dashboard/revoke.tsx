import type { Context } from 'hono'
import { Hono } from 'hono'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Confirm, Field } from '../pages/forms.tsx'
import { Hint, isolated, Name } from '../pages/parts.tsx'
import { duration, Time } from '../pages/time.tsx'
import { deleteApplication } from '../storage/applications.ts'
import {
  type ApplicationWithSecrets,
  type ClientSecret,
  revokeAllClientSecrets,
  revokeClientSecret,
} from '../storage/client-secrets.ts'
import { readChange } from './form.tsx'
import { APPLICATIONS_PATH, applicationPath, page, redirectWithNotice } from './layout.tsx'
import { isActive, isInUse, LastUse, LastUsed, SecretName } from './secret-table.tsx'
import { findSecret, findToChange } from './secrets.tsx'
import { requireSession } from './session.ts'

/** Changes of an application and its secrets that can't be undone. Each has a confirmation page. */
export const revoke = new Hono<HonoEnv>()

  .get('/applications/:id/secrets/:secret/revoke', requireSession, async (c) =>
    revokePage(c, await findSecret(c, c.req.param('id'), c.req.param('secret'))),
  )

  .post('/applications/:id/secrets/:secret/revoke', requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    const { id: application, secret: id } = c.req.param()
    granted(c, await revokeClientSecret(c.get('database'), beginChange(c, c.get('session')), { id, application }))
    return redirectWithNotice(c, applicationPath(application), 'secret-revoked')
  })

  .get('/applications/:id/revoke-all', requireSession, async (c) =>
    revokeAllPage(c, await findToChange(c, c.req.param('id'), 'secrets:write')),
  )

  .post('/applications/:id/revoke-all', requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    const id = c.req.param('id')
    granted(c, await revokeAllClientSecrets(c.get('database'), beginChange(c, c.get('session')), id))
    return redirectWithNotice(c, applicationPath(id), 'secrets-revoked')
  })

  .get('/applications/:id/delete', requireSession, async (c) =>
    deletePage(c, await findToChange(c, c.req.param('id'), 'applications:write')),
  )

  .post('/applications/:id/delete', requireSession, async (c) => {
    const id = c.req.param('id')
    const field = await readChange(c, 'applications:write')
    const typed = field('name').trim()
    const isConfirmed = typed !== '' && (typed === field('expected').trim() || typed === field('client_id').slice(-8))
    if (!isConfirmed) return deletePage(c, await findToChange(c, id, 'applications:write'), field('name'))
    granted(c, await deleteApplication(c.get('database'), beginChange(c, c.get('session')), id))
    return redirectWithNotice(c, APPLICATIONS_PATH, 'application-deleted')
  })

function revokePage(c: Context<HonoEnv>, { application, secret, secrets }: Awaited<ReturnType<typeof findSecret>>) {
  const now = Date.now()
  const path = applicationPath(application.id)
  return page(
    c,
    { title: `Revoke …${secret.hint}`, section: APPLICATIONS_PATH },
    <Confirm
      title={
        <>
          Revoke secret <Hint hint={secret.hint} />?
        </>
      }
      action={`${path}/secrets/${secret.id}/revoke`}
      verb="Revoke secret"
      back={path}
    >
      <dl class="facts">
        <dt>Application</dt>
        <dd>
          <Name>{application.name}</Name>
        </dd>
        <dt>Secret</dt>
        <dd>
          <SecretName secret={secret} />
        </dd>
        <dt>Last used</dt>
        <dd>
          <LastUsed at={secret.lastUsedAt} now={now} />
        </dd>
      </dl>
      <p>It stops working immediately. This can’t be undone.</p>
      <Tokens c={c} />
      {isInUse(secret, now) && (
        <p class="notice bad">
          Used within the last week. Not sure what uses it? Disable it first: you can enable it again.
        </p>
      )}
      <LastActive secret={secret} secrets={secrets} now={now} />
    </Confirm>,
  )
}

/** Warns before the last active secret is revoked. */
const LastActive = ({
  secret,
  secrets,
  now,
}: Pick<ApplicationWithSecrets, 'secrets'> & { secret: ClientSecret; now: number }) => {
  const others = secrets.filter(({ id }) => id !== secret.id)
  if (secret.disabledAt !== null || others.some((other) => isActive(other, now))) return null
  const ends = others.flatMap(({ disabledAt, expiresAt }) =>
    disabledAt === null && expiresAt !== null ? [expiresAt] : [],
  )
  return (
    <p class="notice bad">
      {ends.length === 0 ? (
        'This is the last secret that works. Without it, the application can’t authenticate.'
      ) : (
        <span>
          This is the last active secret. The others are expiring: after the last of them has expired{' '}
          <Time at={Math.max(...ends)} now={now} />, the application can’t authenticate.
        </span>
      )}
    </p>
  )
}

/** Warns that a service which verifies access tokens offline accepts them after the revocation. */
const Tokens = ({ c }: { c: Context<HonoEnv> }) => (
  <p class="quiet">
    Introspection refuses its access tokens immediately. Services that verify them offline accept them until they
    expire, up to {duration(readSettings(c.env).ACCESS_TOKEN_TTL_SECONDS)} from now.
  </p>
)

function revokeAllPage(c: Context<HonoEnv>, { application, secrets }: ApplicationWithSecrets) {
  const now = Date.now()
  const path = applicationPath(application.id)
  return page(
    c,
    { title: 'Revoke all secrets', section: APPLICATIONS_PATH },
    <Confirm
      title={
        <>
          Revoke all secrets of <bdi>{application.name}</bdi>?
        </>
      }
      action={`${path}/revoke-all`}
      verb={secrets.length === 1 ? 'Revoke the secret' : `Revoke all ${secrets.length} secrets`}
      back={path}
    >
      <p>
        They stop working immediately. This can’t be undone. The application can’t authenticate until you create another
        secret.
      </p>
      <SecretList secrets={secrets} now={now} />
      <Tokens c={c} />
    </Confirm>,
  )
}

const SecretList = ({ secrets, now }: { secrets: readonly ClientSecret[]; now: number }) => {
  const inUse = secrets.filter((secret) => isInUse(secret, now)).length
  return (
    <>
      <ul>
        {secrets.map((secret) => (
          <li>
            <SecretName secret={secret} />. <LastUse secret={secret} now={now} />
          </li>
        ))}
      </ul>
      {inUse > 0 && (
        <p class="notice bad">
          Used within the last week: {inUse} of {secrets.length}.
        </p>
      )}
    </>
  )
}

/** `typed` is the text that the user typed, if it did not confirm the change. */
function deletePage(c: Context<HonoEnv>, { application, secrets }: ApplicationWithSecrets, typed?: string) {
  const path = applicationPath(application.id)
  const { name, clientId } = application
  const count = secrets.length === 1 ? 'its secret' : `its ${secrets.length} secrets`
  return page(
    c,
    { title: `Delete ${isolated(name)}`, section: APPLICATIONS_PATH, status: typed === undefined ? 200 : 422 },
    <Confirm
      title={
        <>
          Delete <bdi>{name}</bdi>?
        </>
      }
      action={`${path}/delete`}
      fields={{ expected: name, client_id: clientId }}
      verb="Delete application"
      back={path}
      hasField
    >
      <p>Deletes the application{secrets.length > 0 && ` and revokes ${count}`}. This can’t be undone.</p>
      <SecretList secrets={secrets} now={Date.now()} />
      <Tokens c={c} />
      <Field
        name="name"
        label="Name of the application"
        value={typed ?? ''}
        isRequired
        autofocus
        help={
          <>
            To confirm, type{' '}
            <b>
              <bdi>{name}</bdi>
            </b>{' '}
            or the last 8 characters of the client ID, <code>{clientId.slice(-8)}</code>
          </>
        }
        {...(typed !== undefined && {
          errors: { name: 'This is neither the name nor the last 8 characters of the client ID. Nothing was deleted.' },
        })}
      />
    </Confirm>,
  )
}
