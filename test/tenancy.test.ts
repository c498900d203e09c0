import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { idempotencyDigest, newSalt } from '../src/credential/derivation.ts'
import { type Bytes, sha256 } from '../src/credential/digest.ts'
import { newId } from '../src/credential/id.ts'
import * as apiKeys from '../src/storage/api-keys.ts'
import * as applications from '../src/storage/applications.ts'
import * as batch from '../src/storage/batch.ts'
import * as bulk from '../src/storage/bulk.ts'
import type { Caller, Change } from '../src/storage/caller.ts'
import * as scope from '../src/storage/caller-conditions.ts'
import * as authentication from '../src/storage/client-authentication.ts'
import * as clientSecrets from '../src/storage/client-secrets.ts'
import type { Database } from '../src/storage/database.ts'
import * as environments from '../src/storage/environments.ts'
import * as eventStatements from '../src/storage/event-statements.ts'
import * as events from '../src/storage/events.ts'
import * as find from '../src/storage/find.ts'
import type { KeyedRequest } from '../src/storage/idempotency.ts'
import * as inventory from '../src/storage/inventory.ts'
import * as issuing from '../src/storage/issuing.ts'
import * as leaks from '../src/storage/leaks.ts'
import { NO_FILTER } from '../src/storage/listed-secrets.ts'
import { createWebhookEndpoint } from '../src/storage/operator/webhook-endpoints.ts'
import * as secretDetails from '../src/storage/secret-details.ts'
import * as sessions from '../src/storage/sessions.ts'
import * as statements from '../src/storage/statements.ts'
import * as verdicts from '../src/storage/verdicts.ts'
import * as webhooks from '../src/storage/webhooks.ts'
import { call, m2mApplication, newApiKey, newApplication, operatorDatabase } from './api.ts'

/**
 * No query of a caller of one environment reads or changes a row of another: tried for every storage function that a
 * caller can reach, and every route, with every id that the other environment has.
 */
type Key = Awaited<ReturnType<typeof newApiKey>>

let victim: Key
let stranger: Key
/** The victim's ids of every kind, and its rows in every table. */
let ids: string[]
let before: unknown
/** Of the victim's secret. */
let secretDigest: Bytes
let secretHint: string
/** Of an event that is on its way to a webhook of the victim's. */
let eventId: string

beforeAll(async () => {
  victim = await newApiKey()
  stranger = await newApiKey()
  const endpointId = newId('we', Date.now())
  await createWebhookEndpoint(operatorDatabase(env.DB), {
    id: endpointId,
    environmentId: victim.environmentId,
    url: 'https://localhost/',
    events: [],
    secret: 'of the victim',
    createdAt: Date.now(),
  })
  const application = await newApplication(victim.apiKey)
  const headers = { 'Idempotency-Key': 'of-the-victim' }
  const secret = await call(victim.apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`, {
    headers,
  })
  secretHint = secret.json.secret_hint
  secretDigest = await sha256(secret.json.secret)
  const gone = await newApplication(victim.apiKey)
  await call(victim.apiKey, 'DELETE', `/connect/applications/${gone.id}`)
  const delivery = await env.DB.prepare('SELECT event_id FROM webhook_deliveries WHERE endpoint_id = ?').bind(
    endpointId,
  )
  eventId = (await delivery.first<string>('event_id')) ?? ''
  expect(eventId).toMatch(/^event_/)
  ids = [application.id, application.client_id, secret.json.id, gone.id, victim.environmentId, victim.id]
  const session = { id: newId('session', Date.now()), digest: await sha256('of the victim') }
  await sessions.startSession(operatorDatabase(env.DB), changeBy(victim.digest), session, null)
  ids.push(endpointId, eventId, session.id)
  before = await rowsOf(victim.environmentId)
})

function changeBy(digest: Bytes): Change {
  const now = Date.now()
  const caller = { kind: 'api_key' as const, digest }
  return { caller, eventId: newId('event', now), requestId: 'r', now, origin: null }
}

/** Every row of an environment, in every table that has environments' rows. */
async function rowsOf(environmentId: string): Promise<unknown> {
  const tables = await env.DB.prepare(
    `SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%environment_id TEXT%' ORDER BY name`,
  ).all<{ name: string }>()
  const names = tables.results.map(({ name }) => name)
  expect(names).toEqual(
    expect.arrayContaining(['api_keys', 'applications', 'client_secrets', 'events', 'idempotency_records', 'sessions']),
  )
  expect(names).toEqual(expect.arrayContaining(['webhook_deliveries', 'webhook_endpoints']))
  const rows = await env.DB.batch(
    [...names.map((name) => `${name} WHERE environment_id`), 'environments WHERE id'].map((rows) =>
      env.DB.prepare(`SELECT * FROM ${rows} = ?`).bind(environmentId),
    ),
  )
  return rows.map(({ results }, i) =>
    names[i] === 'api_keys' ? results.map((row) => ({ ...(row as object), last_used_at: null })) : results,
  )
}

interface Attempt {
  readonly database: Database
  readonly caller: Caller
  readonly change: Change
  /** An id of the victim's, tried wherever an id is asked for. */
  readonly id: string
}

/** Names the victim's own record, as no stranger can: it is a digest of the victim's API key. */
async function requestOfTheVictim(): Promise<KeyedRequest> {
  return {
    digest: await idempotencyDigest(victim.digest, 'of-the-victim'),
    requestDigest: await sha256('another request'),
    salt: newSalt(),
    prefix: 'cs',
  }
}

async function newClientSecret(application: string): Promise<issuing.NewClientSecret & issuing.SecretLimits> {
  const digest = await sha256(crypto.randomUUID())
  const limits = { scopes: null, allowedIps: null }
  return {
    id: newId('secret', Date.now()),
    application,
    digest,
    hint: 'abcdef',
    name: null,
    expiresAt: null,
    ...limits,
  }
}

/** How to call each function with a known ID. */
const functions: Record<string, (attempt: Attempt) => Promise<unknown>> = {
  identify: ({ database, caller }) => batch.identify(database, caller, 'write'),
  createApplication: async ({ database, change }) =>
    applications.createApplication(
      database,
      change,
      {
        id: newId('conn_app', change.now),
        clientId: newId('client', change.now),
        applicationType: 'm2m',
        name: 'x',
        description: null,
        scopes: [],
        organizationId: 'org_1',
        redirectUris: [],
        usesPkce: false,
        isFirstParty: false,
      },
      100,
      await requestOfTheVictim(),
    ),
  findApplication: ({ database, caller, id }) => applications.findApplication(database, caller, id),
  listApplications: ({ database, caller, id }) =>
    applications.listApplications(database, caller, {
      limit: 100,
      order: 'asc',
      cursor: { id, side: 'after' },
      organizationId: null,
    }),
  findApplicationWithSecrets: ({ database, caller, change, id }) =>
    clientSecrets.findApplicationWithSecrets(database, caller, id, change.now),
  startSession: async ({ database, change, id }) =>
    sessions.startSession(
      database,
      change,
      {
        id: id.startsWith('session_') ? id : newId('session', change.now),
        digest: await sha256(crypto.randomUUID()),
      },
      null,
    ),
  endOwnSession: ({ database, change }) => sessions.endOwnSession(database, change),
  listCallers: ({ database, caller }) => sessions.listCallers(database, caller),
  createCallerKey: async ({ database, change }) => {
    const digest = await sha256(crypto.randomUUID())
    const key = { id: newId('api_key', change.now), name: 'x', access: 'read' as const, digest }
    return apiKeys.createCallerKey(database, change, key, await requestOfTheVictim())
  },
  renameCallerKey: ({ database, change, id }) => apiKeys.renameCallerKey(database, change, id, 'x'),
  revokeCallerKey: ({ database, change, id }) => apiKeys.revokeCallerKey(database, change, id),
  endSession: ({ database, change, id }) => sessions.endSession(database, change, id),
  updateApplication: ({ database, change, id }) => applications.updateApplication(database, change, id, { name: 'x' }),
  deleteApplication: ({ database, change, id }) => applications.deleteApplication(database, change, id),
  createClientSecret: async ({ database, change, id }) =>
    issuing.createClientSecret(database, change, await newClientSecret(id), 100, await requestOfTheVictim()),
  rotateClientSecrets: async ({ database, change, id }) =>
    issuing.rotateClientSecrets(
      database,
      change,
      await newClientSecret(id),
      change.now,
      100,
      await requestOfTheVictim(),
    ),
  replaceClientSecret: async ({ database, change, id }) =>
    issuing.replaceClientSecret(database, change, await newClientSecret(id), id, 100, await requestOfTheVictim()),
  findClientSecret: ({ database, caller, id }) => clientSecrets.findClientSecret(database, caller, id),
  findClientSecretsByHint: ({ database, caller, change }) =>
    clientSecrets.findClientSecretsByHint(database, caller, secretHint, change.now),
  updateClientSecret: ({ database, change, id }) =>
    clientSecrets.updateClientSecret(
      database,
      change,
      { id },
      { name: 'x', expiresAt: null, disabled: true, scopes: null, allowedIps: ['::1'] },
      100,
    ),
  revokeAllClientSecrets: ({ database, change, id }) => clientSecrets.revokeAllClientSecrets(database, change, id),
  revokeClientSecret: ({ database, change, id }) => clientSecrets.revokeClientSecret(database, change, { id }),
  listEvents: ({ database, caller, id }) =>
    events.listEvents(database, caller, {
      limit: 100,
      order: 'asc',
      cursor: id.startsWith('event_') ? { id, side: 'after' } : null,
      types: [],
      organizationId: null,
      from: null,
      until: null,
    }),
  listSecrets: ({ database, caller, change, id }) =>
    inventory.listSecrets(
      database,
      caller,
      { limit: 100, order: 'used', cursor: { id, side: 'after' }, filter: { ...NO_FILTER, applicationId: id } },
      change.now,
    ),
  surveySecrets: ({ database, caller, change }) =>
    inventory.surveySecrets(
      database,
      caller,
      { limit: 100, order: 'desc', cursor: null, filter: { ...NO_FILTER, hint: secretHint } },
      change.now,
    ),
  findSecrets: ({ database, caller, change, id }) => bulk.findSecrets(database, caller, [id], change.now),
  changeSecrets: ({ database, change, id }) => bulk.changeSecrets(database, change, [id, 'secret_x'], 'revoke'),
  findAnything: ({ database, caller, change, id }) =>
    find.findAnything(database, caller, { hint: secretHint, text: id }, change.now),
  findSecretDetails: ({ database, caller, change, id }) =>
    secretDetails.findSecretDetails(database, caller, id, change.now),
  findEnvironment: ({ database, caller }) => environments.findEnvironment(database, caller, 'read'),
  changeEnvironment: ({ database, change }) =>
    environments.changeEnvironment(database, change, environments.changeOfEnvironment({ frozen: false }, change.now)),
  listWebhooks: ({ database, caller }) => webhooks.listWebhooks(database, caller, 100),
  reviveEndpoint: ({ database, change, id }) => webhooks.reviveEndpoint(database, change, id),
  reviveDelivery: ({ database, change, id }) => webhooks.reviveDelivery(database, change, { endpointId: id, eventId }),
  verifyClientSecret: ({ database, caller, change }) =>
    authentication.verifyClientSecret(
      database,
      caller,
      { digest: secretDigest, clientId: null, address: null, now: change.now },
      { address: null, country: null, userAgent: null },
    ),
}

/** Makes statements, or parts of them, and sends nothing. */
const BUILDERS = [
  'runBatch',
  'runChange',
  'selectVerdict',
  'selectChangeVerdict',
  'selectApplicationCount',
  'selectCallerKeys',
  'select',
  'selectCaller',
  'selectFromFirst',
  'selectSorted',
  'insert',
  'insertInto',
  'insertRecord',
  'insertSession',
  'update',
  'updateDependent',
  'updateEach',
  'updateEnvironment',
  'updateUnstamped',
  'countApplications',
  'nextSeq',
  'recordAuditEvent',
  'recordEvent',
  'recordEventOfEach',
  'touchCaller',
]
const FRAGMENTS = [
  'allOf',
  'areScopesKnown',
  'changeOfEnvironment',
  'countAgainstLimit',
  'deliveryCount',
  'dependentScope',
  'endsIn',
  'environmentOf',
  'eventExists',
  'inEnvironmentOf',
  'scopeOf',
  'scopeOfChange',
  'gone',
  'keyRow',
  'inPeriod',
  'inTime',
  'isFrozen',
  'isLatest',
  'isLatestOfEnvironment',
  'joinLiveApplication',
  'limitTo',
  'liveAt',
  'matchesApplication',
  'ownKey',
  'revived',
  'touchedSecrets',
  'useDue',
  'wantedByWebhook',
  'endpointFromRow',
  'eventFromRow',
]
/**
 * Asked by clients, who have no API key and reach what their own secret leads to (see test/oauth), and by anyone who has
 * found a credential (see test/connect/leaks).
 */
const OF_CLIENTS = [
  'authenticateClient',
  'authenticateIntrospection',
  'handleLeaks',
  'recordRefusedUse',
  'touchClientSecret',
]

test('these tests try every storage function that a caller can reach', () => {
  const exported = [
    apiKeys,
    applications,
    batch,
    clientSecrets,
    inventory,
    bulk,
    find,
    leaks,
    environments,
    secretDetails,
    issuing,
    events,
    webhooks,
    authentication,
    sessions,
    statements,
    eventStatements,
    verdicts,
    scope,
  ].flatMap((module) => Object.entries(module).flatMap(([name, value]) => (typeof value === 'function' ? [name] : [])))
  expect([...Object.keys(functions), ...BUILDERS, ...FRAGMENTS, ...OF_CLIENTS].sort()).toEqual(exported.sort())
})

describe.each(Object.entries(functions))('the storage function %s', (_, attempt) => {
  test('the function neither reads nor changes another environment', async () => {
    for (const id of ids) {
      const change = changeBy(stranger.digest)
      const { caller } = change
      const outcome = await attempt({ database: operatorDatabase(), caller, change, id })
      const seen = JSON.stringify(outcome)
      for (const other of ids) expect(seen).not.toContain(other)
    }
    expect(await rowsOf(victim.environmentId)).toEqual(before)
  })
})

const routes = [
  ...new Set(app.routes.filter(({ method }) => method !== 'ALL').map((route) => `${route.method} ${route.path}`)),
]

describe.each(routes.filter((route) => route.includes('/connect/')))('%s', (route) => {
  const [method = '', template = ''] = route.split(' ')

  test('the response for an ID of another environment is the same as for an unknown ID', async () => {
    for (const id of ids) {
      const ask = async (named: string) => {
        const query = template.includes(':id') ? '' : `?after=${named}`
        const path = template.replace(':id', named) + query
        const body =
          method === 'GET' ? {} : { body: { ...m2mApplication, id: named, environment_id: victim.environmentId } }
        const { status, text } = await call(stranger.apiKey, method, path, body)
        return { status, text: text.replaceAll(named, 'ID') }
      }
      const [theirs, unknown] = [await ask(id), await ask(`${id.slice(0, -3)}000`)]
      if (theirs.status >= 300) expect(theirs).toEqual(unknown)
      for (const other of ids) expect(theirs.text).not.toContain(other)
    }
    expect(await rowsOf(victim.environmentId)).toEqual(before)
  })
})

test('the owner of the other environment finds its application and its secret', async () => {
  const [application, clientId, secret] = ids
  expect((await call(victim.apiKey, 'GET', `/connect/applications/${clientId}`)).json.id).toBe(application)
  const listed = await call(victim.apiKey, 'GET', `/connect/applications/${application}/client_secrets`)
  expect(listed.json.map(({ id }: { id: string }) => id)).toEqual([secret])
})
