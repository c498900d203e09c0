import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { type Call, call, m2mApplication, newApiKey, newApplication, type Reply } from '../api.ts'
import { LASTING, OVERLOADED, TRANSIENT } from '../grid/faults.ts'
import { newClient, requestToken } from '../oauth/client.ts'
import { secretsOf } from '../requests.ts'
import { withBatch } from './wrapped.ts'

/**
 * Faults on the way to and from the real database: a change takes effect once or not at all. The grid has the faults of
 * every route; here are the texts of the errors, and changes that another one makes meanwhile.
 */

interface Subject {
  readonly application: string
  readonly secret: string
}

async function newSubject() {
  const key = await newApiKey()
  const { id: application } = await newApplication(key.apiKey)
  const { json } = await call(key.apiKey, 'POST', `/connect/applications/${application}/client_secrets`)
  return { ...key, subject: { application, secret: json.id as string } }
}

/** Everything that a management call can change. */
async function stateOf(environmentId: string) {
  const [applications, secrets, events] = await env.DB.batch<Record<string, unknown>>(
    ['applications', 'client_secrets', 'events'].map((table) =>
      env.DB.prepare(`SELECT * FROM ${table} WHERE environment_id = ? ORDER BY id`).bind(environmentId),
    ),
  )
  return { applications: applications?.results ?? [], secrets: secrets?.results ?? [], events: events?.results ?? [] }
}

/** A database that throws at the first batch: before it is committed, or after the commit and `meanwhile`. */
function failingOnce(fault: unknown, when: 'before' | 'after', meanwhile: () => Promise<unknown> = async () => {}) {
  const counter = { tries: 0 }
  const database = withBatch(env.DB, async (real, statements) => {
    if (counter.tries++ > 0) return real(statements)
    if (when === 'after') await real(statements)
    await meanwhile()
    throw fault
  })
  return Object.assign(counter, { database })
}

/** Sends a request through a database that fails once. Returns the reply, and the tries that it took. */
async function sendThrough(DB: ReturnType<typeof failingOnce>, send: (options: Call) => Promise<Reply>) {
  let tries = 0
  const onAnswer = () => {
    tries = DB.tries
  }
  const reply = await send({ bindings: { DB: DB.database }, onAnswer })
  return { reply, tries }
}

/** The faults are all handled in one place, so that one route stands for all. */
describe('creating a secret when the database fails', () => {
  const create = (apiKey: string, subject: Subject) => (options: Call) =>
    call(apiKey, 'POST', secretsOf(subject.application), options)

  test.each(TRANSIENT.flatMap((message) => [[message, 'before'] as const, [message, 'after'] as const]))(
    'a secret is created once if the database throws “%s” once, %s the commit',
    async (message, when) => {
      const { apiKey, environmentId, subject } = await newSubject()
      const before = await stateOf(environmentId)
      const { reply, tries } = await sendThrough(failingOnce(new Error(message), when), create(apiKey, subject))
      expect([reply.status, tries]).toEqual([201, 2])
      expect((await stateOf(environmentId)).secrets.length).toBe(before.secrets.length + 1)
    },
  )

  test.each([TRANSIENT[0], ...OVERLOADED, ...LASTING, new Error('anything'), 'a string', undefined])(
    'a secret is not created, and the response is 503, when the database always throws “%s”',
    async (fault) => {
      const { apiKey, environmentId, subject } = await newSubject()
      const before = await stateOf(environmentId)
      const thrown = typeof fault === 'string' && fault.startsWith('D1_ERROR') ? new Error(fault) : fault
      let tries = 0
      const DB = withBatch(env.DB, () => {
        tries++
        return Promise.reject(thrown)
      })
      expect((await create(apiKey, subject)({ bindings: { DB, REQUEST_BUDGET_MS: 3000 } })).status).toBe(503)
      if (fault === TRANSIENT[0]) expect(tries, 'the fault may pass before the deadline').toBeGreaterThan(2)
      else expect(tries).toBe(1)
      expect(await stateOf(environmentId)).toEqual(before)
    },
  )
})

describe('a retry after a lost reply does not undo a change made in between', () => {
  /** Sends a request whose commit is reported as lost, after another change has been made. */
  async function retried(send: (options: Call) => Promise<Reply>, meanwhile: () => Promise<unknown>) {
    return (await sendThrough(failingOnce(new Error(TRANSIENT[0]), 'after', meanwhile), send)).reply
  }
  const listIds = async (apiKey: string, subject: Subject) =>
    (await call(apiKey, 'GET', secretsOf(subject.application))).json.map(({ id }: { id: string }) => id)
  const updateSecret = (apiKey: string, { secret }: Subject, body: object, options: Call = {}) =>
    call(apiKey, 'PATCH', `/connect/client_secrets/${secret}`, { body, ...options })
  const count = async (environmentId: string, type: string) =>
    (await stateOf(environmentId)).events.filter((event) => event.type === type).length

  test('a retried update of an application does not overwrite a later update', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const path = `/connect/applications/${subject.application}`
    const rename = (name: string, options: Call = {}) => call(apiKey, 'PUT', path, { body: { name }, ...options })
    expect(
      (
        await retried(
          (options) => rename('earlier', options),
          () => rename('later'),
        )
      ).status,
    ).toBe(200)
    expect((await call(apiKey, 'GET', path)).json.name).toBe('later')
    expect(await count(environmentId, 'connect_application.updated')).toBe(2)
  })

  test('a retried create does not bring back a secret that was revoked', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const path = secretsOf(subject.application)
    const reply = await retried(
      (options) => call(apiKey, 'POST', path, options),
      () => call(apiKey, 'DELETE', path),
    )
    expect([reply.status, reply.json.code]).toEqual([422, 'client_secret_revoked'])
    expect(await listIds(apiKey, subject)).toEqual([])
    expect((await stateOf(environmentId)).secrets.length).toBe(2)
  })

  test('a retried enable does not undo a disable made in between', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    await updateSecret(apiKey, subject, { disabled: true })
    const enable = (options: Call) => updateSecret(apiKey, subject, { disabled: false }, options)
    expect(
      (await retried(enable, () => updateSecret(apiKey, subject, { disabled: true, name: 'leaked' }))).status,
    ).toBe(200)
    const found = await call(apiKey, 'GET', `/connect/client_secrets/${subject.secret}`)
    expect(found.json).toMatchObject({ disabled: true, name: 'leaked' })
    expect(await count(environmentId, 'connect_application_secret.updated')).toBe(3)
  })

  test('a retried revocation of all secrets does not revoke a secret that was created later', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    let created = ''
    const reply = await retried(
      (options) => call(apiKey, 'DELETE', secretsOf(subject.application), options),
      async () => {
        created = (await call(apiKey, 'POST', secretsOf(subject.application))).json.id
      },
    )
    expect(reply.status).toBe(204)
    expect(await listIds(apiKey, subject)).toEqual([created])
    expect(await count(environmentId, 'connect_application_secret.deleted')).toBe(1)
  })

  describe('a retried rotation', () => {
    const rotate = (apiKey: string, subject: Subject) => (options: Call) =>
      call(apiKey, 'POST', `${secretsOf(subject.application)}/rotate`, options)

    test('a retried rotation does not expire a secret that was kept', async () => {
      const { apiKey, environmentId, subject } = await newSubject()
      const keep = () => updateSecret(apiKey, subject, { expires_at: null })
      expect((await retried(rotate(apiKey, subject), keep)).status).toBe(201)
      const [kept] = (await call(apiKey, 'GET', secretsOf(subject.application))).json
      expect(kept).toMatchObject({ id: subject.secret })
      expect(kept).not.toHaveProperty('expires_at')
      expect(await count(environmentId, 'connect_application_secret.rotated')).toBe(1)
    })

    test('a retried rotation does not expire a secret that was created later', async () => {
      const { apiKey, subject } = await newSubject()
      let created = ''
      const reply = await retried(rotate(apiKey, subject), async () => {
        created = (await call(apiKey, 'POST', secretsOf(subject.application))).json.id
      })
      const secrets: { id: string; expires_at?: string }[] = (await call(apiKey, 'GET', secretsOf(subject.application)))
        .json
      expect(secrets.map(({ id }) => id).sort()).toEqual([subject.secret, reply.json.id, created].sort())
      expect(secrets.find(({ id }) => id === created)).not.toHaveProperty('expires_at')
    })

    test('a retried rotation does not restore secrets that were revoked in between, and gets client_secret_revoked', async () => {
      const { apiKey, environmentId, subject } = await newSubject()
      const revokeAll = () => call(apiKey, 'DELETE', secretsOf(subject.application))
      const reply = await retried(rotate(apiKey, subject), revokeAll)
      expect([reply.status, reply.json.code]).toEqual([422, 'client_secret_revoked'])
      expect(await listIds(apiKey, subject)).toEqual([])
      expect(await count(environmentId, 'connect_application_secret.rotated')).toBe(1)
    })
  })
})

describe('a retry of a change whose reply was lost, after the API key lost its permission', () => {
  const CHANGES: Record<
    string,
    (subject: Subject) => [method: string, path: string, body?: object | undefined, status?: number]
  > = {
    'a create of a secret': ({ application }) => ['POST', secretsOf(application), {}, 201],
    'a rotation': ({ application }) => ['POST', `${secretsOf(application)}/rotate`, {}, 201],
    'an update of a secret': ({ secret }) => ['PATCH', `/connect/client_secrets/${secret}`, { name: 'new' }],
    'a revocation of a secret': ({ secret }) => ['DELETE', `/connect/client_secrets/${secret}`, undefined, 204],
    'a revocation of all secrets': ({ application }) => ['DELETE', secretsOf(application), undefined, 204],
    'a create of an application': () => ['POST', '/connect/applications', m2mApplication, 201],
    'an update of an application': ({ application }) => [
      'PUT',
      `/connect/applications/${application}`,
      { name: 'new' },
    ],
    'a deletion of an application': ({ application }) => [
      'DELETE',
      `/connect/applications/${application}`,
      undefined,
      204,
    ],
    'an update of the settings': () => ['PATCH', '/connect/environment', { max_lifetime_days: 7 }],
  }
  const LOSSES = {
    'was revoked': 'revoked_at = 1',
    expired: 'key_expires_at = 1',
    'became read-only': "access = 'read'",
  }
  test.each(
    Object.keys(CHANGES).flatMap((change) => Object.entries(LOSSES).map(([why, set]) => [change, why, set] as const)),
  )('the retry of %s succeeds although the API key %s in between', async (change, _, set) => {
    const { apiKey, id, subject } = await newSubject()
    const [method, path, body, status = 200] = CHANGES[change]?.(subject) ?? ['', '']
    const lose = () => env.DB.prepare(`UPDATE api_keys SET ${set} WHERE id = ?`).bind(id).run()
    const lost = failingOnce(new Error(TRANSIENT[0]), 'after', lose)
    const { reply } = await sendThrough(lost, (options) =>
      call(apiKey, method, path, { ...(body && { body }), ...options }),
    )
    expect(reply.status).toBe(status)
    expect([401, 403]).toContain((await call(apiKey, 'POST', '/connect/applications', { body: m2mApplication })).status)
  })
})

test.each(LASTING)(
  'the response says that the outcome of a change is unknown if its reply is lost and the retry throws “%s”',
  async (message) => {
    const { apiKey, environmentId, subject } = await newSubject()
    let tries = 0
    const DB = withBatch(env.DB, async (real, statements) => {
      if (tries++ > 0) throw new Error(message)
      await real(statements)
      throw new Error(TRANSIENT[0])
    })
    const { status, json } = await call(apiKey, 'DELETE', secretsOf(subject.application), { bindings: { DB } })
    expect([status, tries]).toEqual([503, 2])
    expect(json.message).toContain('unknown')
    expect((await stateOf(environmentId)).secrets[0]?.revoked_at).not.toBeNull()
  },
)

describe('a malformed result of the database', () => {
  const row = (results: D1Result[], changed: unknown) => results.map((result) => ({ ...result, results: [changed] }))
  const damages: [string, (results: D1Result[]) => unknown][] = [
    ['no result', () => []],
    ['a result without rows', (results) => results.map((result) => ({ ...result, results: undefined }))],
    ['null for a row', (results) => row(results, null)],
    ['a row without columns', (results) => row(results, {})],
    ['a row of nulls', (results) => row(results, { id: null, caller_id: null, access: null, refusal: null })],
  ]

  test.each(damages)('the response is 503 if the database returns %s', async (_, damaged) => {
    const { apiKey, subject } = await newSubject()
    const DB = withBatch(env.DB, async (real, statements) => damaged(await real(statements)))
    const read = await call(apiKey, 'GET', `/connect/client_secrets/${subject.secret}`, { bindings: { DB } })
    expect([read.status, read.json.message]).toEqual([503, expect.stringContaining('Nothing was changed')])
    const change = await call(apiKey, 'DELETE', `/connect/client_secrets/${subject.secret}`, { bindings: { DB } })
    expect([change.status, change.json.message]).toEqual([503, expect.stringContaining('unknown')])
    expect((await requestToken(await newClient(), {}, { bindings: { DB } })).status).toBe(503)
  })

  test('the response is 503 if the query for a client secret returns no row', async () => {
    const DB = withBatch(env.DB, async (real, statements) =>
      (await real(statements)).map((result) => ({ ...result, results: [] })),
    )
    expect((await requestToken(await newClient(), {}, { bindings: { DB } })).status).toBe(503)
  })
})

test('the response is 503 if the database has no tables, and the message names the command to run', async () => {
  const { apiKey } = await newApiKey()
  const DB = withBatch(env.DB, (real) => real([env.DB.prepare('SELECT 1 FROM table_of_a_later_version')]))
  const reply = await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })
  expect(reply.status).toBe(503)
  expect(reply.json.message).toContain('npm run')
})
