import * as v from 'valibot'
import { Application } from './applications.ts'
import { ClientSecret } from './client-secrets.ts'
import {
  hasOneCursor,
  Limit,
  ListMetadata,
  listParameter,
  Order,
  OrganizationId,
  once,
  Query,
  Time,
  Timestamp,
} from './fields.ts'
import { rule } from './rules.ts'

/** The shapes of WorkOS's Events API, with Oncekey's own event types. */

const ListQuery = v.object({
  limit: Limit,
  order: v.optional(Order, 'asc'),
  before: v.optional(once),
  after: v.optional(once),
  organization_id: v.optional(OrganizationId),
  range_start: v.optional(Time),
  range_end: v.optional(Time),
  /** Types of other systems match nothing. A poller may share one list between WorkOS and Oncekey. */
  events: v.array(v.string()),
})

export const ListEvents = v.pipe(
  Query,
  v.transform((query) => ({ ...query, events: listParameter(query, 'events') ?? [] })),
  ListQuery,
  v.forward(
    v.check((query) => hasOneCursor(query), rule('before_with_after')),
    ['before'],
  ),
)

/** Secrets that the same change touched. */
const touched = v.array(v.strictObject({ id: v.string(), secret_hint: v.string() }))

const event = {
  object: v.literal('event'),
  id: v.string(),
  created_at: Timestamp,
  /** The API key that made the change; null for the system. */
  context: v.strictObject({
    api_key: v.nullable(v.strictObject({ id: v.string(), name: v.string() })),
    request_id: v.nullable(v.string()),
  }),
}

const secretOfApplication = { ...ClientSecret.entries, application_id: v.string() }

/** An event. Its data is the object as the change left it. */
export const Event = v.variant('event', [
  v.strictObject({
    ...event,
    event: v.picklist(['connect_application.created', 'connect_application.updated']),
    data: Application,
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application.deleted'),
    /** The application, and the secrets that were revoked with it. */
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
    /** The new secret, and the secrets that it replaces. */
    data: v.strictObject({ ...secretOfApplication, client_secrets: touched }),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.deleted'),
    /** One secret, or all secrets of an application. */
    data: v.union([
      v.strictObject(secretOfApplication),
      v.strictObject({ application_id: v.string(), client_secrets: touched }),
    ]),
  }),
])

export const EventList = v.strictObject({
  object: v.literal('list'),
  data: v.array(Event),
  list_metadata: ListMetadata,
})
