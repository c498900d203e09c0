import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { Event } from '../../src/contract/events.ts'
import { EVENT_TYPES, type EventType } from '../../src/storage/events.ts'

const TIME = '2030-01-15T12:00:00.000Z'

const context = {
  ...{ actor: 'operator', api_key: null, session_id: null, request_id: null, client_request_id: null },
  ...{ ip_address: null, country: null, user_agent: null },
}
const times = { created_at: TIME, updated_at: TIME }
const application = {
  ...{ object: 'connect_application', id: 'a', client_id: 'c', name: 'n', description: null, scopes: [], ...times },
  ...{ application_type: 'm2m', organization_id: 'org_1' },
}
const secret = {
  ...{ object: 'connect_application_secret', id: 's', secret_hint: 'abcdef', last_used_at: null, ...times },
  application_id: 'a',
}
const client_secrets = [{ id: 's', secret_hint: 'abcdef' }]
const apiKey = {
  ...{ object: 'api_key', id: 'k', name: 'n', access: 'read' },
  ...{ permissions: null, allowed_ips: null, expires_at: null },
}
const session = { object: 'session', id: 's', api_key: { id: 'k', name: 'n' } }
const endpoint = { object: 'webhook_endpoint', id: 'w', url: 'https://hooks.example/', events: [] }
const environment = {
  ...{ object: 'environment', id: 'e', client_id: 'c', name: 'n', leak_reaction: 'notify', created_at: TIME },
  ...{ max_lifetime_days: null, max_unused_days: null, frozen_at: null },
}
const leak = { source: null, reaction: 'notify' }

/** The data of each type of event. */
const DATA: Record<EventType, object> = {
  'connect_application.created': application,
  'connect_application.updated': application,
  'connect_application.deleted': { object: 'connect_application', id: 'a', client_id: 'c', client_secrets },
  'connect_application_secret.created': secret,
  'connect_application_secret.updated': secret,
  'connect_application_secret.rotated': { ...secret, client_secrets },
  'connect_application_secret.expired': secret,
  'connect_application_secret.deleted': { application_id: 'a', client_secrets },
  'connect_application_secret.replayed': secret,
  'connect_application_secret.refused': { ...secret, reason: 'revoked' },
  'connect_application_secret.used_while_expiring': secret,
  'connect_application_secret.leaked': { ...secret, ...leak },
  'connect_application_secret.expiring': { ...secret, expires_in_days: 30 },
  'connect_application_secret.unused': secret,
  'api_key.created': apiKey,
  'api_key.updated': apiKey,
  'api_key.revoked': apiKey,
  'api_key.leaked': { ...apiKey, ...leak },
  'session.created': session,
  'session.revoked': session,
  'webhook_endpoint.created': endpoint,
  'webhook_endpoint.paused': endpoint,
  'webhook_endpoint.resumed': endpoint,
  'webhook_endpoint.deleted': endpoint,
  'webhook_endpoint.leaked': { ...endpoint, ...leak },
  'signing_key.rotated': { object: 'signing_key', kid: 'k', algorithm: 'RS256', leaked: false },
  'environment.updated': environment,
  'environment.frozen': environment,
  'environment.unfrozen': environment,
}

const isEvent = (event: string, data: object = {}, inContext: object = {}, members: object = {}) => {
  const complete = { ...DATA[event as EventType], ...data }
  const value = {
    object: 'event',
    id: 'i',
    event,
    data: complete,
    created_at: TIME,
    context: { ...context, ...inContext },
  }
  return v.is(Event, { ...value, ...members })
}

describe.each(EVENT_TYPES)('an event of the type %s', (type) => {
  test(`the schema accepts an event of the type ${type}, and refuses unknown members of the event and of its context`, () => {
    expect(isEvent(type)).toBe(true)
    expect(isEvent(type, {}, {}, { more: 1 })).toBe(false)
    expect(isEvent(type, {}, { more: 1 })).toBe(false)
    // The data of a deletion may have all members of the application.
    expect(isEvent(type, { more: 1 })).toBe(type === 'connect_application.deleted')
  })

  test.each(Object.keys(DATA[type]))(`an event of the type ${type} needs the member %s in its data`, (member) => {
    expect(isEvent(type, { [member]: undefined })).toBe(false)
  })
})

test('an event of an unknown type is refused', () => {
  for (const type of ['', 'user.created']) expect(isEvent(type, secret)).toBe(false)
})

test.each([
  [
    'actor',
    ['api_key', 'session', 'operator', 'system'],
    (actor: unknown) => isEvent('api_key.created', {}, { actor }),
  ],
  [
    'reason',
    ['revoked', 'expired', 'disabled', 'application_deleted', 'address_not_allowed'],
    (reason: unknown) => isEvent('connect_application_secret.refused', { reason }),
  ],
  ['reaction', ['notify', 'disable', 'revoke'], (reaction: unknown) => isEvent('api_key.leaked', { reaction })],
  ['access', ['read', 'write'], (access: unknown) => isEvent('api_key.created', { access })],
  [
    'expires_in_days',
    [30, 7, 1],
    (expires_in_days: unknown) => isEvent('connect_application_secret.expiring', { expires_in_days }),
  ],
])('the %s of an event is one of %j', (_, values, isValid) => {
  expect(values.filter(isValid)).toEqual(values)
  for (const value of ['', 'x', 2]) expect(isValid(value)).toBe(false)
})

test('the event connect_application_secret.deleted can have one secret as its data', () => {
  expect(isEvent('connect_application_secret.deleted', {}, {}, { data: secret })).toBe(true)
})
