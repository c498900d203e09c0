import type { InferOutput } from 'valibot'
import { type Application, applicationMapping, type NewApplication, type RedirectUri } from '../storage/applications.ts'
import { type ClientSecret, clientSecretMapping } from '../storage/client-secrets.ts'
import { type Environment, type EnvironmentChanges, environmentMapping } from '../storage/environments.ts'
import type { Event } from '../storage/events.ts'
import type { ListedSecret, SecretFilter } from '../storage/listed-secrets.ts'
import type { Page, PageRequest } from '../storage/paging.ts'
import type * as applications from './applications.ts'
import type * as clientSecrets from './client-secrets.ts'
import type * as environments from './environments.ts'
import type * as events from './events.ts'
import type * as inventory from './inventory.ts'

/** Maps stored objects to responses, and requests to storage. Responses have WorkOS's field names and timestamps. */

export function applicationToWire(application: Application): InferOutput<typeof applications.Application> {
  const common = {
    object: 'connect_application' as const,
    id: application.id,
    client_id: application.clientId,
    name: application.name,
    description: application.description,
    scopes: [...application.scopes],
    created_at: timestamp(application.createdAt),
    updated_at: timestamp(application.updatedAt),
  }
  const { organizationId } = application
  if (application.applicationType === 'm2m') {
    return { ...common, application_type: 'm2m', organization_id: organizationId ?? '' }
  }
  const oauth = {
    ...common,
    application_type: 'oauth' as const,
    redirect_uris: [...application.redirectUris],
    uses_pkce: application.usesPkce,
  }
  return organizationId === null
    ? { ...oauth, is_first_party: true }
    : { ...oauth, is_first_party: false, was_dynamically_registered: false, organization_id: organizationId }
}

export function clientSecretToWire(secret: ClientSecret): InferOutput<typeof clientSecrets.ClientSecret> {
  return {
    object: 'connect_application_secret',
    id: secret.id,
    secret_hint: secret.hint,
    last_used_at: secret.lastUsedAt === null ? null : timestamp(secret.lastUsedAt),
    created_at: timestamp(secret.createdAt),
    updated_at: timestamp(secret.updatedAt),
    ...(secret.name !== null && { name: secret.name }),
    ...(secret.expiresAt !== null && { expires_at: timestamp(secret.expiresAt) }),
    ...(secret.disabledAt !== null && { disabled: true as const }),
    ...(secret.scopes !== null && { scopes: [...secret.scopes] }),
    ...(secret.allowedIps !== null && { allowed_ips: [...secret.allowedIps] }),
  }
}

export function environmentToWire(environment: Environment): InferOutput<typeof environments.Environment> {
  return {
    object: 'environment',
    id: environment.id,
    client_id: environment.clientId,
    name: environment.name,
    leak_reaction: environment.leakReaction,
    max_lifetime_days: environment.maxLifetimeDays,
    max_unused_days: environment.maxUnusedDays,
    frozen_at: environment.frozenAt === null ? null : timestamp(environment.frozenAt),
    created_at: timestamp(environment.createdAt),
  }
}

export function listedSecretToWire(secret: ListedSecret): InferOutput<typeof inventory.ListedClientSecret> {
  const { lastUsedAddress, lastUsedCountry, lastUsedAgent } = secret
  const isKnown = lastUsedAddress !== null || lastUsedCountry !== null || lastUsedAgent !== null
  return {
    ...clientSecretToWire(secret),
    state: secret.state,
    application_id: secret.applicationId,
    application_name: secret.applicationName,
    organization_id: secret.organizationId,
    created_by: creatorOf(secret),
    last_used_from: isKnown
      ? { ip_prefix: lastUsedAddress, country: lastUsedCountry, user_agent: lastUsedAgent }
      : null,
    ...(secret.revokedAt !== null && { revoked_at: timestamp(secret.revokedAt) }),
    ...(secret.leakReportedAt !== null && {
      leak_reported_at: timestamp(secret.leakReportedAt),
      leak_source: secret.leakSource,
    }),
  }
}

function creatorOf({ createdBy, createdByName, createdByPerson }: ListedSecret) {
  if (createdBy === null) return null
  return { id: createdBy, name: createdByName, ...(createdByPerson !== null && { person: createdByPerson }) }
}

/** Maps the settings in a request. Omitted settings are undefined. */
export function settingsFromWire(input: InferOutput<typeof environments.UpdateEnvironment>): EnvironmentChanges {
  const { leak_reaction, max_lifetime_days, max_unused_days, frozen } = input
  return { leakReaction: leak_reaction, maxLifetimeDays: max_lifetime_days, maxUnusedDays: max_unused_days, frozen }
}

/** Maps the parameters of a query to a filter. */
export function secretFilterFromWire(query: InferOutput<typeof inventory.ListClientSecrets>): SecretFilter {
  const isTrue = (text: 'true' | 'false' | undefined) => (text === undefined ? null : text === 'true')
  return {
    states: query.state,
    unusedForDays: query.unused_for_days ?? null,
    neverExpires: isTrue(query.never_expires),
    expiresWithinDays: query.expires_within_days ?? null,
    applicationId: query.application_id ?? null,
    organizationId: query.organization_id ?? null,
    createdBy: query.created_by ?? null,
    hint: query.hint ?? null,
    isLeaked: isTrue(query.leak_reported),
  }
}

/** Maps an event, for the list and for webhooks. */
export function eventToWire(event: Event): InferOutput<typeof events.Event> {
  return {
    object: 'event',
    id: event.id,
    event: event.type,
    data: dataToWire(event),
    created_at: timestamp(event.createdAt),
    context: {
      actor: event.actor,
      api_key: event.apiKey,
      session_id: event.sessionId,
      ...(event.person !== null && { person: event.person }),
      request_id: event.requestId,
      client_request_id: event.origin.clientRequestId,
      ip_address: event.origin.address,
      country: event.origin.country,
      user_agent: event.origin.userAgent,
    },
  } as InferOutput<typeof events.Event>
}

/**
 * Maps the data of an event. The snapshot of an application, a secret or an environment is mapped like its row. Other
 * data is stored in the format of the response, except the expiry of an API key.
 */
function dataToWire({ type, data }: Event): object {
  const touched = data.client_secrets === undefined ? {} : { client_secrets: data.client_secrets }
  if (type.startsWith('connect_application.'))
    return { ...applicationToWire(applicationMapping.fromRow(data)), ...touched }
  if (type.startsWith('environment.')) return environmentToWire(environmentMapping.fromRow(data))
  if (type.startsWith('api_key.')) {
    const { expires_at } = data
    const expiry = typeof expires_at === 'number' ? timestamp(expires_at) : null
    return { permissions: null, allowed_ips: null, ...data, expires_at: expiry }
  }
  if (!type.startsWith('connect_application_secret.')) return data
  const reason = data.reason === undefined ? {} : { reason: data.reason }
  const leak = data.reaction === undefined ? {} : { source: data.source, reaction: data.reaction }
  const days = data.expires_in_days === undefined ? {} : { expires_in_days: data.expires_in_days }
  // If all secrets of an application were revoked at once, the event is not about a single secret.
  const secret = data.id === undefined ? {} : clientSecretToWire(clientSecretMapping.fromRow(data))
  return { ...secret, application_id: data.application_id, ...touched, ...leak, ...reason, ...days }
}

/** The parameters of a paged list. */
interface PageQuery {
  readonly limit: number
  readonly order: 'asc' | 'desc' | 'normal'
  readonly before?: string | undefined
  readonly after?: string | undefined
}

/**
 * Maps the parameters of a list. WorkOS's order `normal` is newest first, like `desc`, but its cursors are reversed:
 * `after` leads to newer objects, and `before` to older ones.
 */
export function pageFromWire({ limit, order, before, after }: PageQuery): PageRequest {
  const [forwards, backwards] = order === 'normal' ? [before, after] : [after, before]
  const id = forwards ?? backwards
  const side = forwards === undefined ? 'before' : 'after'
  return { limit, order: order === 'asc' ? 'asc' : 'desc', cursor: id === undefined ? null : { id, side } }
}

/** Returns the name of the parameter with the cursor. */
export function cursorParameter({ before }: PageQuery): 'before' | 'after' {
  return before === undefined ? 'after' : 'before'
}

interface PageOfList extends Omit<Page<unknown>, 'items'> {
  /** True if the pages of the list may lack some objects. */
  readonly isCut?: boolean
}

export function listToWire<T>({ order }: PageQuery, data: T[], { before, after, isCut }: PageOfList) {
  const cursors = order === 'normal' ? { before: after, after: before } : { before, after }
  return { object: 'list' as const, data, list_metadata: { ...cursors, ...(isCut && { is_complete: false as const }) } }
}

/** Formats a time as ISO 8601 in UTC, with milliseconds. */
export function timestamp(unixMs: number): string {
  return new Date(unixMs).toISOString()
}

export function applicationFromWire(
  input: InferOutput<typeof applications.CreateApplication>,
): Omit<NewApplication, 'id' | 'clientId'> {
  const common = { name: input.name, description: input.description ?? null, scopes: input.scopes ?? [] }
  if (input.application_type === 'm2m') {
    return {
      ...common,
      applicationType: 'm2m',
      organizationId: input.organization_id,
      redirectUris: [],
      usesPkce: false,
      isFirstParty: false,
    }
  }
  return {
    ...common,
    applicationType: 'oauth',
    organizationId: input.is_first_party ? null : input.organization_id,
    redirectUris: redirectUris(input.redirect_uris ?? []),
    usesPkce: input.uses_pkce ?? false,
    isFirstParty: input.is_first_party,
  }
}

/** Fills in `default`. If no URI has this member, the first URI is the default. An explicit false stays false. */
export function redirectUris(input: { uri: string; default?: boolean | null | undefined }[]): RedirectUri[] {
  const isMarked = input.some((redirectUri) => typeof redirectUri.default === 'boolean')
  return input.map((redirectUri, i) => ({
    uri: redirectUri.uri,
    default: isMarked ? redirectUri.default === true : i === 0,
  }))
}
