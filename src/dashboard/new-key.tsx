import type { Context } from 'hono'
import { Hono } from 'hono'
import * as v from 'valibot'
import { AllowedIps, Name } from '../contract/fields.ts'
import { API_KEY_PREFIX, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted, keepIdentity } from '../http/errors.ts'
import { publicOrigin } from '../pages/document.tsx'
import { Choice, Choices, Field, type FieldErrors } from '../pages/forms.tsx'
import { Problem } from '../pages/problem.tsx'
import { createCallerKey } from '../storage/api-keys.ts'
import { identify } from '../storage/batch.ts'
import { PERMISSIONS, type Permission } from '../storage/caller.ts'
import { formPage, keyedForm, newFormToken, readChange, refuse, staleForm, validate } from './form.tsx'
import { credentialPage } from './once-parts.tsx'
import {
  AllowedIps as AllowedIpsField,
  expiryOf,
  Lifetimes,
  limitFields,
  limitsToWire,
  readLifetime,
} from './secret-forms.tsx'
import { requireSession } from './session.ts'

const PATH = '/dashboard/keys'

/** Creates an API key. Only the response to the form has the plaintext. */
export const newKey = new Hono<HonoEnv>()

  .get('/keys/new', requireSession, async (c) => {
    granted(c, await identify(c.get('database'), c.get('session'), 'write'))
    return newKeyPage(c)
  })

  .post('/keys/new', requireSession, async (c) => {
    const field = await readChange(c, 'write')
    const lifetime = readLifetime(field('lifetime'))
    const chosen = PERMISSIONS.filter((permission) => field(permission) !== '')
    const { allowed_ips } = limitsToWire(limitFields(field))
    const input = validate(NewKey, { name: field('name').trim(), access: field('access'), allowed_ips })
    const isSome = field('access') === 'some'
    const isUnclear = isSome === (chosen.length === 0)
    const errors = {
      ...input.refused,
      ...(isUnclear && {
        access: isSome
          ? 'Choose at least one permission.'
          : 'You selected single permissions. Choose “Only some permissions”, or clear your selection.',
      }),
      ...(lifetime === null && { lifetime: 'Choose when the key expires.' }),
    }
    if (input.refused || lifetime === null || isUnclear) {
      granted(c, await identify(c.get('database'), c.get('session'), 'write'))
      const values = {
        name: field('name'),
        access: field('access'),
        chosen,
        allowed_ips: field('allowed_ips'),
        lifetime,
      }
      return newKeyPage(c, values, errors)
    }
    const request = (await keyedForm(c, field('token'))) ?? (await refuse(c, staleForm(c.req.path)))
    const { region } = c.get('session')
    const change = beginChange(c, c.get('session'))
    const { plaintext, digest } = await issueCredential(API_KEY_PREFIX, region)
    const { name, access, allowed_ips: allowedIps } = input.granted
    const rights = access === 'some' ? ({ access: 'read', permissions: chosen } as const) : { access }
    const expiresAt = expiryOf(lifetime, change.now)
    const key = { id: newId('api_key', change.now, region), digest, name, ...rights, allowedIps, expiresAt }
    const outcome = await createCallerKey(c.get('database'), change, key, request)
    keepIdentity(c, outcome)
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

/** The response to a form that is sent again: by a second click, by reloading, or by going back. */
export function sentBefore(path: string, what: string): Problem {
  return new Problem(
    409,
    `This ${what} was already created`,
    <p>
      This form already created the {what}, and showed its credential once. Nothing else was created.{' '}
      <a href={path}>See the list</a>
    </p>,
  )
}

const NewKey = v.object({
  name: Name,
  access: v.picklist(['read', 'write', 'some']),
  allowed_ips: v.nullable(AllowedIps),
})

interface KeyValues {
  readonly name: string
  readonly access: string
  readonly chosen: readonly Permission[]
  readonly allowed_ips: string
  /** In days. 0 means never, and null an invalid value. */
  readonly lifetime: number | null
}

const EMPTY: KeyValues = { name: '', access: 'read', chosen: [], allowed_ips: '', lifetime: 0 }

const PERMISSION_HELP: Record<Permission, string> = {
  'applications:write': 'Sees applications and secrets. Creates, changes and deletes applications.',
  'secrets:write': 'Sees applications and secrets. Creates, rotates, changes and revokes secrets.',
  'secrets:verify': 'Verifies secrets, and nothing else.',
  'events:read': 'Reads events, and nothing else.',
}

function newKeyPage(c: Context<HonoEnv>, values = EMPTY, errors: FieldErrors = {}) {
  const { access } = values
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
        value={values.name}
        errors={errors}
        isRequired
        autofocus
        help="The person or program that will use the key. Events show this name."
      />
      <Choices name="access" legend="Access" errors={errors}>
        <Choice
          name="access"
          value="read"
          isChosen={access !== 'write' && access !== 'some'}
          help="Sees everything, and changes nothing."
        >
          Read-only
        </Choice>
        <Choice
          name="access"
          value="write"
          isChosen={access === 'write'}
          help="Also creates, changes and removes applications, secrets, API keys and webhook endpoints."
        >
          Read and write
        </Choice>
        <Choice name="access" value="some" isChosen={access === 'some'} help="Only what you choose here:">
          Only some permissions
        </Choice>
        <div class="choices">
          {PERMISSIONS.map((permission) => (
            <Choice
              name={permission}
              value="on"
              type="checkbox"
              isChosen={values.chosen.includes(permission)}
              help={PERMISSION_HELP[permission]}
            >
              <code>{permission}</code>
            </Choice>
          ))}
        </div>
      </Choices>
      <Choices name="lifetime" legend="Expires" errors={errors}>
        <Lifetimes now={Date.now()} chosen={values.lifetime} most={null} />
      </Choices>
      <AllowedIpsField what="key" values={values} errors={errors} />
    </>,
  )
}
