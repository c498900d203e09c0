import type { Context } from 'hono'
import { Hono } from 'hono'
import { CreateApplication, UpdateApplication } from '../contract/applications.ts'
import { applicationFromWire, redirectUris } from '../contract/wire.ts'
import { newId } from '../credential/id.ts'
import { changeOf } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Choice, Errors, Field } from '../pages/parts.tsx'
import { type Application, createApplication, findApplication, updateApplication } from '../storage/applications.ts'
import { identify } from '../storage/batch.ts'
import { check, type FieldErrors, isRefused, keyedForm, newFormToken, readForm } from './form.ts'
import { Problem, page } from './layout.tsx'
import { requireSession, requireWriteAccess } from './session.ts'

/** What the form has in its fields. */
interface Values {
  readonly name: string
  readonly description: string
  readonly scopes: string
  readonly redirect_uris: string
  readonly organization_id: string
  readonly uses_pkce: boolean
}

const NOTHING: Values = {
  name: '',
  description: '',
  scopes: '',
  redirect_uris: '',
  organization_id: '',
  uses_pkce: true,
}

type Kind = 'm2m' | 'oauth' | 'first-party'
const KINDS: Record<Kind, [string, string]> = {
  m2m: ['Machine to machine', 'A job or service that acts on its own behalf, with the client credentials grant.'],
  oauth: ['OAuth, third-party', 'An application of an organization that people sign in to.'],
  'first-party': ['OAuth, first-party', 'An application of your own. It belongs to no organization.'],
}

export const applicationForm = new Hono<HonoEnv>()

  .get('/applications/new', requireSession('read'), async (c) => {
    granted(c, await identify(c.var.database, c.var.session, 'write'))
    return newPage(c, kindOf(c.req.query('type')), NOTHING, {})
  })

  .post('/applications/new', requireSession('write'), async (c) => {
    const field = await readForm(c)
    const kind = kindOf(field('kind'))
    const values = valuesOf(field)
    const input = check(CreateApplication, {
      ...toWire(values),
      application_type: kind === 'm2m' ? 'm2m' : 'oauth',
      ...(kind !== 'm2m' && { is_first_party: kind === 'first-party', uses_pkce: values.uses_pkce }),
      ...(kind === 'm2m' && { redirect_uris: null }),
      organization_id: kind === 'first-party' ? null : values.organization_id,
    })
    if (isRefused(input)) {
      granted(c, await identify(c.var.database, c.var.session, 'write'))
      return newPage(c, kind, values, input.errors)
    }
    const request = await keyedForm(c, field('token'))
    if (!request) throw new Problem(422, 'This form is too old', <TooOld href="/dashboard/applications/new" />)
    const change = changeOf(c, c.var.session)
    const ids = {
      id: newId('conn_app', change.now, c.var.session.region),
      clientId: newId('client', change.now, c.var.session.region),
    }
    const created = granted(
      c,
      await createApplication(c.var.database, change, { ...ids, ...applicationFromWire(input) }, request),
    )
    return c.redirect(`/dashboard/applications/${created.application.id}?notice=created`, 303)
  })

  .get('/applications/:id/edit', requireSession('read'), async (c) => {
    const application = granted(c, await findApplication(c.var.database, c.var.session, c.req.param('id')))
    requireWriteAccess(c)
    return editPage(c, application, fromApplication(application), {})
  })

  .post('/applications/:id/edit', requireSession('write'), async (c) => {
    const { database, session } = c.var
    const id = c.req.param('id')
    const field = await readForm(c)
    const values = valuesOf(field)
    const input = check(UpdateApplication, {
      ...toWire(values),
      ...(field('type') === 'm2m' && { redirect_uris: null }),
    })
    if (isRefused(input)) {
      const application = granted(c, await findApplication(database, session, id))
      requireWriteAccess(c)
      return editPage(c, application, values, input.errors)
    }
    const { name, description, scopes } = input
    const changes = {
      name,
      description,
      scopes: scopes ?? undefined,
      redirectUris: input.redirect_uris ? redirectUris(input.redirect_uris) : undefined,
    }
    const outcome = await updateApplication(database, changeOf(c, session), id, changes)
    if ('refused' in outcome && outcome.refused === 'redirect_uris_not_allowed') {
      throw new Problem(422, 'That cannot be done', 'Only OAuth applications have redirect URIs.')
    }
    const application = granted(c, outcome)
    return c.redirect(`/dashboard/applications/${application.id}?notice=saved`, 303)
  })

export const TooOld = ({ href }: { href: string }) => (
  <p>
    It was opened more than an hour ago, so it was not carried out. <a href={href}>Open it again</a>
  </p>
)

function kindOf(text: string | undefined): Kind {
  return text !== undefined && text in KINDS ? (text as Kind) : 'm2m'
}

function valuesOf(field: (name: string) => string): Values {
  return {
    name: field('name'),
    description: field('description'),
    scopes: field('scopes'),
    redirect_uris: field('redirect_uris'),
    organization_id: field('organization_id').trim(),
    uses_pkce: field('uses_pkce') !== '',
  }
}

function fromApplication(application: Application): Values {
  // The first one is the default again when it is sent back.
  const uris = [...application.redirectUris].sort((a, b) => Number(b.default) - Number(a.default))
  return {
    name: application.name,
    description: application.description ?? '',
    scopes: application.scopes.join(' '),
    redirect_uris: uris.map(({ uri }) => uri).join('\n'),
    organization_id: application.organizationId ?? '',
    uses_pkce: application.usesPkce,
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

function newPage(c: Context<HonoEnv>, kind: Kind, values: Values, errors: FieldErrors) {
  const isRefused = Object.keys(errors).length > 0
  return page(
    c,
    { title: 'New application', section: '/dashboard', isNarrow: true, status: isRefused ? 422 : 200 },
    <section>
      <h1>New application</h1>
      <nav class="row" aria-label="Type of application">
        {Object.entries(KINDS).map(([type, [name]]) => (
          <a
            class={type === kind ? 'button primary' : 'button'}
            href={`/dashboard/applications/new?type=${type}`}
            aria-current={type === kind ? 'true' : undefined}
          >
            {name}
          </a>
        ))}
      </nav>
      <p class="quiet">{KINDS[kind][1]} The type is for good.</p>
      <form method="post" action="/dashboard/applications/new" class="stack">
        <Errors errors={errors} />
        <input type="hidden" name="token" value={newFormToken()} />
        <input type="hidden" name="kind" value={kind} />
        <CommonFields values={values} errors={errors} />
        {kind !== 'first-party' && (
          <Field
            name="organization_id"
            label="Organization"
            value={values.organization_id}
            errors={errors}
            isRequired
            isCode
            help="The id of the organization that it belongs to, for good: org_…"
          />
        )}
        {kind !== 'm2m' && (
          <>
            <RedirectUris values={values} errors={errors} />
            <Choice type="checkbox" name="uses_pkce" value="1" isChosen={values.uses_pkce} help="For good, too.">
              <b>Uses PKCE</b>
            </Choice>
          </>
        )}
        <Buttons verb="Create application" back="/dashboard" />
      </form>
    </section>,
  )
}

function editPage(c: Context<HonoEnv>, application: Application, values: Values, errors: FieldErrors) {
  const back = `/dashboard/applications/${application.id}`
  const isRefused = Object.keys(errors).length > 0
  return page(
    c,
    { title: `Edit ${application.name}`, section: '/dashboard', isNarrow: true, status: isRefused ? 422 : 200 },
    <section>
      <div>
        <p class="crumb">
          <a href={back}>{application.name}</a>
        </p>
        <h1>Edit application</h1>
      </div>
      <form method="post" action={`${back}/edit`} class="stack">
        <Errors errors={errors} />
        <input type="hidden" name="type" value={application.applicationType} />
        <CommonFields values={values} errors={errors} />
        {application.applicationType === 'oauth' && <RedirectUris values={values} errors={errors} />}
        <Buttons verb="Save" back={back} />
      </form>
    </section>,
  )
}

const CommonFields = ({ values, errors }: { values: Values; errors: FieldErrors }) => (
  <>
    <Field name="name" label="Name" value={values.name} errors={errors} isRequired />
    <Field name="description" label="Description (optional)" value={values.description} errors={errors} isLong />
    <Field
      name="scopes"
      label="Scopes (optional)"
      value={values.scopes}
      errors={errors}
      isCode
      help="What its tokens may be asked for, with spaces between: export:read export:write"
    />
  </>
)

const RedirectUris = ({ values, errors }: { values: Values; errors: FieldErrors }) => (
  <Field
    name="redirect_uris"
    label="Redirect URIs (optional)"
    value={values.redirect_uris}
    errors={errors}
    isLong
    isCode
    help="One a line. The first is the default."
  />
)

const Buttons = ({ verb, back }: { verb: string; back: string }) => (
  <div class="row">
    <button type="submit" class="primary">
      {verb}
    </button>
    <a class="button" href={back}>
      Cancel
    </a>
  </div>
)
