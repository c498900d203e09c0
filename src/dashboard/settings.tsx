import type { Context } from 'hono'
import { Hono } from 'hono'
import { UpdateEnvironment } from '../contract/environments.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Choice, type FieldErrors, PostForm } from '../pages/forms.tsx'
import { changeEnvironment, changeOfSettings, type Environment, findEnvironment } from '../storage/environments.ts'
import { readChange, validate } from './form.tsx'
import { page, redirectWithNotice, SETTINGS_PATH } from './layout.tsx'
import { canWrite, requireSession } from './session.ts'

/** The settings of the environment. */
export const settings = new Hono<HonoEnv>()

  .get('/settings', requireSession, async (c) => {
    return settingsPage(c, granted(c, await findEnvironment(c.var.database, c.var.session, 'read')))
  })

  .post('/settings', requireSession, async (c) => {
    const field = await readChange(c)
    const input = validate(UpdateEnvironment, { leak_reaction: field('leak_reaction') })
    if (input.refused) {
      return settingsPage(c, granted(c, await findEnvironment(c.var.database, c.var.session, 'write')), input.refused)
    }
    const change = changeOfSettings({ leakReaction: input.granted.leak_reaction })
    granted(c, await changeEnvironment(c.var.database, beginChange(c, c.var.session), change))
    return redirectWithNotice(c, SETTINGS_PATH, 'settings-saved')
  })

const REACTIONS = [
  ['notify', 'Notify', 'Records an event, and shows the secret, API key or endpoint on the overview.'],
  ['disable', 'Disable', 'Also disables a secret, and pauses a webhook endpoint. An API key is revoked.'],
  ['revoke', 'Revoke', 'Also revokes a secret or an API key, and deletes a webhook endpoint. This can’t be undone.'],
] as const

function settingsPage(c: Context<HonoEnv>, { leakReaction }: Environment, errors: FieldErrors = {}): Response {
  return page(
    c,
    { title: 'Settings', section: SETTINGS_PATH, status: Object.keys(errors).length > 0 ? 422 : 200 },
    <section class="narrow">
      <h1>Settings</h1>
      <PostForm action={SETTINGS_PATH} class="stack">
        <fieldset disabled={!canWrite(c)}>
          <legend>When a credential is reported as leaked</legend>
          <p class="quiet small">
            Anyone who finds a credential can report it at <code>/leaks</code>. Each setting also does what the one
            before does.
          </p>
          {REACTIONS.map(([value, name, help]) => (
            <Choice name="leak_reaction" value={value} isChosen={value === leakReaction} help={help}>
              {name}
            </Choice>
          ))}
          {errors.leak_reaction && <p class="error">{errors.leak_reaction}</p>}
        </fieldset>
        {canWrite(c) && (
          <button type="submit" class="primary">
            Save settings
          </button>
        )}
      </PostForm>
    </section>,
  )
}
