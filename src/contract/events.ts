import * as v from 'valibot'
import { LEAK_REACTIONS } from '../storage/environments.ts'
import { Application } from './applications.ts'
import { ClientSecret } from './client-secrets.ts'
import { Environment } from './environments.ts'
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

/** Schemas of events. They have the structure of WorkOS's Events API, and Oncekey's own event types. */

const ListQuery = v.object({
  limit: Limit,
  order: v.optional(Order, 'asc'),
  before: v.optional(once),
  after: v.optional(once),
  organization_id: v.optional(OrganizationId),
  range_start: v.optional(Time),
  range_end: v.optional(Time),
  /** An unknown type is no error, because a poller may use the same list of types for WorkOS and Oncekey. */
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

/** The secrets that the change affected. */
const touched = v.array(v.strictObject({ id: v.string(), secret_hint: v.string() }))

const named = v.strictObject({ id: v.string(), name: v.string() })

const event = {
  object: v.literal('event'),
  id: v.string(),
  created_at: Timestamp,
  context: v.strictObject({
    /** The actor of the change. */
    actor: v.picklist(['api_key', 'session', 'operator', 'system']),
    /** The caller's API key. For a dashboard session, the key of the session. Null for the operator and the system. */
    api_key: v.nullable(named),
    session_id: v.nullable(v.string()),
    /** The email address of a person who signed in through Cloudflare Access; absent otherwise. */
    person: v.optional(v.string()),
    request_id: v.nullable(v.string()),
    /** The X-Request-ID that the caller sent. */
    client_request_id: v.nullable(v.string()),
    ip_address: v.nullable(v.string()),
    /** A country code (ISO 3166-1 alpha-2). */
    country: v.nullable(v.string()),
    user_agent: v.nullable(v.string()),
  }),
}

const secretOfApplication = { ...ClientSecret.entries, application_id: v.string() }

const apiKey = {
  object: v.literal('api_key'),
  id: v.string(),
  name: v.string(),
  access: v.picklist(['read', 'write']),
  /** Null if the key has all permissions of its access level. */
  permissions: v.nullable(v.array(v.string())),
  /** IP addresses and CIDR ranges; null if every IP address is allowed. */
  allowed_ips: v.nullable(v.array(v.string())),
  expires_at: v.nullable(Timestamp),
}

const webhookEndpoint = {
  object: v.literal('webhook_endpoint'),
  id: v.string(),
  /** The URL without its query, which may contain a credential. */
  url: v.string(),
  /** The event types that the endpoint receives; all types if empty. */
  events: v.array(v.string()),
}

/** A report of a leaked credential. If `reaction` changed the object, no other event records that change. */
const leak = { source: v.nullable(v.string()), reaction: v.picklist(LEAK_REACTIONS) }

/** An event. Its data is the object after the change. */
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
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.used_while_expiring'),
    /**
     * A secret was used less than 24 hours before the expiry that a rotation has set. There is one event per secret and
     * expiry.
     */
    data: v.strictObject(secretOfApplication),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.expiring'),
    /** A reminder 30, 7 or 1 days before the expiry of an active secret. */
    data: v.strictObject({ ...secretOfApplication, expires_in_days: v.picklist([30, 7, 1]) }),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.unused'),
    /** Cleanup disabled the secret, because it was unused for longer than the environment allows. */
    data: v.strictObject(secretOfApplication),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.replayed'),
    /** A retried request received the plaintext of this secret again. */
    data: v.strictObject(secretOfApplication),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.refused'),
    /**
     * A request used a secret that no longer works, or that does not work from this IP address. There is at most one
     * event per secret and hour.
     */
    data: v.strictObject({
      ...secretOfApplication,
      reason: v.picklist(['revoked', 'expired', 'disabled', 'application_deleted', 'address_not_allowed']),
    }),
  }),
  v.strictObject({
    ...event,
    event: v.picklist(['api_key.created', 'api_key.updated', 'api_key.revoked']),
    data: v.strictObject(apiKey),
  }),
  v.strictObject({
    ...event,
    event: v.literal('connect_application_secret.leaked'),
    data: v.strictObject({ ...secretOfApplication, ...leak }),
  }),
  v.strictObject({ ...event, event: v.literal('api_key.leaked'), data: v.strictObject({ ...apiKey, ...leak }) }),
  v.strictObject({
    ...event,
    event: v.literal('webhook_endpoint.leaked'),
    data: v.strictObject({ ...webhookEndpoint, ...leak }),
  }),
  v.strictObject({
    ...event,
    event: v.picklist(['session.created', 'session.revoked']),
    data: v.strictObject({ object: v.literal('session'), id: v.string(), api_key: named }),
  }),
  v.strictObject({
    ...event,
    event: v.picklist([
      'webhook_endpoint.created',
      'webhook_endpoint.paused',
      'webhook_endpoint.resumed',
      'webhook_endpoint.deleted',
    ]),
    data: v.strictObject(webhookEndpoint),
  }),
  v.strictObject({
    ...event,
    event: v.picklist(['environment.updated', 'environment.frozen', 'environment.unfrozen']),
    data: Environment,
  }),
  v.strictObject({
    ...event,
    event: v.literal('signing_key.rotated'),
    data: v.strictObject({
      object: v.literal('signing_key'),
      kid: v.string(),
      algorithm: v.string(),
      /** True if the previous key leaked and was withdrawn immediately. */
      leaked: v.boolean(),
    }),
  }),
])

export const EventList = v.strictObject({
  object: v.literal('list'),
  data: v.array(Event),
  list_metadata: ListMetadata,
})
