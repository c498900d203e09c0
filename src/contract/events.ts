import * as v from 'valibot'
import { EVENT_TYPES } from '../storage/events.ts'
import { listParameter } from './list-parameter.ts'
import { Application, ClientSecret, Limit, OrganizationId, Time, Timestamp } from './management.ts'
import { requirement } from './requirement.ts'

/** The shapes of WorkOS's Events API, with the events that are ours. */

const once = requirement('repeated', 'must not be repeated.')

const ListQuery = v.object({
  limit: Limit,
  order: v.optional(v.picklist(['asc', 'desc'], requirement('invalid', 'must be asc or desc.')), 'asc'),
  after: v.optional(v.string(once)),
  organization_id: v.optional(OrganizationId),
  range_start: v.optional(Time),
  range_end: v.optional(Time),
  events: v.array(v.picklist(EVENT_TYPES, requirement('unknown', `must be of ${EVENT_TYPES.join(', ')}.`))),
})

/** The SDK for Node writes an empty list as an empty value. Both are for all. */
function eventsOf(query: Record<string, string | string[]>): string[] {
  return query.events === '' ? [] : (listParameter(query, 'events') ?? [])
}

export const ListEvents = v.pipe(
  v.record(v.string(), v.union([v.string(), v.array(v.string())])),
  v.transform((query) => ({ ...query, events: eventsOf(query) })),
  ListQuery,
)

/** Secrets that a change of something else touched. */
const touched = v.array(v.strictObject({ id: v.string(), secret_hint: v.string() }))

const event = {
  object: v.literal('event'),
  id: v.string(),
  created_at: Timestamp,
  /** Who did it: null when time did. */
  context: v.strictObject({
    api_key: v.nullable(v.strictObject({ id: v.string(), name: v.string() })),
    request_id: v.nullable(v.string()),
  }),
}

const secretOfApplication = { ...ClientSecret.entries, application_id: v.string() }

/** An object as the change left it. */
export const Event = v.variant('event', [
  v.strictObject({
    ...event,
    event: v.picklist(['connect_application.created', 'connect_application.updated']),
    data: Application,
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application.deleted'),
    /** The application, with the secrets that were revoked with it. */
    data: v.looseObject({
      object: v.literal('connect_application'),
      id: v.string(),
      client_id: v.string(),
      client_secrets: touched,
    }),
  }),
  v.strictObject({
    ...event,
    event: v.picklist([
      'connect_application_secret.created',
      'connect_application_secret.updated',
      'connect_application_secret.expired',
    ]),
    data: v.strictObject(secretOfApplication),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.rotated'),
    /** The new secret, and those that it takes the place of. */
    data: v.strictObject({ ...secretOfApplication, client_secrets: touched }),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.deleted'),
    /** One secret, or all that an application had. */
    data: v.union([
      v.strictObject(secretOfApplication),
      v.strictObject({ application_id: v.string(), client_secrets: touched }),
    ]),
  }),
])

export const EventList = v.strictObject({
  object: v.literal('list'),
  data: v.array(Event),
  list_metadata: v.strictObject({ after: v.nullable(v.string()) }),
})
