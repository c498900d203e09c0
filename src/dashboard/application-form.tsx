import type { Context } from 'hono'
import { Hono } from 'hono'
import { CreateApplication, UpdateApplication } from '../contract/applications.ts'
import { applicationFromWire, redirectUris } from '../contract/wire.ts'
import { newId } from '../credential/id.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Choice, Field, type FieldErrors } from '../pages/forms.tsx'
import { Problem } from '../pages/problem.tsx'
import { type Application, createApplication, findApplication, updateApplication } from '../storage/applications.ts'
import { identify } from '../storage/batch.ts'
import { type Fields, formPage, keyedForm, newFormToken, readChange, refuse, staleForm, validate } from './form.tsx'
import { APPLICATIONS_PATH, applicationPath, redirectWithNotice } from './layout.tsx'
import { requireRight, requireSession } from './session.ts'

const NEW = '/dashboard/applications/new'

const KINDS = new Map([
  ['m2m', ['Machine to machine', 'A job or service that acts on its own behalf, with the client credentials grant.']],
  ['oauth', ['Third-party OAuth app', 'People sign in to it. It is owned by another organization.']],
  ['first-party', ['First-party OAuth app', 'People sign in to it. It is your own, and no organization owns it.']],
])

/** The values of the form's fields. */
interface Values {
  readonly kind: string
  readonly name: string
  readonly description: string
  readonly scopes: string
  readonly redirect_uris: string
  readonly organization_id: string
  readonly uses_pkce: boolean
}

const NO_VALUES: Values = {
  kind: 'm2m',
  name: '',
  description: '',
  scopes: '',
  redirect_uris: '',
  organization_id: '',
  uses_pkce: true,
}

export const applicationForm = new Hono<HonoEnv>()

  .get('/applications/new', requireSession, async (c) => {
    granted(c, await identify(c.get('database'), c.get('session'), 'applications:write'))
    return newPage(c, NO_VALUES)
  })

  .post('/applications/new', requireSession, async (c) => {
    const field = await readChange(c, 'applications:write')
    const values = valuesOf(field)
    const { kind } = values
    const input = validate(CreateApplication, {
      ...toWire(values),
      application_type: kind === 'm2m' ? 'm2m' : 'oauth',
      ...(kind !== 'm2m' && { is_first_party: kind === 'first-party', uses_pkce: values.uses_pkce }),
      ...(kind === 'm2m' && { redirect_uris: null }),
      organization_id: kind === 'first-party' ? null : values.organization_id,
    })
    if (input.refused) {
      granted(c, await identify(c.get('database'), c.get('session'), 'applications:write'))
      return newPage(c, values, input.refused)
    }
    const request = (await keyedForm(c, field('token'))) ?? (await refuse(c, staleForm(NEW)))
    const change = beginChange(c, c.get('session'))
    const ids = {
      id: newId('conn_app', change.now, c.get('session').region),
      clientId: newId('client', change.now, c.get('session').region),
    }
    const created = granted(
      c,
      await createApplication(
        c.get('database'),
        change,
        { ...ids, ...applicationFromWire(input.granted) },
        readSettings(c.env).MAX_APPLICATIONS_PER_ENVIRONMENT,
        request,
      ),
    )
    return redirectWithNotice(c, applicationPath(created.application.id), 'application-created')
  })

  .get('/applications/:id/edit', requireSession, async (c) => {
    const application = granted(c, await findApplication(c.get('database'), c.get('session'), c.req.param('id')))
    requireRight(c, 'applications:write')
    return editPage(c, application, fromApplication(application))
  })

  .post('/applications/:id/edit', requireSession, async (c) => {
    const id = c.req.param('id')
    const field = await readChange(c, 'applications:write')
    const database = c.get('database')
    const session = c.get('session')
    const values = valuesOf(field)
    const input = validate(UpdateApplication, {
      ...toWire(values),
      ...(field('type') === 'm2m' && { redirect_uris: null }),
    })
    if (input.refused) {
      const application = granted(c, await findApplication(database, session, id))
      requireRight(c, 'applications:write')
      return editPage(c, application, values, input.refused)
    }
    const { name, description, scopes, redirect_uris } = input.granted
    const changes = {
      name,
      description,
      scopes: scopes ?? undefined,
      redirectUris: redirect_uris ? redirectUris(redirect_uris) : undefined,
    }
    const outcome = await updateApplication(database, beginChange(c, session), id, changes)
    if (outcome.refused === 'redirect_uris_not_allowed')
      throw new Problem(422, 'Not saved', 'Only OAuth applications have redirect URIs. Nothing was saved.')
    return redirectWithNotice(c, applicationPath(granted(c, outcome).id), 'application-saved')
  })

function valuesOf(field: Fields): Values {
  return {
    kind: KINDS.has(field('kind')) ? field('kind') : NO_VALUES.kind,
    name: field('name'),
    description: field('description'),
    scopes: field('scopes'),
    redirect_uris: field('redirect_uris'),
    organization_id: field('organization_id').trim(),
    uses_pkce: field('uses_pkce') !== '',
  }
}

function fromApplication(application: Application): Values {
  // The form shows the default redirect URI first, because its first line becomes the default when the user saves it.
  const uris = [...application.redirectUris].sort((a, b) => Number(b.default) - Number(a.default))
  return {
    ...NO_VALUES,
    name: application.name,
    description: application.description ?? '',
    scopes: application.scopes.join(' '),
    redirect_uris: uris.map(({ uri }) => uri).join('\n'),
  }
}

function toWire({ name, description, scopes, redirect_uris }: Values) {
  const words = (text: string) => text.split(/\s+/).filter((word) => word !== '')
  return {
    name,
    description: description === '' ? null : description,
    scopes: words(scopes),
    redirect_uris: words(redirect_uris).map((uri) => ({ uri })),
  }
}

function newPage(c: Context<HonoEnv>, values: Values, errors: FieldErrors = {}) {
  return formPage(
    c,
    {
      title: 'New application',
      action: NEW,
      fields: { token: newFormToken() },
      verb: 'Create application',
      back: { path: APPLICATIONS_PATH, name: 'Applications' },
      errors,
    },
    <>
      <fieldset>
        <legend>Type</legend>
        <p class="quiet small">The type can’t be changed later.</p>
        {[...KINDS].map(([kind, [name, help]]) => (
          <Choice name="kind" value={kind} isChosen={kind === values.kind} help={help}>
            {name}
          </Choice>
        ))}
      </fieldset>
      <Common values={values} errors={errors} />
      <div class="if-organization">
        <Field
          name="organization_id"
          label="Organization ID"
          value={values.organization_id}
          errors={errors}
          isCode
          help="The organization that owns the application, such as org_01EHZNVPK3SFK441A1RGBFSHRT. It can’t be changed later."
        />
      </div>
      <div class="if-oauth stack">
        <RedirectUris values={values} errors={errors} />
        <Choice
          type="checkbox"
          name="uses_pkce"
          value="1"
          isChosen={values.uses_pkce}
          help="This can’t be changed later."
        >
          Use PKCE
        </Choice>
      </div>
    </>,
  )
}

function editPage(c: Context<HonoEnv>, application: Application, values: Values, errors: FieldErrors = {}) {
  const path = applicationPath(application.id)
  return formPage(
    c,
    {
      title: 'Edit application',
      action: `${path}/edit`,
      fields: { type: application.applicationType },
      verb: 'Save application',
      back: { path, name: application.name },
      errors,
    },
    <>
      <Common values={values} errors={errors} />
      {application.applicationType === 'oauth' && <RedirectUris values={values} errors={errors} />}
    </>,
  )
}

interface FieldsProps {
  readonly values: Values
  readonly errors: FieldErrors
}

const Common = ({ values, errors }: FieldsProps) => (
  <>
    <Field name="name" label="Name" value={values.name} errors={errors} isRequired />
    <Field name="description" label="Description (optional)" value={values.description} errors={errors} isLong />
    <Field
      name="scopes"
      label="Scopes (optional)"
      value={values.scopes}
      errors={errors}
      isCode
      help="Scopes this application may request, separated by spaces, such as export:read export:write."
    />
  </>
)

const RedirectUris = ({ values, errors }: FieldsProps) => (
  <Field
    name="redirect_uris"
    label="Redirect URIs (optional)"
    value={values.redirect_uris}
    errors={errors}
    isLong
    isCode
    help="One per line. The first is the default."
  />
)
