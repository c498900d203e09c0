import type { Context } from 'hono'
import { Hono } from 'hono'
import * as v from 'valibot'
import { OrganizationId } from '../contract/fields.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { publicOrigin } from '../pages/document.tsx'
import { PostForm } from '../pages/forms.tsx'
import { type Column, curl, Empty, Hidden, Hint, Name, Snippet, Table } from '../pages/parts.tsx'
import { DAY_MS, ExactTime } from '../pages/time.tsx'
import { EVENT_TYPES, type Event, type EventType, listEvents } from '../storage/events.ts'
import { hintOfCredential } from './find.tsx'
import { readForm } from './form.tsx'
import { applicationPath, page } from './layout.tsx'
import { requireSession } from './session.ts'

const PAGE_LENGTH = 50

const LABELS: Record<EventType, string> = {
  'connect_application.created': 'Application created',
  'connect_application.updated': 'Application changed',
  'connect_application.deleted': 'Application deleted',
  'connect_application_secret.created': 'Secret created',
  'connect_application_secret.updated': 'Secret changed',
  'connect_application_secret.rotated': 'Secrets rotated',
  'connect_application_secret.expired': 'Secret expired',
  'connect_application_secret.deleted': 'Secret revoked',
  'connect_application_secret.replayed': 'Secret shown again to a retry',
  'connect_application_secret.refused': 'Inactive secret used',
  'api_key.created': 'API key created',
  'api_key.revoked': 'API key revoked',
  'session.created': 'Signed in',
  'session.revoked': 'Session ended',
  'webhook_endpoint.created': 'Webhook endpoint created',
  'webhook_endpoint.deleted': 'Webhook endpoint deleted',
  'signing_key.rotated': 'Signing key rotated',
}

const PERIODS = new Map([
  ['', 'Any time'],
  ['1', 'Last 24 hours'],
  ['7', 'Last 7 days'],
  ['30', 'Last 30 days'],
])

/** Empty where it does not narrow the list. */
interface Filter {
  readonly type: EventType | ''
  readonly days: string
  readonly organization: string
}

/** The events of the environment, newest first. */
export const eventList = new Hono<HonoEnv>()

  .get('/events', requireSession, async (c) => {
    const filter = filterOf((name) => c.req.query(name) ?? '')
    const after = c.req.query('after')
    const outcome = await listEvents(c.var.database, c.var.session, {
      limit: PAGE_LENGTH,
      order: 'desc',
      cursor: after === undefined ? null : { id: after, side: 'after' },
      types: filter.type ? [filter.type] : [],
      organizationId: filter.organization || null,
      from: filter.days === '' ? null : Date.now() - Number(filter.days) * DAY_MS,
      until: null,
    })
    if (outcome.refused === 'invalid_cursor') return c.redirect('/dashboard/events', 303)
    const page = granted(c, outcome)
    return eventsPage(c, filter, page.items, page.after)
  })

  // A POST, so that a pasted credential comes into no URL.
  .post('/events', requireSession, async (c) => c.redirect(pathOf(filterOf(await readForm(c))), 303))

/** Only values that the filter knows, and well-formed organization IDs. */
function filterOf(field: (name: string) => string): Filter {
  const organization = field('organization').trim()
  const isOrganization = v.is(OrganizationId, organization) && hintOfCredential(organization) === null
  return {
    type: EVENT_TYPES.find((type) => type === field('type')) ?? '',
    days: PERIODS.has(field('days')) ? field('days') : '',
    organization: isOrganization ? organization : '',
  }
}

function pathOf(filter: Filter, after = ''): string {
  const parameters = Object.entries({ ...filter, after }).filter(([, value]) => value !== '')
  return parameters.length === 0 ? '/dashboard/events' : `/dashboard/events?${new URLSearchParams(parameters)}`
}

function eventsPage(c: Context<HonoEnv>, filter: Filter, events: readonly Event[], next: string | null) {
  const isFiltered = Object.values(filter).some((value) => value !== '')
  return page(
    c,
    { title: 'Events', section: '/dashboard/events' },
    <>
      <h1>Events</h1>
      <Filters filter={filter} />
      {events.length > 0 && <Table label="Events" columns={COLUMNS} rows={events} />}
      {events.length === 0 && <NoEvents c={c} isFiltered={isFiltered} />}
      {next && (
        <nav class="row" aria-label="Pages">
          <a class="button" href={pathOf(filter, next)}>
            Older
          </a>
        </nav>
      )}
    </>,
  )
}

const Filters = ({ filter }: { filter: Filter }) => (
  <search>
    <PostForm class="filters" action="/dashboard/events">
      <div class="field">
        <label for="type">Event</label>
        <select id="type" name="type">
          <option value="">All events</option>
          {EVENT_TYPES.map((type) => (
            <option value={type} selected={type === filter.type}>
              {LABELS[type]}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="days">Time</label>
        <select id="days" name="days">
          {[...PERIODS].map(([days, label]) => (
            <option value={days} selected={days === filter.days}>
              {label}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="organization">Organization ID</label>
        <input
          id="organization"
          name="organization"
          value={filter.organization}
          placeholder="org_…"
          autocomplete="off"
          class="code"
        />
      </div>
      <button type="submit">Apply</button>
    </PostForm>
  </search>
)

const COLUMNS: readonly Column<Event>[] = [
  { label: 'Event', kind: 'wide', cell: ({ type }) => <b>{LABELS[type]}</b> },
  { label: 'Target', cell: (event) => <Target event={event} /> },
  {
    label: 'Actor',
    cell: ({ apiKey, actor, origin }) => (
      <>
        {apiKey ? <bdi>{apiKey.name}</bdi> : <span class="quiet">{actor === 'operator' ? 'Operator' : 'System'}</span>}
        {origin.address && (
          <span class="sub">
            {origin.address} {origin.country}
          </span>
        )}
      </>
    ),
  },
  { label: 'Time', cell: ({ createdAt }) => <ExactTime at={createdAt} /> },
]

/** The event keeps its target as it was. Its page may no longer exist. */
const Target = ({ event: { type, data } }: { event: Event }) => {
  const touched = Array.isArray(data.client_secrets) ? data.client_secrets.length : 0
  const secrets = touched === 1 ? '1 secret' : `${touched} secrets`
  if (type.startsWith('connect_application.'))
    return (
      <>
        <a href={applicationPath(String(data.id))}>
          <Name>{String(data.name)}</Name>
        </a>
        {touched > 0 && <span class="sub">and {secrets}</span>}
      </>
    )
  if (!type.startsWith('connect_application_secret.')) return <Other data={data} />
  const application = (
    <a href={applicationPath(String(data.application_id))}>
      Application{typeof data.secret_hint === 'string' && <Hidden> of …{data.secret_hint}</Hidden>}
    </a>
  )
  if (data.id === undefined)
    return (
      <>
        {secrets} <span class="sub">{application}</span>
      </>
    )
  return (
    <>
      {typeof data.name === 'string' && (
        <>
          <Name>{data.name}</Name>{' '}
        </>
      )}
      <Hint hint={String(data.secret_hint)} />
      <span class="sub">
        {application}
        {touched > 0 && `, replaced ${secrets}`}
      </span>
    </>
  )
}

/** An API key, a session, a webhook endpoint or a signing key. */
const Other = ({ data }: { data: Event['data'] }) => {
  const apiKey = data.api_key as { name: string } | undefined
  const name = apiKey?.name ?? data.name ?? data.url ?? data.algorithm
  return (
    <>
      <Name>{String(name)}</Name>
      <code class="sub">{String(data.id ?? data.kid)}</code>
    </>
  )
}

const NoEvents = ({ c, isFiltered }: { c: Context<HonoEnv>; isFiltered: boolean }) => (
  <Empty title={isFiltered ? 'No matching events' : 'No events yet'}>
    {isFiltered ? (
      <p>
        <a href="/dashboard/events">Show all events</a>
      </p>
    ) : (
      <>
        <p>
          Oncekey records every change of an application or a secret, and every sign-in, with the API key that made it.
          Programs read the same list:
        </p>
        <Snippet id="list-events" title="List events" text={curl(publicOrigin(c), 'GET', '/events?limit=50')} />
      </>
    )}
  </Empty>
)
