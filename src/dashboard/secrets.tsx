import type { Context } from 'hono'
import { Hono } from 'hono'
import { UpdateClientSecret } from '../contract/client-secrets.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, granted, keepIdentity, SECRET_LIMIT_REACHED } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Choice, Choices, Field, type FieldErrors } from '../pages/forms.tsx'
import { Hint } from '../pages/parts.tsx'
import { Problem } from '../pages/problem.tsx'
import { DAY_MS, ExactTime } from '../pages/time.tsx'
import type { Need } from '../storage/caller.ts'
import {
  type ApplicationWithSecrets,
  type ClientSecret,
  type ClientSecretChanges,
  findApplicationWithSecrets,
  type SecretReference,
  updateClientSecret,
} from '../storage/client-secrets.ts'
import { formPage, readChange, validate } from './form.tsx'
import { APPLICATIONS_PATH, applicationPath, page, redirectWithNotice } from './layout.tsx'
import {
  expiryOf,
  Lifetimes,
  Limits,
  limitFields,
  limitsToWire,
  readLifetime,
  type SecretValues,
} from './secret-forms.tsx'
import { requireRight, requireSession } from './session.ts'

const SECRET = '/applications/:id/secrets/:secret'

/** Changes of one secret that can be undone. */
export const secrets = new Hono<HonoEnv>()

  .post(`${SECRET}/disable`, requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    return update(c, c.req.param(), { disabled: true }, 'secret-disabled')
  })

  .post(`${SECRET}/enable`, requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    return update(c, c.req.param(), { disabled: false }, 'secret-enabled')
  })

  /** Cancels the expiry that a rotation has set. */
  .post(`${SECRET}/keep`, requireSession, async (c) => {
    await readChange(c, 'secrets:write')
    return update(c, c.req.param(), { expiresAt: null }, 'secret-kept')
  })

  .get(`${SECRET}/first-use`, requireSession, async (c) => {
    const { secret } = await findSecret(c, c.req.param('id'), c.req.param('secret'))
    return firstUsePage(c, secret)
  })

  .get(`${SECRET}/edit`, requireSession, async (c) =>
    editPage(c, await findSecret(c, c.req.param('id'), c.req.param('secret'))),
  )

  .post(`${SECRET}/edit`, requireSession, async (c) => {
    const { id, secret } = c.req.param()
    const field = await readChange(c, 'secrets:write')
    const isSame = field('lifetime') === 'same'
    const lifetime = readLifetime(field('lifetime'))
    const values = { name: field('name'), ...limitFields(field) }
    const input = validate(UpdateClientSecret, { name: values.name.trim() || null, ...limitsToWire(values) })
    const errors = {
      ...input.refused,
      ...(!isSame && lifetime === null && { lifetime: 'Choose when the secret expires.' }),
    }
    if (input.refused || Object.keys(errors).length > 0)
      return editPage(c, await findSecret(c, id, secret), values, errors)
    const expiresAt = lifetime === null ? undefined : expiryOf(lifetime, Date.now())
    const { name = null, scopes, allowed_ips: allowedIps } = input.granted
    return update(c, { id, secret }, { name, expiresAt, scopes, allowedIps }, 'secret-saved')
  })

const update = (
  c: Context<HonoEnv>,
  { id: application, secret: id }: { id: string; secret: string },
  changes: ClientSecretChanges,
  notice: string,
) => changeSecret(c, { id, application }, changes, notice, (_, application) => applicationPath(application))

/** Changes a secret, and redirects to a page that shows a notice. */
export async function changeSecret(
  c: Context<HonoEnv>,
  reference: SecretReference,
  changes: ClientSecretChanges,
  notice: string,
  pathOf: (id: string, applicationId: string) => string,
): Promise<Response> {
  const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
  const change = beginChange(c, c.get('session'))
  const outcome = await updateClientSecret(c.get('database'), change, reference, changes, limit)
  keepIdentity(c, outcome)
  if (outcome.refused === 'client_secret_limit_reached') throw new Problem(422, 'Limit reached', SECRET_LIMIT_REACHED)
  const { id, applicationId } = granted(c, outcome)
  return redirectWithNotice(c, pathOf(id, applicationId), notice)
}

/** Returns the application that a form changes, with its secrets. Throws if the caller may not submit the form. */
export async function findToChange(
  c: Context<HonoEnv>,
  application: string,
  needs: Need,
): Promise<ApplicationWithSecrets> {
  const found = granted(
    c,
    await findApplicationWithSecrets(c.get('database'), c.get('session'), application, Date.now()),
  )
  requireRight(c, needs)
  return found
}

/** Returns a secret for a form, with all secrets of its application. */
export async function findSecret(
  c: Context<HonoEnv>,
  application: string,
  id: string,
): Promise<ApplicationWithSecrets & { secret: ClientSecret }> {
  const found = await findToChange(c, application, 'secrets:write')
  const secret = found.secrets.find((secret) => secret.id === id)
  if (!secret) throw new ApiError('entity_not_found')
  return { ...found, secret }
}

/** Shows whether a program has used a new secret. The page of the new secret requests this page every few seconds. */
function firstUsePage(c: Context<HonoEnv>, { hint, lastUsedAt }: ClientSecret) {
  return page(
    c,
    { title: `First use of …${hint}`, section: APPLICATIONS_PATH },
    <section>
      <h1>
        First use of <Hint hint={hint} />
      </h1>
      {lastUsedAt === null ? (
        <p id="first-use">Not used yet. Reload this page to check again.</p>
      ) : (
        <p id="first-use" data-used>
          Used on <ExactTime at={lastUsedAt} />. The secret works.
        </p>
      )}
    </section>,
  )
}

function editPage(
  c: Context<HonoEnv>,
  { application, secret, maxLifetimeDays }: Awaited<ReturnType<typeof findSecret>>,
  values: SecretValues = {
    name: secret.name ?? '',
    scopes: secret.scopes?.join(' ') ?? '',
    allowed_ips: secret.allowedIps?.join('\n') ?? '',
  },
  errors: FieldErrors = {},
) {
  const path = applicationPath(application.id)
  const now = Date.now()
  // The maximum lifetime that the environment sets counts from the creation of the secret. For a secret without an
  // expiry, the maximum lifetime counts from now.
  const latest = Math.max(
    secret.createdAt + (maxLifetimeDays ?? 0) * DAY_MS,
    secret.expiresAt ?? now + (maxLifetimeDays ?? 0) * DAY_MS,
  )
  const most = maxLifetimeDays === null ? null : Math.floor((latest - now) / DAY_MS)
  return formPage(
    c,
    {
      title: `Edit secret …${secret.hint}`,
      heading: (
        <>
          Edit secret <Hint hint={secret.hint} />
        </>
      ),
      action: `${path}/secrets/${secret.id}/edit`,
      verb: 'Save secret',
      back: { path, name: application.name },
      errors,
    },
    <>
      <Field name="name" label="Name (optional)" value={values.name} errors={errors} />
      <Choices name="lifetime" legend="When should it expire?" errors={errors}>
        <Choice name="lifetime" value="same" isChosen help={secret.expiresAt && <ExactTime at={secret.expiresAt} />}>
          {secret.expiresAt === null ? 'Never, as before' : 'Keep the current expiry'}
        </Choice>
        <Lifetimes now={now} chosen={null} most={most} hasNever={secret.expiresAt !== null} />
      </Choices>
      <Limits values={values} errors={errors} all={application.scopes} />
    </>,
  )
}
