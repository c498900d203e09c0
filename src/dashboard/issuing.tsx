import type { Context } from 'hono'
import { Hono } from 'hono'
import { CreateClientSecret } from '../contract/client-secrets.ts'
import { issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { changeOf } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Hint } from '../pages/parts.tsx'
import { type ApplicationWithSecrets, findApplicationWithSecrets } from '../storage/application-secrets.ts'
import type { Change } from '../storage/caller.ts'
import type { ClientSecret } from '../storage/client-secrets.ts'
import type { KeyedRequest } from '../storage/idempotency.ts'
import {
  createClientSecret,
  type IssuingOutcome,
  type NewClientSecret,
  rotateClientSecrets,
} from '../storage/issuing.ts'
import { TooOld } from './application-form.tsx'
import { expiryOf, lifetimeOf } from './expiry.ts'
import { check, type FieldErrors, isRefused, keyedForm, readForm } from './form.ts'
import { newSecretPage, rotatePage } from './issuing-forms.tsx'
import { Problem } from './layout.tsx'
import { requireSession, requireWriteAccess } from './session.ts'
import { shownOnce } from './shown-once.tsx'

/** For how long the secrets that are rotated out stay good, in seconds. */
export const GRACE_PERIODS = { '86400': '24 hours', '3600': '1 hour', '604800': '7 days', '0': 'Now' } as const

/** The two forms whose answer has a plaintext. */
export const issuing = new Hono<HonoEnv>()

  .get('/applications/:id/new-secret', requireSession('read'), async (c) => newSecretPage(c, await found(c), '', {}))

  .post('/applications/:id/new-secret', requireSession('write'), async (c) => {
    const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
    const field = await readForm(c)
    const input = check(CreateClientSecret, { name: field('name').trim() || null })
    if (isRefused(input)) return newSecretPage(c, await found(c), field('name'), input.errors as FieldErrors)
    const settings = { name: input.name ?? null, expiresAt: expiryOf(lifetimeOf(field('lifetime')), Date.now()) }
    return issue(c, field('token'), settings, (change, secret, request) =>
      createClientSecret(c.var.database, change, secret, limit, request),
    )
  })

  .get('/applications/:id/rotate', requireSession('read'), async (c) => rotatePage(c, await found(c)))

  .post('/applications/:id/rotate', requireSession('write'), async (c) => {
    const limit = readSettings(c.env).MAX_SECRETS_PER_APPLICATION
    const field = await readForm(c)
    const grace = field('grace')
    if (!(grace in GRACE_PERIODS))
      throw new Problem(422, 'That cannot be done', 'Choose how long the others stay good.')
    const retireAt = ({ now }: Change) => now + Number(grace) * 1000
    return issue(
      c,
      field('token'),
      { name: null, expiresAt: null },
      (change, secret, request) =>
        rotateClientSecrets(c.var.database, change, secret, retireAt(change), limit, request),
      retireAt,
    )
  })

/** The application of the page, for somebody who may change it. */
async function found(c: Context<HonoEnv, '/applications/:id/*'>): Promise<ApplicationWithSecrets> {
  const { database, session } = c.var
  const application = granted(c, await findApplicationWithSecrets(database, session, idOf(c), Date.now()))
  requireWriteAccess(c)
  return application
}

function idOf(c: Context<HonoEnv>): string {
  return c.req.param('id') ?? ''
}

/**
 * Issues a secret by `store`, and shows it in this response, which is the only one that has it: the same form sent again
 * makes nothing, and there is nothing from which its secret could be told again.
 */
async function issue(
  c: Context<HonoEnv>,
  token: string,
  settings: Pick<NewClientSecret, 'name' | 'expiresAt'>,
  store: (change: Change, secret: NewClientSecret, request: KeyedRequest) => Promise<IssuingOutcome>,
  retireAt?: (change: Change) => number,
): Promise<Response> {
  const application = idOf(c)
  const request = await keyedForm(c, token)
  if (!request) throw new Problem(422, 'This form is too old', <TooOld href={c.req.path} />)
  const change = changeOf(c, c.var.session)
  const { region } = c.var.session
  const issued = await issueCredential(readSettings(c.env).CLIENT_SECRET_PREFIX, region)
  const id = newId('secret', change.now, region)
  const outcome = await store(
    change,
    { id, application, digest: issued.digest, hint: issued.hint, ...settings },
    request,
  )
  if ('refused' in outcome) {
    if (outcome.refused === 'client_secret_revoked' || outcome.refused === 'idempotency_key_reused')
      throw shownBefore(application, c.req.path, null)
    if (outcome.refused === 'client_secret_limit_reached') throw limitReached(application)
    if (outcome.refused === 'expires_at_past') throw new Problem(422, 'That cannot be done', 'It would have expired.')
  }
  const created = granted(c, outcome)
  if (created.replayedFrom) throw shownBefore(application, c.req.path, created.secret)
  return shownOnce(c, created, issued.plaintext, retireAt?.(change) ?? null)
}

/** What reloading and going back lead to. */
function shownBefore(application: string, again: string, secret: ClientSecret | null): Problem {
  const page = `/dashboard/applications/${application}`
  return new Problem(
    409,
    'This secret has been shown',
    <>
      <p>
        A secret is shown once, when it is made, and this form has made its one
        {secret ? (
          <>
            : <Hint hint={secret.hint} />. Nothing was made now.
          </>
        ) : (
          '. Nothing was made now.'
        )}
      </p>
      {secret && <p>If it was not saved, create another, and then revoke this one.</p>}
      <p class="row">
        <a class="button primary" href={again}>
          Create another
        </a>
        <a class="button" href={secret ? `${page}#${secret.id}` : page}>
          Back to the application
        </a>
      </p>
    </>,
  )
}

function limitReached(application: string): Problem {
  const page = `/dashboard/applications/${application}`
  return new Problem(
    422,
    'That cannot be done',
    <p>
      The application has as many live secrets as it may have. <a href={page}>Revoke one</a> that is no longer needed,
      or <a href={`${page}/rotate`}>rotate</a>, which takes no place.
    </p>,
  )
}
