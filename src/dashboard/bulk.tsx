import type { Context } from 'hono'
import { Hono } from 'hono'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Confirm, Field } from '../pages/forms.tsx'
import { Problem } from '../pages/problem.tsx'
import { duration } from '../pages/time.tsx'
import { type BulkAction, changeSecrets, findSecrets, MAX_BULK } from '../storage/bulk.ts'
import { readChange, refuse } from './form.tsx'
import { page, redirectWithNotice, SECRETS_PATH } from './layout.tsx'
import { isInUse, LastUse, SecretName } from './secret-table.tsx'
import { requireRight, requireSession } from './session.ts'

const SECRET_ID = /^secret_[0-9A-HJKMNP-TV-Z]{26}$/

/** Revokes or disables several secrets at once. To confirm, the user types the action and the number of secrets. */
export const bulk = new Hono<HonoEnv>()

  .post('/secrets/bulk', requireSession, async (c) => {
    const field = await readChange(c, 'secrets:write')
    // The value of the checkbox for the whole page has the IDs of all secrets that the page lets the user select.
    const chosen = [...field('page').split(' '), ...field.all('secret')]
    const ids = idsIn(chosen)
    if (ids.length === 0 || ids.length > MAX_BULK) return refuse(c, noneSelected())
    return confirmPage(c, actionOf(field('action')), ids)
  })

  .post('/secrets/bulk/confirm', requireSession, async (c) => {
    const field = await readChange(c, 'secrets:write')
    const ids = idsIn(field('secrets').split(' '))
    const action = actionOf(field('action'))
    if (ids.length === 0 || ids.length > MAX_BULK) return refuse(c, noneSelected())
    if (field('typed').trim().toLowerCase() !== phraseOf(action, ids))
      return confirmPage(c, action, ids, field('typed'))
    granted(c, await changeSecrets(c.get('database'), beginChange(c, c.get('session')), ids, action))
    return redirectWithNotice(c, SECRETS_PATH, action === 'revoke' ? 'selected-revoked' : 'selected-disabled')
  })

const idsIn = (texts: readonly string[]) => [...new Set(texts)].filter((id) => SECRET_ID.test(id))

/** An unknown action becomes `disable`, because that can be undone. */
const actionOf = (text: string): BulkAction => (text === 'revoke' ? 'revoke' : 'disable')

const phraseOf = (action: BulkAction, ids: readonly string[]) => `${action} ${ids.length}`

const noneSelected = () =>
  new Problem(
    422,
    'Select secrets first',
    <p>
      Select 1 to {MAX_BULK} secrets. Nothing was changed. <a href={SECRETS_PATH}>All secrets</a>
    </p>,
  )

/** `typed` is the text that the user typed, if it did not confirm the change. */
async function confirmPage(c: Context<HonoEnv>, action: BulkAction, ids: readonly string[], typed?: string) {
  const now = Date.now()
  const secrets = granted(c, await findSecrets(c.get('database'), c.get('session'), ids, now))
  requireRight(c, 'secrets:write')
  const verb = action === 'revoke' ? 'Revoke' : 'Disable'
  const title = `${verb} ${secrets.length === 1 ? '1 secret' : `${secrets.length} secrets`}`
  const chosen = secrets.map(({ id }) => id)
  const inUse = secrets.filter((secret) => isInUse(secret, now)).length
  return page(
    c,
    { title, section: SECRETS_PATH, status: typed === undefined ? 200 : 422 },
    <Confirm
      title={`${title}?`}
      action={`${SECRETS_PATH}/bulk/confirm`}
      fields={{ secrets: chosen.join(' '), action }}
      verb={title}
      back={SECRETS_PATH}
      hasField
    >
      <ul>
        {secrets.map((secret) => (
          <li>
            <SecretName secret={secret} /> of <bdi>{secret.applicationName}</bdi>. <LastUse secret={secret} now={now} />
          </li>
        ))}
      </ul>
      {inUse > 0 && (
        <p class="notice bad">
          Used within the last week: {inUse} of {secrets.length}.
        </p>
      )}
      <p>
        {action === 'revoke'
          ? 'They stop working immediately. This can’t be undone.'
          : 'They stop working immediately. You can enable each of them again.'}{' '}
        Services that verify access tokens offline accept existing tokens for up to{' '}
        {duration(readSettings(c.env).ACCESS_TOKEN_TTL_SECONDS)} longer. All of these secrets are changed, or none.
      </p>
      <Field
        name="typed"
        label="Confirmation"
        value={typed ?? ''}
        isRequired
        autofocus
        help={
          <>
            To confirm, type <b>{phraseOf(action, chosen)}</b>
          </>
        }
        {...(typed !== undefined && { errors: { typed: `Type ${phraseOf(action, chosen)}. Nothing was changed.` } })}
      />
    </Confirm>,
  )
}
