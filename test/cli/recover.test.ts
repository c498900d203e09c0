import { describe, expect, test } from 'vitest'
import { CloudflareError } from '../../src/cli/cloudflare-api.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { managementOf } from '../conformance/management.ts'
import { forgetOperatorEvents, home, newApiKey, operatorDatabase } from '../operator.ts'
import { randomFrom } from '../random.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'
import { seed, size } from '../sizes.ts'
import { newFolder } from './folder.ts'
import { populate, requestToken } from './populated.ts'
import { recoveryOf } from './recovering.ts'
import { keep } from './snapshots.ts'

/** `npm run recover -- --remote`. A local database: recover-local.test.ts. */

/** Two Workers over one database: the one that is deployed, and its version that is closed for maintenance. */
const served = await serve({
  workers: 2,
  tokens: 'ES256',
  rateLimits: false,
  vars: (worker) => (worker === 1 ? { MAINTENANCE: 'true' } : {}),
})
const { database, origins } = served
const [open, closed = open] = origins
// Other tests check the contract of each response, and here the check would take most of the time.
const { fetch } = globalThis

const SECRETS = size(100, 10_000)
const one = await populate({ ...served, origins: [open] }, { bulk: SECRETS })
const { manage, application } = one

const createApplication = async () => (await manage('POST', '/connect/applications', { body: m2mApplication })).json
const createSecret = async (applicationId: string) => (await manage('POST', secretsOf(applicationId))).json
async function signIn(apiKey: string): Promise<string> {
  const body = new URLSearchParams({ api_key: apiKey })
  const init = { method: 'POST', body, headers: { Origin: open }, redirect: 'manual' } as const
  const response = await fetch(`${open}/dashboard/sign-in`, init)
  return `${response.headers.get('Set-Cookie')?.split(';')[0]}`
}

// The state at the time to which the database is restored.
const deletedApplication = await createApplication()
const secretOfDeleted = await createSecret(deletedApplication.id)
const [late, lateDisabled] = [await one.newSecret(), await one.newSecret()]
const limitedApplication = (
  await manage('POST', '/connect/applications', { body: { ...m2mApplication, scopes: ['a', 'b', 'c'] } })
).json
const createLimited = async (body: object) =>
  (await manage('POST', secretsOf(limitedApplication.id), { body })).json as { id: string }
const narrowed = await createLimited({})
const replaced = await createLimited({ scopes: ['a', 'b'], allowed_ips: ['10.0.0.0/8', '::1'] })
const widened = await createLimited({ scopes: ['a'], allowed_ips: ['::1'] })
const hour = Date.now() + 3_600_000
const expiringApplication = await createApplication()
const expiring = await createSecret(expiringApplication.id)
const enabled = await createSecret(expiringApplication.id)
await manage('PATCH', `/connect/client_secrets/${enabled.id}`, {
  body: { disabled: true, expires_at: new Date(hour).toISOString() },
})
const key = await newApiKey(database, { environmentId: one.environmentId })
const cookie = await signIn(one.apiKey)
const frozen = await newApiKey(database)
const policy = await newApiKey(database)
await managementOf(served, policy.apiKey)('PATCH', '/connect/environment', {
  body: { leak_reaction: 'disable', max_lifetime_days: 30, max_unused_days: 30 },
})
const [leaked, leakedKey] = [await createLimited({}), await newApiKey(database, { environmentId: one.environmentId })]
const leakedEndpoint = newId('we', Date.now(), home.region)
await createWebhookEndpoint(operatorDatabase(database), {
  ...{ id: leakedEndpoint, environmentId: one.environmentId, url: 'https://hooks.example/', events: [] },
  ...{ secret: 'whsec_leaked', createdAt: Date.now() },
})
await forgetOperatorEvents(database)
const { access_token: token } = await fetch(`${open}/oauth2/token`, {
  method: 'POST',
  body: new URLSearchParams({
    ...{ grant_type: 'client_credentials', client_id: application.client_id, client_secret: late.secret },
  }),
}).then((response) => response.json<{ access_token: string }>())
const { restore } = await keep(database, 'then')
const time = new Date()

// The changes after that time.
await manage('DELETE', `/connect/client_secrets/${late.id}`)
await manage('PATCH', `/connect/client_secrets/${lateDisabled.id}`, { body: { disabled: true } })
await manage('PATCH', `/connect/client_secrets/${expiring.id}`, { body: { expires_at: new Date(hour).toISOString() } })
await manage('PUT', `/connect/applications/${application.id}`, { body: { scopes: ['a', 'added'] } })
await manage('DELETE', `/connect/applications/${deletedApplication.id}`)
for (const [{ id }, body] of [
  [narrowed, { scopes: ['a'], allowed_ips: ['10.1.0.0/16'] }],
  [replaced, { scopes: ['b', 'c'], allowed_ips: ['::1'] }],
  [widened, { scopes: ['a', 'b'], allowed_ips: null }],
] as const) {
  await manage('PATCH', `/connect/client_secrets/${id}`, { body })
}
await database.batch([
  database.prepare('UPDATE sessions SET ended_at = ?1').bind(Date.now()),
  database
    .prepare("UPDATE environments SET frozen_at = ?1, leak_reaction = 'revoke' WHERE id = ?2")
    .bind(Date.now(), frozen.environmentId),
  database
    .prepare(
      "UPDATE environments SET leak_reaction = 'notify', max_lifetime_days = 20, max_unused_days = NULL WHERE id = ?",
    )
    .bind(policy.environmentId),
  ...[
    ['client_secrets', leaked.id, ', disabled_at = ?1, updated_at = ?1'],
    ['api_keys', leakedKey.id, ', revoked_at = ?1'],
    ['webhook_endpoints', leakedEndpoint, ''],
  ].map(([table, id, effect]) =>
    database
      .prepare(
        `UPDATE ${table} SET leak_reported_at = ?1, leak_source = 'https://paste.example/1' ${effect} WHERE id = ?2`,
      )
      .bind(Date.now(), id),
  ),
  database.prepare('UPDATE api_keys SET revoked_at = ?1 WHERE id = ?2').bind(Date.now(), key.id),
  database
    .prepare("UPDATE webhook_endpoints SET deleted_at = ?1, secret = '' WHERE id = ?2")
    .bind(Date.now(), one.endpoint.id),
  database
    .prepare('UPDATE client_secrets SET revoked_at = ?1, updated_at = ?1 WHERE application_id = ?2')
    .bind(Date.now(), one.large.id),
])
await manage('PATCH', `/connect/client_secrets/${enabled.id}`, { body: { disabled: false, expires_at: null } })
const newApplication = await createApplication()
const newSecret = await createSecret(newApplication.id)
const newKey = await newApiKey(database, { environmentId: one.environmentId })
const live = await keep(database, 'live')

const recoveryIn = (folder: string, hook?: (call: string) => Promise<void>) =>
  recoveryOf({ database, open, closed, time, restore }, folder, hook)

/** The answers to credentials that were revoked, disabled or deleted after that time. */
async function answersTo(origin: string): Promise<Record<string, number | string>> {
  const ask = async (path: string, init: RequestInit = {}) =>
    (await fetch(origin + path, { redirect: 'manual', ...init })).status
  const bearer = (apiKey: string) => ({
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
  })
  const verifying = JSON.stringify({ client_id: application.client_id, client_secret: late.secret })
  const verified = await fetch(`${origin}/connect/client_secrets/verify`, {
    method: 'POST',
    body: verifying,
    ...bearer(one.apiKey),
  })
  const introspecting = new URLSearchParams({ token, client_id: application.client_id, client_secret: one.used.secret })
  const introspected = await fetch(`${origin}/oauth2/introspection`, { method: 'POST', body: introspecting })
  const tokenFor = (clientId: string, secret: string) => requestToken({ ...served, fetch }, clientId, secret, origin)
  return {
    revoked: await tokenFor(application.client_id, late.secret),
    disabled: await tokenFor(application.client_id, lateDisabled.secret),
    deleted: await tokenFor(deletedApplication.client_id, secretOfDeleted.secret),
    bulk: await tokenFor(one.large.client_id, `${one.secrets.at(-1)?.secret}`),
    verify: verified.ok ? JSON.stringify(await verified.json()) : verified.status,
    introspection: introspected.ok ? JSON.stringify(await introspected.json()) : introspected.status,
    key: await ask('/connect/applications', bearer(key.apiKey)),
    session: await ask('/dashboard', { headers: { Cookie: cookie } }),
  }
}

const REFUSED = {
  ...{ revoked: 401, disabled: 401, deleted: 401, bulk: 401 },
  ...{ verify: '{"valid":false}', introspection: '{"active":false}', key: 401, session: 303 },
}
const CLOSED = Object.fromEntries(Object.keys(REFUSED).map((name) => [name, 503]))

/** The reactions to the leak reports after that time, by the type of the event. */
const REACTIONS: Readonly<Record<string, string>> = {
  'connect_application_secret.leaked': 'disable',
  'api_key.leaked': 'revoke',
  'webhook_endpoint.leaked': 'notify',
}

/** This must be true after every recovery, however often it was interrupted. */
async function expectRecovered(): Promise<void> {
  const row = (table: string, id: string) => database.prepare(`SELECT * FROM ${table} WHERE id = ?`).bind(id).first()
  for (const id of [late.id, lateDisabled.id, expiring.id, secretOfDeleted.id]) {
    const { revoked_at, disabled_at, expires_at } = (await row('client_secrets', id)) ?? {}
    expect({ revoked_at, disabled_at, expires_at }).toEqual(
      Object.fromEntries(
        Object.entries((await live.row('client_secrets', id)) ?? {}).filter(([name]) =>
          /^(revoked|disabled|expires)_at$/.test(name),
        ),
      ),
    )
  }
  for (const [{ id }, allowed_scopes, allowed_ips] of [
    [narrowed, '["a"]', '["10.1.0.0/16"]'],
    [replaced, '["b","c"]', '["::1"]'],
    [widened, '["a"]', '["::1"]'],
  ] as const) {
    expect(await row('client_secrets', id)).toMatchObject({ allowed_scopes, allowed_ips })
  }
  expect(await row('applications', application.id)).toMatchObject({ scopes: '["a"]', deleted_at: null })
  expect((await row('applications', deletedApplication.id))?.deleted_at).toEqual(expect.any(Number))
  expect((await row('api_keys', key.id))?.revoked_at).toEqual(expect.any(Number))
  expect(await row('environments', frozen.environmentId)).toMatchObject({
    frozen_at: expect.any(Number),
    leak_reaction: 'revoke',
  })
  expect(await row('environments', policy.environmentId)).toMatchObject({
    ...{ frozen_at: null, leak_reaction: 'disable', max_lifetime_days: 20, max_unused_days: 30 },
  })
  const report = { leak_reported_at: expect.any(Number), leak_source: 'https://paste.example/1' }
  expect(await row('client_secrets', leaked.id)).toMatchObject({ ...report, disabled_at: expect.any(Number) })
  expect(await row('api_keys', leakedKey.id)).toMatchObject({ ...report, revoked_at: expect.any(Number) })
  expect(await row('webhook_endpoints', leakedEndpoint)).toMatchObject({
    ...{ ...report, deleted_at: null, secret: 'whsec_leaked' },
  })
  expect(await row('webhook_endpoints', one.endpoint.id)).toMatchObject({ deleted_at: expect.any(Number), secret: '' })
  for (const [table, { id }] of [
    ['applications', newApplication],
    ['client_secrets', newSecret],
    ['api_keys', newKey],
  ] as const) {
    expect(await row(table, id)).toBeNull()
  }
  const { results } = await database
    .prepare(
      "SELECT type, count(*) AS count FROM events WHERE actor_type = 'operator' AND seq > ?1 GROUP BY type ORDER BY type",
    )
    .bind(time.getTime() * 1000)
    .all()
  expect(results).toEqual([
    { type: 'api_key.leaked', count: 1 },
    { type: 'api_key.revoked', count: 1 },
    { type: 'connect_application.deleted', count: 1 },
    { type: 'connect_application.updated', count: 1 },
    { type: 'connect_application_secret.deleted', count: SECRETS + 2 },
    { type: 'connect_application_secret.leaked', count: 1 },
    { type: 'connect_application_secret.updated', count: 4 },
    { type: 'environment.frozen', count: 1 },
    { type: 'environment.updated', count: 1 },
    { type: 'session.revoked', count: 1 },
    { type: 'webhook_endpoint.deleted', count: 1 },
    { type: 'webhook_endpoint.leaked', count: 1 },
  ])
  const count = await row('environments', one.environmentId)
  const counted = await database
    .prepare('SELECT count(*) AS count FROM applications WHERE environment_id = ? AND deleted_at IS NULL')
    .bind(one.environmentId)
    .first()
  expect(count?.application_count).toBe(counted?.count)
  expect(await answersTo(open)).toEqual(REFUSED)
  // Active secrets obtain tokens again.
  expect(await requestToken({ ...served, fetch }, application.client_id, one.used.secret)).toBe(200)
  // The contract of each event is checked, too.
  for (const { type } of results) {
    const owner = { 'environment.frozen': frozen, 'environment.updated': policy }[`${type}`]
    const reader = owner ? managementOf(served, owner.apiKey) : manage
    const { json } = await reader('GET', `/events?order=desc&limit=1&events=${type}`)
    expect(json.data[0].context.actor, `${type}`).toBe('operator')
    const reaction = REACTIONS[`${type}`]
    if (reaction) expect(json.data[0].data).toMatchObject({ reaction, source: 'https://paste.example/1' })
    if (type === 'environment.updated') {
      expect(json.data[0].data).toMatchObject({ leak_reaction: 'disable', max_lifetime_days: 20, max_unused_days: 30 })
    }
  }
  expect((await manage('PUT', `/connect/applications/${application.id}`, { body: { name: 'again' } })).status).toBe(200)
}

describe('the recovery of the deployed database', () => {
  test('during a recovery, revoked credentials are always refused, and the report lists the lost data', async () => {
    await live.restore()
    expect(await answersTo(open)).toEqual(REFUSED)
    const answers: string[] = []
    const folder = await newFolder()
    const recovery = recoveryIn(folder, async (call) => {
      const { isClosed } = recovery.state
      const found = await answersTo(isClosed ? closed : open)
      answers.push(`${call}: ${isClosed ? 'closed' : 'open'}`)
      expect(found, call).toEqual(isClosed ? CLOSED : REFUSED)
    })
    const report = await recovery.run()
    expect(answers).toContain('POST /d1/database/1/time_travel/restore: closed')
    expect(answers.at(-1)).toBe('fetch: open')
    await expectRecovered()
    expect(report.applied).toEqual({
      applications: 2,
      client_secrets: SECRETS + 7,
      environments: 2,
      api_keys: 2,
      sessions: 1,
      webhook_endpoints: 2,
    })
    expect(report.gone.map(({ type, id }) => `${type} ${id}`)).toEqual([
      `applications ${newApplication.id}`,
      `client_secrets ${newSecret.id}`,
      `api_keys ${newKey.id}`,
    ])
    expect(report.undone.map(({ type, id, changes }) => [type, id, changes])).toEqual([
      [
        'environments',
        policy.environmentId,
        {
          leak_reaction: { before: 'notify', restored: 'disable' },
          max_unused_days: { before: null, restored: 30 },
        },
      ],
      ['applications', application.id, { scopes: { before: '["a","added"]', restored: '["a"]' } }],
      [
        'client_secrets',
        widened.id,
        {
          allowed_scopes: { before: '["a","b"]', restored: '["a"]' },
          allowed_ips: { before: null, restored: '["::1"]' },
        },
      ],
      [
        'client_secrets',
        enabled.id,
        {
          disabled_at: { before: null, restored: expect.any(Number) },
          expires_at: { before: null, restored: hour },
        },
      ],
    ])
    expect(report.gone[1]).toMatchObject({ secret_hint: newSecret.secret_hint, application_id: newApplication.id })
    expect(report.undo).toBe(
      'npx wrangler d1 time-travel restore oncekey --bookmark=undo, then npm run recover -- --cancel --remote',
    )
    expect(recovery.output.stderr).toContain('--bookmark=undo')
    const all = JSON.stringify(report) + recovery.output.stderr
    for (const { secret } of [newSecret, late]) expect(all).not.toContain(secret)
  })

  test('from its start to its end, a recovery makes the database refuse changes, so that none is lost', async () => {
    await live.restore()
    let hasBegun = false
    const recovery = recoveryIn(await newFolder(), async (call) => {
      hasBegun ||= call === 'd1'
      if (!hasBegun) return
      const origin = recovery.state.isClosed ? closed : open
      const { status } = await manage('DELETE', `/connect/client_secrets/${one.used.id}`, { origin })
      if (call !== 'fetch' || recovery.state.isClosed) expect(status, call).toBe(503)
    })
    // The last hooks run when the Worker is open again.
    await recovery.run().catch((error) => expect(error.message).toContain('expected 204 to be 503'))
  })

  test('after an interruption of a recovery at any call, revoked credentials are refused, and the next run completes', {
    timeout: size(300_000, 3_600_000),
  }, async () => {
    await live.restore()
    const calls: string[] = []
    await recoveryIn(await newFolder(), async (call) => void calls.push(call)).run()
    expect(calls.length).toBeGreaterThan(20)
    // One interruption in each part of the calls, and one right after the restore.
    const random = randomFrom(seed)
    const parts = size(6, 24)
    const drawn = Array.from({ length: parts }, (_, i) => 1 + Math.floor(((i + random()) / parts) * calls.length))
    const moments = [calls.indexOf('POST /d1/database/1/time_travel/restore') + 1, ...drawn]
    for (const moment of moments) {
      await live.restore()
      let count = 0
      const recovery = recoveryIn(await newFolder(), async (call) => {
        if (++count !== moment) return
        const { isClosed } = recovery.state
        expect(await answersTo(isClosed ? closed : open), call).toEqual(isClosed ? CLOSED : REFUSED)
        throw new Error('The process was killed.')
      })
      await recovery.run().then(
        // The command repeats a request to the Worker whose answer does not arrive.
        () => expect(calls[moment - 1]).toBe('fetch'),
        (error) => expect(error.message).toContain('killed'),
      )
      await recovery.run()
      await expectRecovered()
    }
  })

  test('a recovery can be cancelled before the restore, but not after the restore has begun', async () => {
    await live.restore()
    const until = async (call: string, folder: string) => {
      const recovery = recoveryIn(folder, async (each) => {
        if (each === call) throw new Error('The process was killed.')
      })
      await expect(recovery.run()).rejects.toThrow('killed')
      return recovery
    }
    const folder = await newFolder()
    const early = await until('PATCH /workers/scripts/oncekey/secrets-bulk', folder)
    await expect(recoveryIn(folder).run(new Date(1))).rejects.toThrow(
      /A recovery of oncekey to .* was interrupted\. Nothing was changed\. Finish it with --to .*, or end it with --cancel\./,
    )
    const cancelling = recoveryIn(folder)
    cancelling.state.isClosed = early.state.isClosed
    expect(await cancelling.cancel()).toBe('oncekey accepts changes.')
    expect(cancelling.state.isClosed).toBe(false)
    const path = `/connect/applications/${application.id}`
    expect((await manage('PUT', path, { body: { name: 'cancelled' } })).status).toBe(200)
    await live.restore()
    const other = await newFolder()
    await until('POST /d1/database/1/time_travel/restore', other)
    const late = recoveryIn(other)
    await expect(late.cancel()).rejects.toThrow('The restore of oncekey has begun, so secrets that were revoked may be')
    late.state.isClosed = true
    await late.run()
    await expectRecovered()
  })

  test('while several versions share the requests, recover changes nothing, and a later run with one version completes', async () => {
    await live.restore()
    const recovery = recoveryIn(await newFolder())
    recovery.state.serving = [
      { version_id: 'v1', percentage: 90 },
      { version_id: 'v2', percentage: 10 },
    ]
    await expect(recovery.run()).rejects.toThrow(
      /^Several versions of the Worker serve requests, and each has its own secrets: v1 \(90 %\), v2 \(10 %\)\. Nothing was changed\./,
    )
    const path = `/connect/applications/${application.id}`
    expect((await manage('PUT', path, { body: { name: 'split' } })).status).toBe(200)
    recovery.state.serving = [{ version_id: 'v2', percentage: 100 }]
    await recovery.run()
    await expectRecovered()
  })

  test('if the newest version does not serve (error 10215), recover stops before the restore, and a later run completes', async () => {
    await live.restore()
    let isRefused = true
    const folder = await newFolder()
    const recovery = recoveryIn(folder, async (call) => {
      if (!isRefused || !call.startsWith('PATCH')) return
      recovery.state.isClosed = false
      throw new CloudflareError('The latest version is not deployed.', 10215)
    })
    await expect(recovery.run()).rejects.toThrow(
      /^No secret was changed, because the newest version of the Worker does not serve all requests: v1 \(100 %\) does\./,
    )
    expect(await answersTo(open)).toEqual(REFUSED)
    isRefused = false
    await recovery.run()
    await expectRecovered()
  })

  test('recover restores nothing if the Worker is too old for the setting MAINTENANCE', async () => {
    await live.restore()
    const recovery = recoveryIn(await newFolder(), async () => {
      recovery.state.isClosed = false
    })
    await expect(recovery.run()).rejects.toThrow(
      /is not closed after two minutes \(200\)\. If its version is older than this command, run `npm run deploy` first\./,
    )
    const environment = "INSERT INTO environments (id, client_id, name, created_at) VALUES ('a', 'b', 'c', 1)"
    await expect(database.prepare(environment).run()).rejects.toThrow(/frozen/)
  })
})
