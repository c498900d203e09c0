import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { Choice, Field, type FieldErrors } from '../pages/forms.tsx'
import { ExactTime, Time } from '../pages/time.tsx'
import type { ApplicationWithSecrets, ClientSecret } from '../storage/client-secrets.ts'
import { DEFAULT_GRACE_PERIOD, DEFAULT_LIFETIME, GRACE_PERIODS, Lifetimes, lifetimeOf } from './expiry.tsx'
import { newFormToken } from './form.ts'
import { formPage } from './form-page.tsx'
import { applicationPath } from './paths.ts'
import { SecretName } from './secret-table.tsx'

/** The values of the forms' fields. */
export interface SecretValues {
  readonly name: string
  readonly lifetime?: number | undefined
  readonly grace?: string
}

export function newSecretPage(
  c: Context<HonoEnv>,
  { application }: ApplicationWithSecrets,
  values: SecretValues = { name: '', lifetime: DEFAULT_LIFETIME },
  errors: FieldErrors = {},
) {
  const path = applicationPath(application.id)
  return formPage(
    c,
    {
      title: 'New client secret',
      intro: 'You’ll see the secret once, on the next page. Have your secret manager open.',
      action: `${path}/new-secret`,
      fields: { token: newFormToken() },
      verb: 'Create secret',
      back: { path, name: application.name },
      errors,
    },
    <NameAndExpiry values={values} errors={errors} now={Date.now()} />,
  )
}

export function rotatePage(
  c: Context<HonoEnv>,
  { application, secrets }: ApplicationWithSecrets,
  values: SecretValues = valuesOf(secrets),
  errors: FieldErrors = {},
) {
  const now = Date.now()
  const path = applicationPath(application.id)
  return formPage(
    c,
    {
      title: 'Rotate client secrets',
      intro: 'Creates a new secret. The current secrets keep working until the time you choose.',
      action: `${path}/rotate`,
      fields: { token: newFormToken() },
      verb: 'Rotate secrets',
      back: { path, name: application.name },
      errors,
    },
    <>
      <Replaced secrets={secrets} now={now} />
      <fieldset>
        <legend>When should the current secrets stop working?</legend>
        {[...GRACE_PERIODS].map(([seconds, text]) => (
          <Choice
            name="grace"
            value={seconds}
            isChosen={seconds === (values.grace ?? DEFAULT_GRACE_PERIOD)}
            help={seconds === '0' ? 'This can’t be undone.' : <ExactTime at={now + Number(seconds) * 1000} />}
          >
            {text}
          </Choice>
        ))}
        {errors.grace && <p class="error">{errors.grace}</p>}
      </fieldset>
      <NameAndExpiry values={values} errors={errors} now={now} />
    </>,
  )
}

/** The new secret takes the name and the lifetime of the latest one that was not itself replaced. */
function valuesOf(secrets: readonly ClientSecret[]): SecretValues {
  const replaced =
    secrets.findLast(({ isRotatedOut, disabledAt }) => !isRotatedOut && disabledAt === null) ??
    secrets.findLast(({ isRotatedOut }) => !isRotatedOut)
  return { name: replaced?.name ?? '', lifetime: replaced ? lifetimeOf(replaced) : DEFAULT_LIFETIME }
}

const NameAndExpiry = ({ values, errors, now }: { values: SecretValues; errors: FieldErrors; now: number }) => (
  <>
    <Field
      name="name"
      label="Name of the new secret (optional)"
      value={values.name}
      errors={errors}
      help="Where it is used, such as production or CI."
    />
    <fieldset>
      <legend>When should the new secret expire?</legend>
      <Lifetimes now={now} chosen={values.lifetime ?? null} />
      {errors.lifetime && <p class="error">{errors.lifetime}</p>}
    </fieldset>
  </>
)

const Replaced = ({ secrets, now }: { secrets: readonly ClientSecret[]; now: number }) =>
  secrets.length === 0 ? (
    <p>This application has no secrets yet. This creates the first one.</p>
  ) : (
    <div class="notice">
      <p>
        {secrets.length === 1 ? 'This secret will stop working:' : `These ${secrets.length} secrets will stop working:`}
      </p>
      <ul>
        {secrets.map((secret) => (
          <li>
            <SecretName secret={secret} />,{' '}
            {secret.lastUsedAt === null ? (
              'never used'
            ) : (
              <>
                last used <Time at={secret.lastUsedAt} now={now} />
              </>
            )}
            {secret.expiresAt !== null && (
              <>
                , expires <Time at={secret.expiresAt} now={now} /> or sooner
              </>
            )}
          </li>
        ))}
      </ul>
      <p>Until then you can keep each of them on the application’s page.</p>
    </div>
  )
