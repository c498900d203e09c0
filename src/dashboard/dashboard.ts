import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { application } from './application.tsx'
import { applicationForm } from './application-form.tsx'
import { applicationList } from './applications.tsx'
import { bulk } from './bulk.tsx'
import { eventList } from './events.tsx'
import { find, withoutCredentials } from './find.tsx'
import { formsOnly, ownForms } from './form.tsx'
import { inventory } from './inventory.tsx'
import { issue } from './issue.tsx'
import { keys } from './keys.tsx'
import { newKey } from './new-key.tsx'
import { overview } from './overview.tsx'
import { revoke } from './revoke.tsx'
import { secret } from './secret.tsx'
import { secrets } from './secrets.tsx'
import { settings } from './settings.tsx'
import { signInAndOut } from './sign-in.tsx'
import { webhookForms } from './webhook-forms.tsx'
import { webhooks } from './webhooks.tsx'

/** Pages for people. Each makes at most one D1 request. Changes are made with forms, which work without a script. */
export const dashboard = new Hono<HonoEnv>()

dashboard.use(ownForms, formsOnly, withoutCredentials)
for (const pages of [
  signInAndOut,
  overview,
  applicationList,
  applicationForm,
  application,
  issue,
  secrets,
  inventory,
  bulk,
  secret,
  revoke,
  find,
  eventList,
  webhooks,
  webhookForms,
  keys,
  newKey,
  settings,
]) {
  dashboard.route('/', pages)
}
