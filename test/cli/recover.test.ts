import { copyFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CloudflareError } from '../../src/cli/cloudflare-api.ts'
import { Failure, runSteps } from '../../src/cli/command.ts'
import { useFolder } from '../../src/cli/folder-lock.ts'
import { openLocalRegions } from '../../src/cli/local-database.ts'
import { recoveryFiles } from '../../src/cli/recovery-state.ts'
import { cancelRecovery, type Report, recoverySteps } from '../../src/cli/recovery-steps.ts'
import { timeTravel } from '../../src/cli/remote-recovery.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { managementOf } from '../conformance/management.ts'
import { forgetOperatorEvents, home, newApiKey, operatorDatabase } from '../operator.ts'
import { m2mApplication, secretsOf } from '../requests.ts'
import { type Served, serve } from '../served.ts'
import { size } from '../sizes.ts'
import { newFolder } from './folder.ts'
import { populate, requestToken } from './populated.ts'
import { restore, snapshotOf } from './snapshots.ts'
import { cli, contextOf, regionsOf } from './terminal.ts'

/** Two Workers over one database: the one that is deployed, and its version that is closed for maintenance. */
const served = await serve({
  workers: 2,
  tokens: 'ES256',
  rateLimits: false,
  vars: (worker) => (worker === 1 ? { MAINTENANCE: 'true' } : {}),
})
const { database, origins } = served
const [open, closed = open] = origins
// Each test checks the contract elsewhere, and here it would take most of the time.
const { fetch } = globalThis

const migrations = (await readdir('src/storage/migrations')).map((name) => ({ name }))

const SECRETS = size(300, 10_000)
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

// Before TIME: everything is active.
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
const atTime = await snapshotOf(database)
const TIME = new Date()

// After TIME.
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
const live = await snapshotOf(database)

/** Cloudflare, as far as a recovery reaches it. `hook` runs after each call and each D1 request of the command. */
function cloudflare(folder: string, hook: (call: string) => Promise<void>) {
  const state = { isClosed: false, calls: 0, serving: [{ version_id: 'v1', percentage: 100 }] }
  const called = async <T>(call: string, result: T): Promise<T> => {
    state.calls++
    await hook(call)
    return result
  }
  const call = async <T>(method: string, path: string, body?: object | string): Promise<T> => {
    const answers = new Map<string, () => unknown>([
      ['GET /d1/database/oncekey', () => ({ uuid: '1', name: 'oncekey' })],
      ['GET /d1/database/1/time_travel/bookmark', () => ({ bookmark: path.includes('timestamp=') ? 'point' : 'undo' })],
      ['POST /d1/database/1/time_travel/restore', () => restore(database, atTime)],
      ['POST /d1/database/1/query', () => [{ results: migrations }]],
      ['GET /workers/scripts/oncekey/deployments', () => ({ deployments: [{ versions: state.serving }] })],
      [
        'PATCH /workers/scripts/oncekey/secrets-bulk',
        () => {
          state.isClosed = JSON.stringify(body).includes('"text":"true"')
        },
      ],
    ])
    const name = `${method} ${path.replace(/\?.*/, '')}`
    if (path.includes('restore')) expect(path).toContain('bookmark=point')
    expect([...answers.keys()]).toContain(name)
    return called(name, (await answers.get(name)?.()) as T)
  }
  const hooked = {
    prepare: (sql: string) => database.prepare(sql),
    batch: async (statements: D1PreparedStatement[]) => called('d1', await database.batch(statements)),
  } as unknown as D1Database
  const { context, output } = contextOf({
    platform: {
      login: async () => ({ id: 'a', description: '', call }),
      openRegions: async () => regionsOf(hooked),
      fetch: async () => called('fetch', await fetch(`${state.isClosed ? closed : open}/readyz`)),
      sleep: () => called('sleep', undefined),
    },
  })
  const target = timeTravel(
    context,
    { name: 'oncekey', issuer: open, accountId: undefined },
    {
      ...{ digit: home.region, binding: 'DB', databaseName: 'oncekey', localId: 'DB' },
    },
  )
  const files = recoveryFiles(folder)
  return {
    state,
    output,
    cancel: () => cancelRecovery(target, files),
    run: async (to = TIME): Promise<Report> => {
      const { steps, report } = recoverySteps(context, target, files, to)
      await runSteps(context, steps, 'npm run recover')
      return report()
    },
  }
}

/** The answers to everything that was revoked, disabled or deleted after TIME. */
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

/** The reactions of the reports after TIME. */
const REACTIONS: Readonly<Record<string, string>> = {
  'connect_application_secret.leaked': 'disable',
  'api_key.leaked': 'revoke',
  'webhook_endpoint.leaked': 'notify',
}

/** This must be true after every recovery, however often it was interrupted. */
async function expectRecovered(): Promise<void> {
  const row = (table: string, id: string) => database.prepare(`SELECT * FROM ${table} WHERE id = ?`).bind(id).first()
  const before = (table: string, id: string) =>
    live.find(({ name }) => name === table)?.rows.find((each) => (each as { id: string }).id === id)
  for (const id of [late.id, lateDisabled.id, expiring.id, secretOfDeleted.id]) {
    const { revoked_at, disabled_at, expires_at } = (await row('client_secrets', id)) ?? {}
    expect({ revoked_at, disabled_at, expires_at }).toEqual(
      Object.fromEntries(
        Object.entries(before('client_secrets', id) ?? {}).filter(([name]) =>
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
    .bind(TIME.getTime() * 1000)
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
  // Everything that worked before works again, changes included.
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

describe('the deployed database', () => {
  test('revoked credentials are refused whenever the Worker answers, and the report names what is gone', async () => {
    await restore(database, live)
    expect(await answersTo(open)).toEqual(REFUSED)
    const answers: string[] = []
    const folder = await newFolder()
    const recovery = cloudflare(folder, async (call) => {
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

  test('a recovery loses no change: the database refuses changes until its end', async () => {
    await restore(database, live)
    let hasBegun = false
    const recovery = cloudflare(await newFolder(), async (call) => {
      hasBegun ||= call === 'd1'
      if (!hasBegun) return
      const origin = recovery.state.isClosed ? closed : open
      const { status } = await manage('DELETE', `/connect/client_secrets/${one.used.id}`, { origin })
      if (call !== 'fetch' || recovery.state.isClosed) expect(status, call).toBe(503)
    })
    // The last hooks run when the Worker is open again.
    await recovery.run().catch((error) => expect(error.message).toContain('expected 204 to be 503'))
  })

  test('an interrupted recovery authenticates no revoked credential at any moment, and completes when it is run again', {
    timeout: size(300_000, 3_600_000),
  }, async () => {
    await restore(database, live)
    const calls: string[] = []
    await cloudflare(await newFolder(), async (call) => void calls.push(call)).run()
    expect(calls.length).toBeGreaterThan(20)
    // Of the same calls in a row, the first and the last; in the long run also every tenth. The short run has every fourth.
    const isChosen = (i: number) =>
      calls[i] !== calls[i - 1] || calls[i] !== calls[i + 1] || i % size(calls.length, 10) === 0
    const moments = calls.flatMap((_, i) => (isChosen(i) ? [i + 1] : [])).filter((_, i) => i % size(4, 1) === 0)
    for (const moment of moments) {
      await restore(database, live)
      let count = 0
      const recovery = cloudflare(await newFolder(), async (call) => {
        if (++count !== moment) return
        const { isClosed } = recovery.state
        expect(await answersTo(isClosed ? closed : open), call).toEqual(isClosed ? CLOSED : REFUSED)
        throw new Error('The process was killed.')
      })
      await recovery.run().then(
        // An answer of the Worker that does not arrive is asked for again.
        () => expect(calls[moment - 1]).toBe('fetch'),
        (error) => expect(error.message).toContain('killed'),
      )
      await recovery.run()
      await expectRecovered()
    }
  })

  test('a recovery can be cancelled before the restore, and not after it has begun', async () => {
    await restore(database, live)
    const until = async (call: string, folder: string) => {
      const recovery = cloudflare(folder, async (each) => {
        if (each === call) throw new Error('The process was killed.')
      })
      await expect(recovery.run()).rejects.toThrow('killed')
      return recovery
    }
    const folder = await newFolder()
    const early = await until('PATCH /workers/scripts/oncekey/secrets-bulk', folder)
    await expect(cloudflare(folder, async () => {}).run(new Date(1))).rejects.toThrow(
      /A recovery of oncekey to .* was interrupted\. Nothing was changed\. Finish it with --to .*, or end it with --cancel\./,
    )
    const cancelling = cloudflare(folder, async () => {})
    cancelling.state.isClosed = early.state.isClosed
    expect(await cancelling.cancel()).toBe('oncekey accepts changes.')
    expect(cancelling.state.isClosed).toBe(false)
    const path = `/connect/applications/${application.id}`
    expect((await manage('PUT', path, { body: { name: 'cancelled' } })).status).toBe(200)
    await restore(database, live)
    const other = await newFolder()
    await until('POST /d1/database/1/time_travel/restore', other)
    const late = cloudflare(other, async () => {})
    await expect(late.cancel()).rejects.toThrow('The restore of oncekey has begun, so secrets that were revoked may be')
    late.state.isClosed = true
    await late.run()
    await expectRecovered()
  })

  test('while versions share the requests nothing is changed', async () => {
    await restore(database, live)
    const recovery = cloudflare(await newFolder(), async () => {})
    recovery.state.serving = [
      { version_id: 'v1', percentage: 90 },
      { version_id: 'v2', percentage: 10 },
    ]
    await expect(recovery.run()).rejects.toThrow(
      /^Several versions of the Worker serve requests, and each has its own secrets: v1 \(90 %\), v2 \(10 %\)\. Nothing was changed\./,
    )
    const path = `/connect/applications/${application.id}`
    expect((await manage('PUT', path, { body: { name: 'split' } })).status).toBe(200)
  })

  test('error 10215 stops a recovery before the restore, and names what resolves it; it completes afterwards', async () => {
    await restore(database, live)
    let isRefused = true
    const folder = await newFolder()
    const recovery = cloudflare(folder, async (call) => {
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

  test('nothing is restored if the Worker is too old to know the setting that closes it', async () => {
    await restore(database, live)
    const recovery = cloudflare(await newFolder(), async () => {
      recovery.state.isClosed = false
    })
    await expect(recovery.run()).rejects.toThrow(
      /is not closed after two minutes \(200\)\. If it is older than these commands, run `npm run deploy` first\./,
    )
    const environment = "INSERT INTO environments (id, client_id, name, created_at) VALUES ('a', 'b', 'c', 1)"
    await expect(database.prepare(environment).run()).rejects.toThrow(/frozen/)
  })
})

describe('the local database', () => {
  test('the copy replaces the database at the end, no revoked secret works after an interruption, and npm run dev must be stopped', async () => {
    const folder = await newFolder()
    await (await openLocalRegions(folder)).close()
    const serveFolder = () => serve({ folder: join(folder, 'v3'), tokens: 'ES256', rateLimits: false })
    const before = await serveFolder()
    const two = await populate(before, { bulk: 5 })
    const kept = await two.newSecret()
    const directory = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
    const file = (await readdir(directory)).find((name) => /^[0-9a-f]+\.sqlite$/.test(name))
    const copy = join(folder, 'copy.sqlite')
    await copyFile(join(directory, `${file}`), copy)
    await copyFile(join(directory, `${file}-wal`), `${copy}-wal`)
    const to = new Date().toISOString()
    await two.manage('DELETE', `/connect/client_secrets/${two.used.id}`)
    const gone = await two.newSecret()
    let opened = 0
    const recover = (failing = 0, ...words: string[]) =>
      cli(['recover', '--to', to, '--from', copy, '--persist-to', folder, ...words], {
        openLocalRegions: async (directory) => {
          if (++opened === failing) throw new Failure('The process was killed.')
          return openLocalRegions(directory)
        },
      })
    const tokens = async (worker: Served) => [
      await requestToken(worker, two.application.client_id, two.used.secret),
      await requestToken(worker, two.application.client_id, kept.secret),
    ]
    // The runtime closes a database that was not used for ten seconds.
    const use = setInterval(() => fetch(`${before.origins[0]}/readyz`), 1_000)
    const running = await recover()
    clearInterval(use)
    expect(running.stderr).toMatch(
      /Another process has .*\.sqlite open .*\. The database was not restored\. Stop it first\./,
    )
    expect(running.stderr).toContain('again: it continues from this step.')
    expect(await tokens(before)).toEqual([401, 200])
    expect((await two.manage('DELETE', `/connect/client_secrets/${kept.id}`)).status).toBe(503)
    await before.stop()

    opened = 0
    expect((await recover(1)).stderr).toContain('[6/8]')
    const during = await serveFolder()
    expect(await tokens(during)).toEqual([401, 200])
    await during.stop()

    const { code, json } = await recover(0, '--json')
    expect(code).toBe(0)
    expect(json.applied).toEqual({ client_secrets: 1 })
    expect(json.gone.map(({ id }: { id: string }) => id)).toEqual([gone.id])
    const after = await serveFolder()
    expect(await tokens(after)).toEqual([401, 200])
    const manage = managementOf(after, two.apiKey)
    expect((await manage('DELETE', `/connect/client_secrets/${kept.id}`)).status).toBe(204)
    await after.stop()
    expect((await readdir(folder)).sort()).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^before-recovery-.*\.sqlite$/),
        expect.stringMatching(/^recovered-.*\.json$/),
      ]),
    )
    expect(await readdir(folder)).not.toContain('recovery.json')
  })

  test('another command, even an idle one, must end: before it nothing is changed, and the copy does not take the place', async () => {
    const folder = await newFolder()
    await (await openLocalRegions(folder)).close()
    const directory = join(folder, 'v3/d1/miniflare-D1DatabaseObject')
    const file = join(directory, `${(await readdir(directory)).find((name) => /^[0-9a-f]+\.sqlite$/.test(name))}`)
    const copy = join(folder, 'copy.sqlite')
    await copyFile(file, copy)
    await copyFile(`${file}-wal`, `${copy}-wal`)
    const words = ['recover', '--to', new Date().toISOString(), '--from', copy, '--persist-to', folder]
    const before = await readdir(folder)
    let release = await useFolder(folder)
    const early = await cli(words)
    release()
    expect(early.stderr).toContain(
      `\`npm run dev\` or another command uses ${folder}. Nothing was changed. Stop it first.\n`,
    )
    expect(await readdir(folder)).toEqual(before)

    let opened = 0
    const late = await cli(words, {
      openLocalRegions: async (directory) => {
        // The report is made right before the end.
        if (++opened === 4) release = await useFolder(folder)
        return openLocalRegions(directory)
      },
    })
    const { ino } = await stat(file)
    release()
    expect(late.stderr).toMatch(/\[8\/8\] .*\n.* uses .*\. The database was not restored\. Stop it first\.\n/)
    const { code } = await cli(words, { openLocalRegions: (directory) => openLocalRegions(directory) })
    expect(code).toBe(0)
    expect((await stat(file)).ino).not.toBe(ino)
  })

  const words = ['recover', '--persist-to', 'nowhere']
  test.each([
    [['--from', 'copy.sqlite'], '--to is missing.'],
    [
      ['--to', 'yesterday', '--from', 'copy.sqlite'],
      '--to must be a time with its zone, such as 2026-11-26T08:00:00Z.',
    ],
    [['--to', '2026-01-01T00:00', '--from', 'copy.sqlite'], '--to must be a time with its zone'],
    [['--to', '2999-01-01T00:00Z', '--from', 'copy.sqlite'], '--to must be in the past.'],
    [['--to', '2026-01-01T00:00Z'], '--from is missing. The local database has no Time Travel'],
    [['--cancel', '--to', '2026-01-01T00:00Z'], '--cancel takes neither --to nor --from.'],
  ])('the options %j are refused, and no database is opened', async (options, message) => {
    const { code, stdout, stderr } = await cli([...words, ...options])
    expect(stderr).toContain(message)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })

  test.each(['missing.sqlite', 'text.sqlite'])('%s is not a copy of a database: nothing is changed', async (name) => {
    const folder = await newFolder()
    await writeFile(join(folder, 'text.sqlite'), 'not a database, but a text of some length')
    const options = ['--to', '2026-01-01T00:00:00Z', '--from', join(folder, name), '--persist-to', folder]
    const { code, stderr } = await cli(['recover', ...options])
    expect(stderr).toMatch(/\.sqlite is not a copy of a local database \(.*\)\. Nothing was changed\./)
    expect(code).toBe(1)
  })

  test('a damaged state file stops the command, and nothing is changed', async () => {
    const folder = await newFolder()
    await writeFile(join(folder, 'recovery.json'), '{"version":1', { mode: 0o600 })
    const { code, stderr } = await cli(['recover', '--cancel', '--persist-to', folder])
    expect(stderr).toContain('recovery.json is damaged. Nothing was changed.')
    expect(code).toBe(1)
  })
})
