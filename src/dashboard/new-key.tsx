import type { Context } from 'hono'
import { Hono } from 'hono'
import * as v from 'valibot'
import { Name } from '../contract/fields.ts'
import { API_KEY_PREFIX, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { publicOrigin } from '../pages/document.tsx'
import { Choice, Field, type FieldErrors } from '../pages/forms.tsx'
import { Problem } from '../pages/problem.tsx'
import { createCallerKey } from '../storage/api-keys.ts'
import { identify } from '../storage/batch.ts'
import { formPage, keyedForm, newFormToken, readChange, refuse, staleForm, validate } from './form.tsx'
import { credentialPage } from './once-parts.tsx'
import { requireSession } from './session.ts'

const PATH = '/dashboard/keys'

/** Creates an API key. Only this response has the plaintext. */
export const newKey = new Hono<HonoEnv>()

  .get('/keys/new', requireSession, async (c) => {
    granted(c, await identify(c.var.database, c.var.session, 'write'))
    return newKeyPage(c)
  })

  .post('/keys/new', requireSession, async (c) => {
    const field = await readChange(c, 'write')
    const input = validate(v.object({ name: Name, access: v.picklist(['read', 'write']) }), {
      name: field('name').trim(),
      access: field('access'),
    })
    if (input.refused) {
      granted(c, await identify(c.var.database, c.var.session, 'write'))
      return newKeyPage(c, field('name'), field('access'), input.refused)
    }
    const request = (await keyedForm(c, field('token'))) ?? (await refuse(c, staleForm(c.req.path)))
    const { region } = c.var.session
    const change = beginChange(c, c.var.session)
    const { plaintext, digest } = await issueCredential(API_KEY_PREFIX, region)
    const key = { id: newId('api_key', change.now, region), digest, ...input.granted }
    const outcome = await createCallerKey(c.var.database, change, key, request)
    if (outcome.refused === 'idempotency_key_reused') throw sentBefore(PATH, 'API key')
    if (outcome.refused === 'api_key_limit_reached')
      throw new Problem(
        422,
        'Limit reached',
        'This environment has 100 API keys. Nothing was created. Revoke one first.',
      )
    granted(c, outcome)
    return credentialPage(c, {
      section: PATH,
      title: 'Save your API key',
      label: 'API key',
      name: key.name,
      plaintext,
      env: `ONCEKEY_URL=${publicOrigin(c)}\nONCEKEY_API_KEY=${plaintext}`,
      help: 'We store only a hash of it, so we can’t show it a second time. If you lose it, revoke it and create another one.',
    })
  })

/** The answer to a form that is sent again: by a second click, by reloading, or by going back. */
export function sentBefore(path: string, what: string): Problem {
  return new Problem(
    409,
    `This ${what} was already created`,
    <p>
      This form created it before, and it was shown then. You can’t view it again. Nothing else was created.{' '}
      <a href={path}>See the list</a>
    </p>,
  )
}

function newKeyPage(c: Context<HonoEnv>, name = '', access = 'read', errors: FieldErrors = {}) {
  return formPage(
    c,
    {
      title: 'New API key',
      intro: 'You’ll see the API key once, on the next page. Have your secret manager open.',
      action: `${PATH}/new`,
      fields: { token: newFormToken() },
      verb: 'Create API key',
      back: { path: PATH, name: 'Keys and sessions' },
      section: PATH,
      errors,
    },
    <>
      <Field
        name="name"
        label="Name"
        value={name}
        errors={errors}
        isRequired
        autofocus
        help="The person or program that will use it. Every event names it."
      />
      <fieldset>
        <legend>Access</legend>
        <Choice name="access" value="read" isChosen={access !== 'write'} help="Sees everything, and changes nothing.">
          Read-only
        </Choice>
        <Choice
          name="access"
          value="write"
          isChosen={access === 'write'}
          help="Also creates and revokes applications, secrets, API keys and webhook endpoints."
        >
          Read and write
        </Choice>
        {errors.access && <p class="error">{errors.access}</p>}
      </fieldset>
    </>,
  )
}
