import type { Context } from 'hono'
import { Hono } from 'hono'
import type { PropsWithChildren } from 'hono/jsx'
import { UpdateEnvironment } from '../contract/environments.ts'
import { settingsFromWire } from '../contract/wire.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Choice, Choices, Confirm, Errors, Field, type FieldErrors, PostForm } from '../pages/forms.tsx'
import { Time } from '../pages/time.tsx'
import { identify } from '../storage/batch.ts'
import {
  changeEnvironment,
  changeOfEnvironment,
  type Environment,
  type EnvironmentChanges,
  findEnvironment,
} from '../storage/environments.ts'
import { readChange, validate } from './form.tsx'
import { page, redirectWithNotice, SETTINGS_PATH } from './layout.tsx'
import { may, requireSession } from './session.ts'

export const settings = new Hono<HonoEnv>()

  .get('/settings', requireSession, async (c) => {
    return settingsPage(c, granted(c, await findEnvironment(c.get('database'), c.get('session'), 'read')))
  })

  .post('/settings', requireSession, async (c) => {
    const field = await readChange(c, 'write')
    const days = (name: string) => readDays(field(name).trim())
    const values = {
      leak_reaction: field('leak_reaction'),
      max_lifetime_days: field('max_lifetime_days'),
      max_unused_days: field('max_unused_days'),
    }
    const input = validate(UpdateEnvironment, {
      leak_reaction: field('leak_reaction'),
      max_lifetime_days: days('max_lifetime_days'),
      max_unused_days: days('max_unused_days'),
    })
    if (input.refused) {
      const environment = granted(c, await findEnvironment(c.get('database'), c.get('session'), 'write'))
      return settingsPage(c, environment, values, input.refused)
    }
    return change(c, settingsFromWire(input.granted), 'settings-saved')
  })

  .get('/settings/freeze', requireSession, async (c) => {
    granted(c, await identify(c.get('database'), c.get('session'), 'write'))
    return page(
      c,
      { title: 'Freeze environment', section: SETTINGS_PATH },
      <Confirm title="Freeze environment?" action={FREEZE_PATH} verb="Freeze environment" back={SETTINGS_PATH}>
        <p>
          Until you lift the freeze, Oncekey issues no access tokens, and creates no secrets, API keys or webhook
          endpoints. You can’t enable a secret, extend its expiry or remove its limits. Existing tokens work until they
          expire. You can still read, verify and revoke.
        </p>
      </Confirm>,
    )
  })

  .post('/settings/freeze', requireSession, (c) => setFrozen(c, true))
  .post('/settings/unfreeze', requireSession, (c) => setFrozen(c, false))

/**
 * Accepts digits only: `Number` alone would also accept 1e2 and 0x10. Any other text becomes 0, which the rules of the
 * field refuse.
 */
const readDays = (text: string) => (text === '' ? null : /^\d+$/.test(text) ? Number(text) : 0)

async function setFrozen(c: Context<HonoEnv>, isFrozen: boolean): Promise<Response> {
  await readChange(c, 'write')
  return change(c, { frozen: isFrozen }, isFrozen ? 'frozen' : 'unfrozen')
}

async function change(c: Context<HonoEnv>, changes: EnvironmentChanges, notice: string): Promise<Response> {
  const change = beginChange(c, c.get('session'))
  granted(c, await changeEnvironment(c.get('database'), change, changeOfEnvironment(changes, change.now)))
  return redirectWithNotice(c, SETTINGS_PATH, notice)
}

const REACTIONS = [
  ['notify', 'Notify', 'Records an event, and lists the credential on the overview.'],
  [
    'disable',
    'Disable',
    'Also disables a leaked client secret, or permanently revokes an API key. Webhook signing secrets keep working.',
  ],
  [
    'revoke',
    'Revoke',
    'Also revokes a secret or an API key, or deletes the webhook endpoint of a signing secret. This can’t be undone.',
  ],
] as const

const ReadOnly = ({ children }: PropsWithChildren<object>) => <div class="stack">{children}</div>

const FREEZE_PATH = `${SETTINGS_PATH}/freeze`

function settingsPage(
  c: Context<HonoEnv>,
  { leakReaction, maxLifetimeDays, maxUnusedDays, frozenAt }: Environment,
  values = {
    leak_reaction: leakReaction as string,
    max_lifetime_days: String(maxLifetimeDays ?? ''),
    max_unused_days: String(maxUnusedDays ?? ''),
  },
  errors: FieldErrors = {},
): Response {
  const Form = may(c, 'write') ? PostForm : ReadOnly
  return page(
    c,
    { title: 'Settings', section: SETTINGS_PATH, status: Object.keys(errors).length > 0 ? 422 : 200 },
    <section class="narrow">
      <h1>Settings</h1>
      <Form action={SETTINGS_PATH} class="stack">
        <Errors errors={errors} />
        <fieldset disabled={!may(c, 'write')} aria-labelledby="leaks">
          <h2 id="leaks">Leaked credentials</h2>
          <Choices name="leak_reaction" legend="When a credential is reported as leaked" errors={errors}>
            <p class="quiet small">
              Anyone who finds a credential can report it at <code>/leaks</code>. Each choice includes those before it.
            </p>
            {REACTIONS.map(([value, name, help]) => (
              <Choice name="leak_reaction" value={value} isChosen={value === values.leak_reaction} help={help}>
                {name}
              </Choice>
            ))}
          </Choices>
        </fieldset>
        <fieldset disabled={!may(c, 'write')} aria-labelledby="policy">
          <h2 id="policy">Client secrets</h2>
          <Field
            name="max_lifetime_days"
            label="Longest lifetime, in days (optional)"
            isNumber
            value={values.max_lifetime_days}
            errors={errors}
            help="A new secret expires after this time at the latest. Existing secrets keep their expiry."
          />
          <Field
            name="max_unused_days"
            label="Longest time unused, in days (optional)"
            isNumber
            value={values.max_unused_days}
            errors={errors}
            help="Oncekey checks once a day, and disables secrets that were neither used nor changed for this time. You can enable them again."
          />
        </fieldset>
        {may(c, 'write') && (
          <div class="row">
            <button type="submit" class="primary">
              Save settings
            </button>
          </div>
        )}
      </Form>
      <hr />
      <h2>Freeze</h2>
      {frozenAt === null ? (
        <p>
          In an emergency, freeze the environment: it stops issuing secrets and tokens. You can lift the freeze later.
        </p>
      ) : (
        <p class="notice bad">
          <span>
            Frozen <Time at={frozenAt} now={Date.now()} />: no secrets and no tokens are issued.
          </span>
        </p>
      )}
      {may(c, 'write') && frozenAt === null && (
        <p>
          <a class="button danger" href={FREEZE_PATH} data-dialog>
            Freeze environment…
          </a>
        </p>
      )}
      {may(c, 'write') && frozenAt !== null && (
        <PostForm action={`${SETTINGS_PATH}/unfreeze`}>
          <button type="submit">Lift the freeze</button>
        </PostForm>
      )}
    </section>,
  )
}
