import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { Choice, Choices, Field, type FieldErrors } from '../pages/forms.tsx'
import { DAY_MS, ExactTime, Time } from '../pages/time.tsx'
import type { ApplicationWithSecrets, ClientSecret } from '../storage/client-secrets.ts'
import { type Fields, formPage, newFormToken } from './form.tsx'
import { applicationPath } from './layout.tsx'
import { SecretName } from './secret-table.tsx'

/** The lifetimes that a form offers for a secret, in days; 0 for no expiry. */
const LIFETIMES = new Map([
  [30, '30 days'],
  [90, '90 days'],
  [365, '1 year'],
  [0, 'Never'],
])
const DEFAULT_LIFETIME = 90
const MAX_LIFETIME = 3650

/** Parses a whole number of days. Returns null for anything else. */
export function readLifetime(text: string): number | null {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  return days <= MAX_LIFETIME ? days : null
}

/** The expiry in Unix ms. Null means never. */
export function expiryOf(lifetime: number, now: number): number | null {
  return lifetime === 0 ? null : now + lifetime * DAY_MS
}

/** The lifetime of a secret when it was created, rounded to days. */
export function lifetimeOf({ createdAt, expiresAt }: { createdAt: number; expiresAt: number | null }): number {
  if (expiresAt === null) return 0
  return Math.min(MAX_LIFETIME, Math.max(1, Math.round((expiresAt - createdAt) / DAY_MS)))
}

interface LifetimesProps {
  readonly now: number
  /** The chosen lifetime in days. Null if the user keeps the current expiry. */
  readonly chosen: number | null
  /** The longest lifetime that the environment allows, in days from now; null for no limit. */
  readonly most: number | null
  /** False if the form has another choice for no expiry. */
  readonly hasNever?: boolean
}

/** The choices of lifetimes. The chosen one is added if it is not among them. */
export const Lifetimes = ({ now, chosen: wanted, most, hasNever = true }: LifetimesProps) => {
  const isAllowed = (days: number) => most === null || (days > 0 && days <= most)
  const chosen = wanted === null || isAllowed(wanted) ? wanted : most
  const lifetimes = [...LIFETIMES.keys()].filter((days) => isAllowed(days) && (days > 0 || hasNever))
  if (chosen !== null && !lifetimes.includes(chosen)) lifetimes.unshift(chosen)
  return lifetimes.map((days) => (
    <Choice
      name="lifetime"
      value={String(days)}
      isChosen={days === chosen}
      help={days === 0 ? 'Until you revoke it.' : <ExactTime at={now + days * DAY_MS} />}
    >
      {days === 0 ? 'Never' : `In ${LIFETIMES.get(days) ?? `${days} days`}`}
    </Choice>
  ))
}

/** How long, in seconds, the replaced secrets keep working after a rotation. */
export const GRACE_PERIODS = new Map([
  ['3600', 'In 1 hour'],
  ['86400', 'In 24 hours'],
  ['604800', 'In 7 days'],
  ['0', 'Immediately'],
])
const DEFAULT_GRACE_PERIOD = '86400'

/** The values of the forms' fields. */
export interface SecretValues {
  readonly name: string
  readonly lifetime?: number | undefined
  readonly grace?: string
  readonly scopes?: string
  readonly allowed_ips?: string
}

type LimitValues = Pick<SecretValues, 'scopes' | 'allowed_ips'>

/** Reads the fields of `Limits`. */
export function limitFields(field: Fields): LimitValues {
  return { scopes: field('scopes'), allowed_ips: field('allowed_ips') }
}

/** Converts the limits for the API. An empty field becomes null. */
export function limitsToWire(values: LimitValues) {
  const list = (text = '') => text.split(/[\s,]+/).filter(Boolean)
  const orNull = (items: string[]) => (items.length === 0 ? null : items)
  return { scopes: orNull(list(values.scopes)), allowed_ips: orNull(list(values.allowed_ips)) }
}

/** The fields for the scopes and the IP ranges of a secret. Both may be empty. */
export const Limits = ({
  values,
  errors,
  all,
}: {
  values: LimitValues
  errors: FieldErrors
  all: readonly string[]
}) => (
  <>
    <Field
      name="scopes"
      label="Scopes (optional)"
      value={values.scopes}
      errors={errors}
      isCode
      help={
        <>
          Leave it empty for all scopes of the application
          {all.length > 0 && (
            <>
              : <code>{all.join(' ')}</code>
            </>
          )}
          .
        </>
      }
    />
    <AllowedIps what="secret" values={values} errors={errors} />
  </>
)

/** The field for the IP ranges of a secret or an API key. */
export const AllowedIps = ({ what, values, errors }: { what: string; values: LimitValues; errors: FieldErrors }) => (
  <Field
    name="allowed_ips"
    label="IP addresses (optional)"
    value={values.allowed_ips}
    errors={errors}
    isCode
    isLong
    help={`IP addresses and CIDR ranges from which the ${what} works, one per line. Leave it empty to allow all.`}
  />
)

export function newSecretPage(
  c: Context<HonoEnv>,
  { application, maxLifetimeDays }: ApplicationWithSecrets,
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
    <>
      <NameAndExpiry values={values} errors={errors} now={Date.now()} most={maxLifetimeDays} />
      <Limits values={values} errors={errors} all={application.scopes} />
    </>,
  )
}

export function rotatePage(
  c: Context<HonoEnv>,
  { application, secrets, maxLifetimeDays }: ApplicationWithSecrets,
  values: SecretValues = valuesOf(secrets),
  errors: FieldErrors = {},
) {
  const now = Date.now()
  const path = applicationPath(application.id)
  return formPage(
    c,
    {
      title: 'Rotate client secrets',
      intro:
        'Creates a secret with the scopes and IP addresses of the latest one. The current secrets keep working until the time you choose.',
      action: `${path}/rotate`,
      fields: { token: newFormToken() },
      verb: 'Rotate secrets',
      back: { path, name: application.name },
      errors,
    },
    <>
      <Replaced secrets={secrets} now={now} />
      <Choices name="grace" legend="When should the current secrets stop working?" errors={errors}>
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
      </Choices>
      <NameAndExpiry values={values} errors={errors} now={now} most={maxLifetimeDays} />
    </>,
  )
}

/**
 * The new secret gets the name and the lifetime of the latest secret that was not rotated out, preferably of an enabled
 * one.
 */
function valuesOf(secrets: readonly ClientSecret[]): SecretValues {
  const replaced =
    secrets.findLast(({ isRotatedOut, disabledAt }) => !isRotatedOut && disabledAt === null) ??
    secrets.findLast(({ isRotatedOut }) => !isRotatedOut)
  return { name: replaced?.name ?? '', lifetime: replaced ? lifetimeOf(replaced) : DEFAULT_LIFETIME }
}

interface NameAndExpiryProps extends Pick<LifetimesProps, 'now' | 'most'> {
  readonly values: SecretValues
  readonly errors: FieldErrors
}

const NameAndExpiry = ({ values, errors, now, most }: NameAndExpiryProps) => (
  <>
    <Field
      name="name"
      label="Name of the new secret (optional)"
      value={values.name}
      errors={errors}
      help="Where it is used, such as production or CI."
    />
    <Choices name="lifetime" legend="When should the new secret expire?" errors={errors}>
      <Lifetimes now={now} chosen={values.lifetime ?? null} most={most} />
    </Choices>
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
      <p>Until then, you can cancel this for each of them on the application’s page.</p>
    </div>
  )
