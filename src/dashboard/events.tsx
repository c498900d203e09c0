import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Cell, curl, Empty, Hint, Row, Snippet, Table } from '../pages/parts.tsx'
import { DAY_MS, Time } from '../pages/time.tsx'
import { EVENT_TYPES, type Event, type EventType, listEvents } from '../storage/events.ts'
import { page } from './layout.tsx'
import { requireSession } from './session.ts'

const PAGE_LENGTH = 50

/** What each type says to people. */
const WORDS: Record<EventType, string> = {
  'connect_application.created': 'Application created',
  'connect_application.updated': 'Application changed',
  'connect_application.deleted': 'Application deleted',
  'connect_application_secret.created': 'Secret created',
  'connect_application_secret.updated': 'Secret changed',
  'connect_application_secret.rotated': 'Secrets rotated',
  'connect_application_secret.expired': 'Secret expired',
  'connect_application_secret.deleted': 'Secret revoked',
}

const PERIODS = { '': 'Any time', '1': 'Last 24 hours', '7': 'Last 7 days', '30': 'Last 30 days' } as const

interface Filter {
  readonly type: EventType | null
  readonly days: keyof typeof PERIODS
  readonly organization: string
}

/** What happened, the newest first. */
export const eventList = new Hono<HonoEnv>().get('/events', requireSession('read'), async (c) => {
  const now = Date.now()
  const { type = '', days = '', organization = '', after } = c.req.query()
  const filter: Filter = {
    type: EVENT_TYPES.find((known) => known === type) ?? null,
    days: days in PERIODS ? (days as Filter['days']) : '',
    organization: organization.trim(),
  }
  const outcome = await listEvents(c.var.database, c.var.session, {
    limit: PAGE_LENGTH,
    order: 'desc',
    after: after ?? null,
    types: filter.type ? [filter.type] : [],
    organizationId: filter.organization || null,
    from: filter.days === '' ? null : now - Number(filter.days) * DAY_MS,
    until: null,
  })
  if ('refused' in outcome && outcome.refused === 'invalid_cursor') return c.redirect('/dashboard/events', 303)
  const { events, hasMore } = granted(c, outcome)
  return eventsPage(c, filter, events, hasMore ? events.at(-1)?.id : undefined)
})

function eventsPage(c: Context<HonoEnv>, filter: Filter, events: readonly Event[], next: string | undefined) {
  const now = Date.now()
  const parameters = { type: filter.type ?? '', days: filter.days, organization: filter.organization }
  return page(
    c,
    { title: 'Events', section: '/dashboard/events' },
    <>
      <h1>Events</h1>
      <Filters filter={filter} />
      {events.length > 0 && (
        <Table label="Events" columns={['What', 'About', 'By', 'When']}>
          {events.map((event) => (
            <Row>
              <Cell kind="wide">
                <span class="name">{WORDS[event.type]}</span>
              </Cell>
              <Cell label="About">
                <About event={event} />
              </Cell>
              <Cell label="By">{event.apiKey ? event.apiKey.name : <span class="quiet">time</span>}</Cell>
              <Cell label="When">
                <Time at={event.createdAt} now={now} />
              </Cell>
            </Row>
          ))}
        </Table>
      )}
      {events.length === 0 && <NoEvents c={c} isFiltered={Object.values(parameters).some(Boolean)} />}
      {next && (
        <nav class="row" aria-label="Pages">
          <a class="button" href={`/dashboard/events?${new URLSearchParams({ ...parameters, after: next })}`}>
            Older
          </a>
        </nav>
      )}
    </>,
  )
}

const Filters = ({ filter }: { filter: Filter }) => (
  <search>
    <form class="filters" action="/dashboard/events">
      <div class="field">
        <label for="type">What</label>
        <select id="type" name="type">
          <option value="">Everything</option>
          {EVENT_TYPES.map((type) => (
            <option value={type} selected={type === filter.type}>
              {WORDS[type]}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="days">When</label>
        <select id="days" name="days">
          {Object.entries(PERIODS).map(([days, words]) => (
            <option value={days} selected={days === filter.days}>
              {words}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="organization">Organization</label>
        <input
          id="organization"
          name="organization"
          value={filter.organization}
          placeholder="org_…"
          autocomplete="off"
          class="code"
        />
      </div>
      <button type="submit">Show</button>
    </form>
  </search>
)

/** An event keeps what it is about as it was; the page of it may be gone. */
const About = ({ event: { type, data } }: { event: Event }) => {
  const touched = Array.isArray(data.client_secrets) ? data.client_secrets.length : 0
  const others = touched > 0 && (
    <span class="sub">{touched === 1 ? 'and 1 secret of it' : `and ${touched} secrets of it`}</span>
  )
  if (type.startsWith('connect_application.')) {
    return (
      <>
        <a href={`/dashboard/applications/${String(data.id)}`}>{String(data.name)}</a>
        {others}
      </>
    )
  }
  const application = <a href={`/dashboard/applications/${String(data.application_id)}`}>its application</a>
  if (data.id === undefined) {
    return (
      <>
        {touched === 1 ? '1 secret' : `${touched} secrets`} <span class="sub">of {application}</span>
      </>
    )
  }
  return (
    <>
      {typeof data.name === 'string' && `${data.name} `}
      <Hint hint={String(data.secret_hint)} />
      <span class="sub">
        of {application}
        {touched > 0 && `, in place of ${touched}`}
      </span>
    </>
  )
}

const NoEvents = ({ c, isFiltered }: { c: Context<HonoEnv>; isFiltered: boolean }) => (
  <Empty title={isFiltered ? 'Nothing of this kind happened' : 'Nothing has happened yet'}>
    <p>
      {isFiltered ? (
        <a href="/dashboard/events">Show all events</a>
      ) : (
        'Every change of an application or a secret is noted here, with the key that made it. Programs read the same list:'
      )}
    </p>
    {!isFiltered && (
      <Snippet id="list-events" title="List events" text={curl(new URL(c.req.url).origin, 'GET', '/events?limit=50')} />
    )}
  </Empty>
)
