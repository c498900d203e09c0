import { isolated } from '../pages/parts.tsx'
import { exactTime } from '../pages/time.tsx'
import type { Activity } from '../storage/activity.ts'
import type { Event, EventType } from '../storage/events.ts'

/** Texts about events. */

export const LABELS: Record<EventType, string> = {
  'connect_application.created': 'Application created',
  'connect_application.updated': 'Application changed',
  'connect_application.deleted': 'Application deleted',
  'connect_application_secret.created': 'Secret created',
  'connect_application_secret.updated': 'Secret changed',
  'connect_application_secret.rotated': 'Secrets rotated',
  'connect_application_secret.expired': 'Secret expired',
  'connect_application_secret.deleted': 'Secret revoked',
  'connect_application_secret.replayed': 'Secret shown again to a retry',
  'connect_application_secret.refused': 'Secret refused',
  'connect_application_secret.expiring': 'Secret expires soon',
  'connect_application_secret.unused': 'Secret disabled: unused',
  'connect_application_secret.used_while_expiring': 'Expiring secret still used',
  'connect_application_secret.leaked': 'Secret reported as leaked',
  'api_key.created': 'API key created',
  'api_key.updated': 'API key renamed',
  'api_key.revoked': 'API key revoked',
  'api_key.leaked': 'API key reported as leaked',
  'session.created': 'Signed in',
  'session.revoked': 'Session ended',
  'webhook_endpoint.created': 'Webhook endpoint created',
  'webhook_endpoint.paused': 'Webhook endpoint paused',
  'webhook_endpoint.resumed': 'Webhook endpoint resumed',
  'webhook_endpoint.deleted': 'Webhook endpoint deleted',
  'webhook_endpoint.leaked': 'Signing secret reported as leaked',
  'signing_key.rotated': 'Signing key rotated',
  'environment.updated': 'Environment settings changed',
  'environment.frozen': 'Environment frozen',
  'environment.unfrozen': 'Environment freeze lifted',
}

/** Names of the objects that events are about, by the first part of the event type. */
export const OBJECTS = new Map([
  ['connect_application', 'Applications'],
  ['connect_application_secret', 'Client secrets'],
  ['api_key', 'API keys'],
  ['session', 'Sessions'],
  ['webhook_endpoint', 'Webhook endpoints'],
  ['signing_key', 'Signing keys'],
  ['environment', 'Environment'],
])

/** A member of the target that a change has set. */
export interface Difference {
  readonly name: string
  readonly before: string
  readonly after: string
}

const time = (value: unknown) => (value === null ? 'Never' : exactTime(Number(value)))
const text = (value: unknown) => (value === null || value === '' ? 'None' : String(value))
/** Formats a list, which is given as JSON. Null means no limit. */
const list = (value: unknown) => (value === null ? 'All' : text((JSON.parse(String(value)) as string[]).join(' ')))
const yesOrNo = (value: unknown) => (value === 1 ? 'Yes' : 'No')

/** The members that a change may set, each with its label and the function that formats its value. */
const MEMBERS: Readonly<Record<string, readonly [name: string, read: (value: unknown) => string]>> = {
  name: ['Name', text],
  description: ['Description', text],
  scopes: ['Scopes', list],
  allowed_scopes: ['Scopes', list],
  allowed_ips: ['IP addresses', list],
  redirect_uris: [
    'Redirect URIs',
    (value) => text((JSON.parse(String(value)) as { uri: string }[]).map(({ uri }) => uri).join(' ')),
  ],
  uses_pkce: ['PKCE', yesOrNo],
  expires_at: ['Expires', time],
  leak_reaction: ['When a credential leaks', text],
  max_lifetime_days: ['Longest lifetime in days', text],
  max_unused_days: ['Longest time unused in days', text],
  disabled_at: ['State', (value) => (value === null ? 'Enabled' : 'Disabled')],
}

/** The differences that a change has made. Empty if the target was not changed, or if its state before is unknown. */
export function differencesOf({ event: { data }, before }: Activity): Difference[] {
  // The previous event of a secret may be a rotation, whose data describes the replacement.
  if (before === null || before.id !== data.id) return []
  return Object.entries(MEMBERS).flatMap(([member, [name, read]]) => {
    if (!Object.hasOwn(data, member) || !Object.hasOwn(before, member)) return []
    const difference = { name, before: read(before[member]), after: read(data[member]) }
    return difference.before === difference.after ? [] : [difference]
  })
}

/** Labels for a change of a secret that set only this member. */
const SINGLE_CHANGES = new Map([
  ['Name', 'Secret renamed'],
  ['Expires', 'Secret expiry changed'],
  ['Scopes', 'Secret scopes changed'],
  ['IP addresses', 'Secret IP addresses changed'],
])

/** The label of an event. If a change of a secret set only one member, the label names that member. */
export function labelOf({ event, ...activity }: Activity): string {
  if (event.type !== 'connect_application_secret.updated') return LABELS[event.type]
  const [only, ...others] = differencesOf({ event, ...activity })
  if (!only || others.length > 0) return LABELS[event.type]
  return SINGLE_CHANGES.get(only.name) ?? `Secret ${only.after.toLowerCase()}`
}

/** The object of an event, as it was after the change. */
export interface Target {
  /** The name of the object; null if it has none. */
  readonly name: string | null
  /** The ID of the object; null for all secrets of an application. */
  readonly id: string | null
  readonly hint: string | null
  readonly applicationId: string | null
  /** How many other secrets the change affected. */
  readonly touched: number
}

export function targetOf({ type, data }: Event): Target {
  const string = (value: unknown) => (typeof value === 'string' ? value : null)
  const apiKey = data.api_key as { name: string } | undefined
  const touched = Array.isArray(data.client_secrets) ? data.client_secrets.length : 0
  return {
    name: string(data.name) ?? apiKey?.name ?? string(data.url) ?? string(data.algorithm),
    id: string(data.id ?? data.kid),
    hint: string(data.secret_hint),
    applicationId: type.startsWith('connect_application.') ? string(data.id) : string(data.application_id),
    touched,
  }
}

/**
 * The caller who made a change: a person and the API key that the person acts with, or only an API key. The text has
 * “API key”, because the name of a key may look like that of a person. In a page, `isolate` keeps a right-to-left name
 * from reordering the text around it. A file needs no isolation.
 */
export function creatorOf(
  person: string | null,
  keyName: string,
  isolate: (name: string) => string = isolated,
): string {
  const key = `API key ${isolate(keyName)}`
  return person === null ? key : `${isolate(person)} (${key})`
}

export function actorOf({ apiKey, actor, person }: Event, isolate = isolated): string {
  return apiKey ? creatorOf(person, apiKey.name, isolate) : actor === 'operator' ? 'Operator' : 'System'
}

export const secretCount = (count: number) => (count === 1 ? '1 secret' : `${count} secrets`)
