import type { Context } from 'hono'
import { Hono } from 'hono'
import { CreateClientSecret } from '../contract/client-secrets.ts'
import { issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted, keepIdentity, SECRET_LIMIT_REACHED } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { countUsage } from '../http/usage.ts'
import { PostForm } from '../pages/forms.tsx'
import { Problem } from '../pages/problem.tsx'
import type { ClientSecret } from '../storage/client-secrets.ts'
import {
  createClientSecret,
  type IssuingOutcome,
  type NewClientSecret,
  replaceClientSecret,
  rotateClientSecrets,
  type SecretLimits,
} from '../storage/issuing.ts'
import {
  type Fields,
  keyedForm,
  newFormToken,
  readChange,
  refuse,
  staleForm,
  type Validated,
  validate,
} from './form.tsx'
import { applicationPath } from './layout.tsx'
import {
  expiryOf,
  GRACE_PERIODS,
  lifetimeOf,
  limitFields,
  limitsToWire,
  newSecretPage,
  readLifetime,
  rotatePage,
  type SecretValues,
} from './secret-forms.tsx'
import { SecretName } from './secret-table.tsx'
import { findToChange } from './secrets.tsx'
import { requireSession } from './session.ts'
import { shownOnce } from './shown-once.tsx'

/**
 * The forms whose response shows the plaintext of a new secret. No other page can show it: the same form sent again
 * creates nothing, and nothing is stored from which the secret could be derived.
 */
export const issue = new Hono<HonoEnv>()

  .get('/applications/:id/new-secret', requireSession, async (c) =>
    newSecretPage(c, await findToChange(c, c.req.param('id'), 'secrets:write')),
  )

  .post('/applications/:id/new-secret', requireSession, async (c) => {
    const application = c.req.param('id')
    const field = await readChange(c, 'secrets:write')
    const input = readSecret(field)
    if (input.refused)
      return newSecretPage(c, await findToChange(c, application, 'secrets:write'), input.values, input.refused)
    const request = (await keyedForm(c, field('token'))) ?? (await refuse(c, staleForm(c.req.path)))
    const { change, plaintext, secret } = await newClientSecret(c, application, input.granted)
    const outcome = await createClientSecret(c.get('database'), change, secret, maxSecrets(c), request)
    return answer(c, outcome, plaintext, null)
  })

  .get('/applications/:id/rotate', requireSession, async (c) =>
    rotatePage(c, await findToChange(c, c.req.param('id'), 'secrets:write')),
  )

  .post('/applications/:id/rotate', requireSession, async (c) => {
    const application = c.req.param('id')
    const field = await readChange(c, 'secrets:write')
    const grace = field('grace')
    const input = readSecret(field)
    const errors = {
      ...input.refused,
      ...(!GRACE_PERIODS.has(grace) && { grace: 'Choose when the current secrets stop working.' }),
    }
    if (input.refused || Object.keys(errors).length > 0)
      return rotatePage(c, await findToChange(c, application, 'secrets:write'), { ...input.values, grace }, errors)
    const request = (await keyedForm(c, field('token'))) ?? (await refuse(c, staleForm(c.req.path)))
    const { change, plaintext, secret } = await newClientSecret(c, application, input.granted)
    const retireAt = change.now + Number(grace) * 1000
    const outcome = await rotateClientSecrets(c.get('database'), change, secret, retireAt, maxSecrets(c), request)
    return answer(c, outcome, plaintext, retireAt)
  })

  /**
   * Replaces a secret that the user did not receive: expires it, and creates another one with the same name and
   * lifetime.
   */
  .post('/applications/:id/replace-secret', requireSession, async (c) => {
    const application = c.req.param('id')
    const field = await readChange(c, 'secrets:write')
    const input = readSecret(field)
    const request = await keyedForm(c, field('token'))
    if (input.refused || !request) return refuse(c, staleForm(`${parentOf(c)}/new-secret`))
    const { change, plaintext, secret } = await newClientSecret(c, application, input.granted)
    const outcome = await replaceClientSecret(
      c.get('database'),
      change,
      secret,
      field('secret'),
      maxSecrets(c),
      request,
    )
    return answer(c, outcome, plaintext, null)
  })

function maxSecrets(c: Context<HonoEnv>): number {
  return readSettings(c.env).MAX_SECRETS_PER_APPLICATION
}

type Input = Pick<NewClientSecret, 'name' | 'expiresAt'> & SecretLimits

async function newClientSecret(c: Context<HonoEnv>, application: string, input: Input) {
  const { region } = c.get('session')
  const change = beginChange(c, c.get('session'))
  const { plaintext, digest, hint } = await issueCredential(readSettings(c.env).CLIENT_SECRET_PREFIX, region)
  const secret = { id: newId('secret', change.now, region), application, digest, hint, ...input }
  return { change, plaintext, secret }
}

/** Reads the name, the lifetime and the limits of a new secret. */
function readSecret(field: Fields): Validated<Input> & { readonly values: SecretValues } {
  const lifetime = readLifetime(field('lifetime'))
  const values = { name: field('name'), lifetime: lifetime ?? undefined, ...limitFields(field) }
  const input = validate(CreateClientSecret, { name: values.name.trim() || null, ...limitsToWire(values) })
  if (input.refused) return { refused: input.refused, values }
  if (lifetime === null) return { refused: { lifetime: 'Choose when the secret expires.' }, values }
  const { name = null, scopes = null, allowed_ips: allowedIps = null } = input.granted
  return { granted: { name, scopes, allowedIps, expiresAt: expiryOf(lifetime, Date.now()) }, values }
}

/** Refusals which mean that this form already created a secret. The secret may be unusable by now. */
const SENT_BEFORE: ReadonlySet<string> = new Set([
  'idempotency_key_reused',
  'application_deleted',
  'client_secret_revoked',
  'client_secret_disabled',
  'client_secret_expired',
])

/** Shows the new secret. `retireAt` is when the other secrets expire after a rotation, in Unix ms. */
function answer(c: Context<HonoEnv>, outcome: IssuingOutcome, plaintext: string, retireAt: number | null): Response {
  keepIdentity(c, outcome)
  if (outcome.refused && SENT_BEFORE.has(outcome.refused)) throw alreadyCreated(c, null)
  if (outcome.refused === 'client_secret_limit_reached') throw limitReached(c)
  const created = granted(c, outcome)
  if (created.replayedFrom) throw alreadyCreated(c, created.secret)
  countUsage(c, 'create', { ...c.get('identity'), applicationId: created.secret.applicationId })
  return shownOnce(c, created, plaintext, retireAt)
}

/** The response to a form that is sent again: by a second click, by reloading, or by going back. */
function alreadyCreated(c: Context<HonoEnv>, secret: ClientSecret | null): Problem {
  if (!secret)
    return new Problem(
      409,
      'This secret was already created',
      <p>
        This form created a secret that can no longer be used. No new secret was created.{' '}
        <a href={c.req.path}>Create another secret</a>
      </p>,
    )
  const path = applicationPath(secret.applicationId)
  const copied = { secret: secret.id, name: secret.name ?? '', lifetime: String(lifetimeOf(secret)) }
  return new Problem(
    409,
    'This secret was already created',
    <>
      <p>
        This form created <SecretName secret={secret} />. You can’t view it again. No new secret was created.
      </p>
      <p>
        <a class="button" href={`${path}#${secret.id}`}>
          Open application
        </a>
      </p>
      <h2>Didn’t get it?</h2>
      <p>
        Replace the secret. <SecretName secret={secret} /> stops working immediately, which can’t be undone. You’ll then
        see a new secret with the same name and lifetime.
      </p>
      <PostForm action={`${path}/replace-secret`} fields={{ token: newFormToken(), ...copied }}>
        <button type="submit" class="danger">
          Replace secret
        </button>
      </PostForm>
    </>,
  )
}

function limitReached(c: Context<HonoEnv>): Problem {
  const path = parentOf(c)
  return new Problem(
    422,
    'Limit reached',
    <p>
      {SECRET_LIMIT_REACHED} <a href={path}>Show the secrets</a>, or <a href={`${path}/rotate`}>rotate</a>: a rotation
      does not count against the limit.
    </p>,
  )
}

/** The path of the application that a form belongs to. */
function parentOf(c: Context<HonoEnv>): string {
  return c.req.path.slice(0, c.req.path.lastIndexOf('/'))
}
