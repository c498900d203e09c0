import type { Context } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { Choice, Errors, Field, Hint } from '../pages/parts.tsx'
import { DAY_MS, Moment, Time } from '../pages/time.tsx'
import type { ApplicationWithSecrets, ListedClientSecret } from '../storage/application-secrets.ts'
import { LIFETIMES } from './expiry.ts'
import { type FieldErrors, newFormToken } from './form.ts'
import { GRACE_PERIODS } from './issuing.tsx'
import { page } from './layout.tsx'

export function newSecretPage(
  c: Context<HonoEnv>,
  { application }: ApplicationWithSecrets,
  name: string,
  errors: FieldErrors,
) {
  const now = Date.now()
  const back = `/dashboard/applications/${application.id}`
  const isRefused = Object.keys(errors).length > 0
  return page(
    c,
    { title: 'New secret', section: '/dashboard', isNarrow: true, status: isRefused ? 422 : 200 },
    <section>
      <div>
        <p class="crumb">
          <a href={back}>{application.name}</a>
        </p>
        <h1>New client secret</h1>
      </div>
      <p class="quiet">It is shown once, on the next page. Have a place ready to keep it.</p>
      <form method="post" action={`${back}/new-secret`} class="stack">
        <Errors errors={errors} />
        <input type="hidden" name="token" value={newFormToken()} />
        <Field
          name="name"
          label="Name (optional)"
          value={name}
          errors={errors}
          help="Where it will live: “production”, “CI”, “Ana’s laptop”."
        />
        <fieldset>
          <legend>Expires</legend>
          {Object.entries(LIFETIMES).map(([days, words]) => (
            <Choice
              name="lifetime"
              value={days}
              isChosen={days === '0'}
              help={days !== '0' && <Moment at={now + Number(days) * DAY_MS} now={now} />}
            >
              {words}
            </Choice>
          ))}
        </fieldset>
        <div class="row">
          <button type="submit" class="primary">
            Create secret
          </button>
          <a class="button" href={back}>
            Cancel
          </a>
        </div>
      </form>
    </section>,
  )
}

export function rotatePage(c: Context<HonoEnv>, { application, secrets }: ApplicationWithSecrets) {
  const now = Date.now()
  const back = `/dashboard/applications/${application.id}`
  return page(
    c,
    { title: 'Rotate', section: '/dashboard', isNarrow: true },
    <section>
      <div>
        <p class="crumb">
          <a href={back}>{application.name}</a>
        </p>
        <h1>Rotate client secrets</h1>
      </div>
      <p class="quiet">
        A new secret takes the place of the others. They stay good for a while, so that whoever uses them can change
        over.
      </p>
      <form method="post" action={`${back}/rotate`} class="stack">
        <input type="hidden" name="token" value={newFormToken()} />
        <fieldset>
          <legend>The others stop working</legend>
          {Object.entries(GRACE_PERIODS)
            .sort(([a], [b]) => Number(a) - Number(b))
            .map(([seconds, words]) => (
              <Choice
                name="grace"
                value={seconds}
                isChosen={seconds === '86400'}
                help={
                  seconds === '0' ? 'At once, and for good.' : <Moment at={now + Number(seconds) * 1000} now={now} />
                }
              >
                {seconds === '0' ? words : `In ${words}`}
              </Choice>
            ))}
        </fieldset>
        <Affected secrets={secrets} now={now} />
        <div class="row">
          <button type="submit" class="primary">
            Rotate
          </button>
          <a class="button" href={back}>
            Cancel
          </a>
        </div>
      </form>
    </section>,
  )
}

const Affected = ({ secrets, now }: { secrets: readonly ListedClientSecret[]; now: number }) =>
  secrets.length === 0 ? (
    <p>There are no others: this creates the first one.</p>
  ) : (
    <div class="notice">
      <p>{secrets.length === 1 ? 'This one stops working then:' : `These ${secrets.length} stop working then:`}</p>
      <ul>
        {secrets.map((secret) => (
          <li>
            {secret.name && `${secret.name} `}
            <Hint hint={secret.hint} />,{' '}
            {secret.lastUsedAt === null ? (
              'never used'
            ) : (
              <>
                used <Time at={secret.lastUsedAt} now={now} />
              </>
            )}
            {secret.expiresAt !== null && (
              <>
                {' '}
                (or sooner: it expires <Time at={secret.expiresAt} now={now} />)
              </>
            )}
          </li>
        ))}
      </ul>
      <p>Until then each can be taken back on the application’s page, and keeps working.</p>
    </div>
  )
