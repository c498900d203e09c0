import type { Context } from 'hono'
import { Hono } from 'hono'
import { UpdateClientSecret } from '../contract/client-secrets.ts'
import { changeOf } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Choice, Confirm, Errors, Field, Hint } from '../pages/parts.tsx'
import { DAY_MS, Moment, Time } from '../pages/time.tsx'
import {
  type ApplicationWithSecrets,
  findApplicationWithSecrets,
  type ListedClientSecret,
} from '../storage/application-secrets.ts'
import {
  type ClientSecretChanges,
  revokeAllClientSecrets,
  revokeClientSecret,
  updateClientSecret,
} from '../storage/client-secrets.ts'
import { expiryOf, LIFETIMES, lifetimeOf } from './expiry.ts'
import { check, type FieldErrors, isRefused, readForm } from './form.ts'
import { Problem, page } from './layout.tsx'
import { requireSession, requireWriteAccess } from './session.ts'

const SECRET = '/applications/:id/secrets/:secret'

/** Used within this time, a secret is most likely in use. */
const IN_USE_MS = 7 * DAY_MS

/** What is done to secrets that there are. */
export const secrets = new Hono<HonoEnv>()

  .post(`${SECRET}/disable`, requireSession('write'), (c) => change(c, { disabled: true }, 'disabled'))

  .post(`${SECRET}/enable`, requireSession('write'), (c) => change(c, { disabled: false }, 'enabled'))

  /** Undoes a rotation for one secret. */
  .post(`${SECRET}/keep`, requireSession('write'), (c) => change(c, { expiresAt: null }, 'kept'))

  .get(`${SECRET}/edit`, requireSession('read'), async (c) => {
    const { secret } = await found(c)
    return editPage(c, secret, secret.name ?? '', {})
  })

  .post(`${SECRET}/edit`, requireSession('write'), async (c) => {
    const field = await readForm(c)
    const input = check(UpdateClientSecret, { name: field('name').trim() || null })
    if (isRefused(input)) return editPage(c, (await found(c)).secret, field('name'), input.errors as FieldErrors)
    const lifetime = field('lifetime')
    const expiresAt = lifetime === 'same' ? undefined : expiryOf(lifetimeOf(lifetime), Date.now())
    return change(c, { name: input.name ?? null, expiresAt }, 'saved')
  })

  .get(`${SECRET}/revoke`, requireSession('read'), async (c) => {
    const { secret, secrets } = await found(c)
    return revokePage(c, secret, secrets)
  })

  .post(`${SECRET}/revoke`, requireSession('write'), async (c) => {
    granted(c, await revokeClientSecret(c.var.database, changeOf(c, c.var.session), c.req.param('secret')))
    return back(c, 'revoked')
  })

  .get('/applications/:id/revoke-all', requireSession('read'), async (c) => {
    const { database, session } = c.var
    const application = granted(c, await findApplicationWithSecrets(database, session, c.req.param('id'), Date.now()))
    requireWriteAccess(c)
    return revokeAllPage(c, application)
  })

  .post('/applications/:id/revoke-all', requireSession('write'), async (c) => {
    granted(c, await revokeAllClientSecrets(c.var.database, changeOf(c, c.var.session), c.req.param('id')))
    return back(c, 'all-revoked')
  })

function pathOf(c: Context<HonoEnv>): string {
  return `/dashboard/applications/${encodeURIComponent(c.req.param('id') ?? '')}`
}

function back(c: Context<HonoEnv>, notice: string): Response {
  return c.redirect(`${pathOf(c)}?notice=${notice}`, 303)
}

async function change(c: Context<HonoEnv>, changes: ClientSecretChanges, notice: string): Promise<Response> {
  const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
  const id = c.req.param('secret') ?? ''
  const outcome = await updateClientSecret(c.var.database, changeOf(c, c.var.session), id, changes, limit)
  if ('refused' in outcome && outcome.refused === 'client_secret_limit_reached') {
    const words =
      'Taken back, the secret would count again, and the application has as many as it may have. Revoke one first.'
    throw new Problem(422, 'That cannot be done', words)
  }
  granted(c, outcome)
  return back(c, notice)
}

/** The secret of the page, among its application's, for somebody who may change it. */
async function found(c: Context<HonoEnv>): Promise<ApplicationWithSecrets & { secret: ListedClientSecret }> {
  const { database, session } = c.var
  const outcome = granted(c, await findApplicationWithSecrets(database, session, c.req.param('id') ?? '', Date.now()))
  const secret = outcome.secrets.find(({ id }) => id === c.req.param('secret'))
  if (!secret) throw new ApiError('entity_not_found')
  requireWriteAccess(c)
  return { ...outcome, secret }
}

function editPage(c: Context<HonoEnv>, secret: ListedClientSecret, name: string, errors: FieldErrors) {
  const now = Date.now()
  const isRefused = Object.keys(errors).length > 0
  return page(
    c,
    { title: `Edit …${secret.hint}`, section: '/dashboard', isNarrow: true, status: isRefused ? 422 : 200 },
    <section>
      <h1>
        Edit secret <Hint hint={secret.hint} />
      </h1>
      <form method="post" action={`${pathOf(c)}/secrets/${secret.id}/edit`} class="stack">
        <Errors errors={errors} />
        <Field name="name" label="Name (optional)" value={name} errors={errors} />
        <fieldset>
          <legend>Expires</legend>
          <Choice
            name="lifetime"
            value="same"
            isChosen
            help={secret.expiresAt !== null && <Moment at={secret.expiresAt} now={now} />}
          >
            {secret.expiresAt === null ? 'Never, as now' : 'As now'}
          </Choice>
          {Object.entries(LIFETIMES)
            .filter(([days]) => days !== '0' || secret.expiresAt !== null)
            .map(([days, words]) => (
              <Choice
                name="lifetime"
                value={days}
                isChosen={false}
                help={days !== '0' && <Moment at={now + Number(days) * DAY_MS} now={now} />}
              >
                {words}
              </Choice>
            ))}
        </fieldset>
        <div class="row">
          <button type="submit" class="primary">
            Save
          </button>
          <a class="button" href={pathOf(c)}>
            Cancel
          </a>
        </div>
      </form>
    </section>,
  )
}

function revokePage(c: Context<HonoEnv>, secret: ListedClientSecret, all: readonly ListedClientSecret[]) {
  const now = Date.now()
  const isLast = !all.some(({ id, disabledAt }) => id !== secret.id && disabledAt === null)
  return page(
    c,
    { title: `Revoke …${secret.hint}`, section: '/dashboard', isNarrow: true },
    <Confirm
      title={`Revoke …${secret.hint}?`}
      action={`${pathOf(c)}/secrets/${secret.id}/revoke`}
      verb="Revoke secret"
      back={pathOf(c)}
    >
      <p>
        {secret.name && (
          <>
            <b>{secret.name}</b> stops working at once, for good.{' '}
          </>
        )}
        {!secret.name && 'It stops working at once, for good. '}
        <LastUse secret={secret} now={now} />
      </p>
      {isInUse(secret, now) && (
        <p class="notice bad">
          It was used within the last week: whatever uses it will be refused. To see what that is first, disable it
          instead. That can be undone.
        </p>
      )}
      {isLast && (
        <p class="notice bad">
          It is the last one that works: without another, nothing can authenticate as this application.
        </p>
      )}
    </Confirm>,
  )
}

function revokeAllPage(c: Context<HonoEnv>, { application, secrets }: ApplicationWithSecrets) {
  const now = Date.now()
  const inUse = secrets.filter((secret) => isInUse(secret, now)).length
  return page(
    c,
    { title: 'Revoke all secrets', section: '/dashboard', isNarrow: true },
    <Confirm
      title={`Revoke all secrets of ${application.name}?`}
      action={`${pathOf(c)}/revoke-all`}
      verb={`Revoke ${secrets.length === 1 ? 'the secret' : `all ${secrets.length}`}`}
      back={pathOf(c)}
    >
      <p>They stop working at once, for good, and nothing can authenticate as this application until it has another.</p>
      <ul>
        {secrets.map((secret) => (
          <li>
            {secret.name && `${secret.name} `}
            <Hint hint={secret.hint} />. <LastUse secret={secret} now={now} />
          </li>
        ))}
      </ul>
      {inUse > 0 && (
        <p class="notice bad">
          Used within the last week: {inUse} of {secrets.length}.
        </p>
      )}
    </Confirm>,
  )
}

const LastUse = ({ secret, now }: { secret: ListedClientSecret; now: number }) =>
  secret.lastUsedAt === null ? (
    'It was never used.'
  ) : (
    <>
      It was last used <Time at={secret.lastUsedAt} now={now} />.
    </>
  )

function isInUse({ lastUsedAt }: ListedClientSecret, now: number): boolean {
  return lastUsedAt !== null && now - lastUsedAt < IN_USE_MS
}
