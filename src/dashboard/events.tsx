import type { Context } from 'hono'
import { Hono } from 'hono'
import { eventToWire } from '../contract/wire.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { csvOf, fileResponse } from '../pages/csv.ts'
import { publicOrigin } from '../pages/document.tsx'
import { curl, Empty, Snippet } from '../pages/parts.tsx'
import { exactTime } from '../pages/time.tsx'
import { type Activity, type ActivityPage, findActivity, listActivity, MAX_SEARCHED } from '../storage/activity.ts'
import { eventPage } from './event.tsx'
import {
  activityFilterOf,
  EVENTS_PATH,
  eventsPath,
  type Filter,
  Filters,
  isFiltered,
  readFilter,
} from './event-filter.tsx'
import { EventTable } from './event-table.tsx'
import { actorOf, differencesOf, labelOf, targetOf } from './event-words.ts'
import { readForm } from './form.tsx'
import { secretsPath } from './inventory-filter.tsx'
import { page } from './layout.tsx'
import { requireSession } from './session.ts'

const PAGE_LENGTH = 20
const MAX_EXPORTED = 1000
/** Matches the actors that can create secrets: API keys and people. */
const CREATOR = /^api_key_|@/

/** The audit log of the environment, newest first. */
export const eventList = new Hono<HonoEnv>()

  .get('/events', requireSession, async (c) => {
    const filter = readFilter((name) => c.req.query(name) ?? '')
    const after = c.req.query('after') ?? null
    const options = { ...activityFilterOf(filter), limit: PAGE_LENGTH, after }
    const outcome = await listActivity(c.get('database'), c.get('session'), options)
    if (outcome.refused === 'invalid_cursor') return c.redirect(eventsPath(filter), 303)
    return eventsPage(c, filter, granted(c, outcome), after !== null)
  })

  // A POST, so that no URL contains a pasted credential. It redirects to a URL that can be shared.
  .post('/events', requireSession, async (c) => c.redirect(eventsPath(readFilter(await readForm(c))), 303))

  .get('/events/export-csv', requireSession, async (c) => {
    const { activities, name } = await exported(c)
    return fileResponse(c, `${name}.csv`, 'text/csv', csvOf(CSV_COLUMNS, activities))
  })

  .get('/events/export-json', requireSession, async (c) => {
    const { activities, name } = await exported(c)
    const events = activities.map(({ event }) => eventToWire(event))
    return fileResponse(c, `${name}.json`, 'application/json', JSON.stringify(events, null, 2))
  })

  .get('/events/:id', requireSession, async (c) =>
    eventPage(c, granted(c, await findActivity(c.get('database'), c.get('session'), c.req.param('id')))),
  )

/** Returns the events of an export, and the name of its file. The name has “first” if there may be more events. */
async function exported(c: Context<HonoEnv>) {
  const filter = activityFilterOf(readFilter((name) => c.req.query(name) ?? ''))
  const options = { ...filter, limit: MAX_EXPORTED, after: null }
  const { activities, next } = granted(c, await listActivity(c.get('database'), c.get('session'), options))
  return { activities, name: next === null ? 'events' : `events-first-${activities.length}` }
}

const CSV_COLUMNS: Record<string, (activity: Activity) => string | null> = {
  time: ({ event }) => new Date(event.createdAt).toISOString(),
  event: ({ event }) => event.type,
  description: labelOf,
  changes: (activity) =>
    differencesOf(activity)
      .map(({ name, before, after }) => `${name}: ${before} → ${after}`)
      .join('; '),
  target_name: ({ event }) => targetOf(event).name,
  target_id: ({ event }) => targetOf(event).id,
  secret_hint: ({ event }) => targetOf(event).hint,
  application_name: ({ event, applicationName }) =>
    applicationName ?? (targetOf(event).id === targetOf(event).applicationId ? targetOf(event).name : null),
  application_id: ({ event }) => targetOf(event).applicationId,
  actor: ({ event }) => actorOf(event, String),
  actor_type: ({ event }) => event.actor,
  person: ({ event }) => event.person,
  api_key: ({ event }) => event.apiKey?.name ?? null,
  api_key_id: ({ event }) => event.apiKey?.id ?? null,
  session_id: ({ event }) => event.sessionId,
  ip_address: ({ event }) => event.origin.address,
  country: ({ event }) => event.origin.country,
  user_agent: ({ event }) => event.origin.userAgent,
  request_id: ({ event }) => event.requestId,
  event_id: ({ event }) => event.id,
}

function eventsPage(
  c: Context<HonoEnv>,
  filter: Filter,
  { activities, next, isPartial, keys }: ActivityPage,
  isLater: boolean,
) {
  const oldest = activities.at(-1)
  return page(
    c,
    { title: 'Activity', section: EVENTS_PATH },
    <>
      <div class="title">
        <h1>Activity</h1>
        {activities.length > 0 && (
          <div class="row">
            <span class="quiet small">Exports the newest {MAX_EXPORTED.toLocaleString('en')} events</span>
            <a class="button" href={eventsPath(filter, { path: `${EVENTS_PATH}/export-csv` })}>
              Export CSV
            </a>
            <a class="button" href={eventsPath(filter, { path: `${EVENTS_PATH}/export-json` })}>
              Export JSON
            </a>
          </div>
        )}
      </div>
      <Filters filter={filter} keys={keys} />
      {CREATOR.test(filter.actor) && (
        <p class="small">
          <a href={secretsPath({ creator: filter.actor })}>Secrets that this actor created</a>
        </p>
      )}
      {activities.length > 0 && <EventTable activities={activities} now={Date.now()} />}
      {activities.length === 0 && <NoEvents c={c} filter={filter} isPartial={isPartial} isLater={isLater} />}
      {isPartial && (
        <p class="quiet">
          Searched {MAX_SEARCHED.toLocaleString('en')} events
          {oldest && `. The oldest match is from ${exactTime(oldest.event.createdAt)}`}. To search further, choose a
          period or open the next page.
        </p>
      )}
      {(isLater || next) && (
        <nav class="row" aria-label="Pages">
          {isLater && (
            <a class="button" href={eventsPath(filter)}>
              Newest
            </a>
          )}
          {next && (
            <a class="button" href={eventsPath(filter, { after: next })}>
              Older
            </a>
          )}
        </nav>
      )}
    </>,
  )
}

interface NoEventsProps {
  readonly c: Context<HonoEnv>
  readonly filter: Filter
  readonly isPartial: boolean
  readonly isLater: boolean
}

const NoEvents = ({ c, filter, isPartial, isLater }: NoEventsProps) =>
  isFiltered(filter) || isLater ? (
    <Empty title={isPartial ? 'No matching events so far' : 'No matching events'}>
      <p>
        <a href={EVENTS_PATH}>Show all events</a>
      </p>
    </Empty>
  ) : (
    <Empty title="No events yet">
      <p>
        Oncekey records every change of an application or a secret, and every sign-in, with the API key used. Programs
        can read the same list:
      </p>
      <Snippet id="list-events" title="List events" text={curl(publicOrigin(c), 'GET', '/events?limit=50')} />
    </Empty>
  )
