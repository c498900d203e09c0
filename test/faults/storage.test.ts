import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { type Call, call, m2mApplication, newApiKey, newApplication, type Reply } from '../api.ts'
import { secretsOf } from '../requests.ts'
import { withBatch } from './wrapped.ts'

/**
 * Faults on the way to and from the real database: a change takes effect once or not at all, and has no effect after a
 * 503 that reports a passed deadline.
 */

/** https://developers.cloudflare.com/d1/observability/debug-d1/ */
const TRANSIENT = [
  'D1_ERROR: Network connection lost.',
  'D1_ERROR: D1 DB reset because its code was updated.',
  'D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.',
  'D1_ERROR: Internal error in D1 DB storage caused object to be reset.',
  'D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.',
  'D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.',
]
const LASTING = [
  'D1_ERROR: D1 DB is overloaded. Requests queued for too long.',
  'D1_ERROR: D1 DB is overloaded. Too many requests queued.',
  'D1_ERROR: D1 DB exceeded its CPU time limit and was reset.',
  'D1_ERROR: Exceeded maximum DB size.',
  'D1_ERROR: too many SQL variables: SQLITE_ERROR',
  'D1_ERROR: attempt to write a readonly database: SQLITE_READONLY',
]

/** The shortest budget that can be set. */
const SHORT = { REQUEST_BUDGET_MS: 1000 }

interface Route {
  readonly name: string
  readonly success: number
  readonly send: (apiKey: string, subject: Subject, options: Call) => Promise<Reply>
  /** How many events one success records. */
  readonly events: 0 | 1
}
interface Subject {
  readonly application: string
  readonly secret: string
}

const routes: Route[] = [
  {
    name: 'create an application',
    success: 201,
    events: 1,
    send: (apiKey, _, options) => call(apiKey, 'POST', '/connect/applications', { body: m2mApplication, ...options }),
  },
  {
    name: 'create a client secret',
    success: 201,
    events: 1,
    send: (apiKey, subject, options) => call(apiKey, 'POST', secretsOf(subject.application), options),
  },
  {
    name: 'update an application',
    success: 200,
    events: 1,
    send: (apiKey, { application }, options) =>
      call(apiKey, 'PUT', `/connect/applications/${application}`, { body: { name: 'updated' }, ...options }),
  },
  {
    name: 'delete an application',
    success: 204,
    events: 1,
    send: (apiKey, { application }, options) => call(apiKey, 'DELETE', `/connect/applications/${application}`, options),
  },
  {
    name: 'revoke a client secret',
    success: 204,
    events: 1,
    send: (apiKey, { secret }, options) => call(apiKey, 'DELETE', `/connect/client_secrets/${secret}`, options),
  },
  {
    name: 'change a client secret',
    success: 200,
    events: 1,
    send: (apiKey, { secret }, options) =>
      call(apiKey, 'PATCH', `/connect/client_secrets/${secret}`, { body: { disabled: true }, ...options }),
  },
  {
    name: 'rotate client secrets',
    success: 201,
    events: 1,
    send: (apiKey, subject, options) => call(apiKey, 'POST', `${secretsOf(subject.application)}/rotate`, options),
  },
  {
    name: 'revoke all client secrets',
    success: 204,
    events: 1,
    send: (apiKey, subject, options) => call(apiKey, 'DELETE', secretsOf(subject.application), options),
  },
  {
    name: 'list applications',
    success: 200,
    events: 0,
    send: (apiKey, _, options) => call(apiKey, 'GET', '/connect/applications', options),
  },
  {
    name: 'list client secrets',
    success: 200,
    events: 0,
    send: (apiKey, subject, options) => call(apiKey, 'GET', secretsOf(subject.application), options),
  },
]

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

describe.each(routes)('$name', ({ success, events, send }) => {
  test('the request succeeds and takes effect once when the connection is lost before the commit', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const before = await stateOf(environmentId)
    const DB = failingOnce(new Error(TRANSIENT[0]), 'before')
    const { reply, tries } = await sendThrough(DB, (options) => send(apiKey, subject, options))
    expect([reply.status, tries]).toEqual([success, 2])
    expect((await stateOf(environmentId)).events.length).toBe(before.events.length + events)
  })

  test('the request succeeds and takes effect once when the connection is lost after the commit', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const before = await stateOf(environmentId)
    let committed: unknown
    const DB = failingOnce(new Error(TRANSIENT[0]), 'after', async () => {
      committed = await stateOf(environmentId)
    })
    const { reply, tries } = await sendThrough(DB, (options) => send(apiKey, subject, options))
    expect([reply.status, tries]).toEqual([success, 2])
    const after = await stateOf(environmentId)
    expect(after).toEqual(committed)
    expect(after.events.length).toBe(before.events.length + events)
  })

  test('the request is 503 without a retry and without an effect when the database is overloaded', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const before = await stateOf(environmentId)
    const DB = withBatch(env.DB, () => Promise.reject(new Error(LASTING[0])))
    expect((await send(apiKey, subject, { bindings: { DB } })).status).toBe(503)
    expect(await stateOf(environmentId)).toEqual(before)
  })
})

/** The faults are all handled in one place, so that one route stands for all. */
describe('a secret', () => {
  const create = (apiKey: string, subject: Subject) => (options: Call) =>
    call(apiKey, 'POST', secretsOf(subject.application), options)

  test.each(TRANSIENT.flatMap((message) => [[message, 'before'] as const, [message, 'after'] as const]))(
    'a secret is created once after one “%s” %s the commit',
    async (message, when) => {
      const { apiKey, environmentId, subject } = await newSubject()
      const before = await stateOf(environmentId)
      const { reply, tries } = await sendThrough(failingOnce(new Error(message), when), create(apiKey, subject))
      expect([reply.status, tries]).toEqual([201, 2])
      expect((await stateOf(environmentId)).secrets.length).toBe(before.secrets.length + 1)
    },
  )

  test.each([...TRANSIENT.slice(0, 1), ...LASTING, new Error('anything'), 'a string', undefined])(
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

const changes = routes.filter(({ events }) => events === 1)

/** The Worker's log. A spy would be restored when the first of the concurrent tests ends. */
const logged: unknown[] = []
beforeAll(() => {
  const { log } = console
  console.log = (entry: unknown) => {
    logged.push(entry)
    log(entry)
  }
  return () => Object.assign(console, { log })
})

describe.concurrent.each(changes)('$name', ({ send }) => {
  test('the request is 503 in time when the database stalls, and changes nothing when the database continues', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const { promise: asleep, resolve: wake } = Promise.withResolvers<void>()
    let stalled: Promise<unknown> | undefined
    const DB = withBatch(env.DB, (real, statements) => {
      stalled = asleep.then(() => real(statements))
      return stalled
    })
    const headers = { 'X-Request-ID': crypto.randomUUID() }
    const reply = send(apiKey, subject, { bindings: { DB, ...SHORT }, headers })
    const timedOut = expect.objectContaining({ client_request_id: headers['X-Request-ID'], status: 503 })
    await vi.waitFor(() => expect(logged).toContainEqual(timedOut), { timeout: SHORT.REQUEST_BUDGET_MS + 2000 })
    await call(apiKey, 'PUT', `/connect/applications/${subject.application}`, { body: { name: 'changed meanwhile' } })
    const between = await stateOf(environmentId)
    wake()
    expect((await reply).status).toBe(503)
    await stalled
    expect(await stateOf(environmentId)).toEqual(between)
  })
})

describe('a retry after a lost commit does not undo a change made in between', () => {
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

  test('a retried enable does not undo a disable', async () => {
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

    test('a retried rotation does not bring back secrets that were revoked, and says that the new secret was', async () => {
      const { apiKey, environmentId, subject } = await newSubject()
      const revokeAll = () => call(apiKey, 'DELETE', secretsOf(subject.application))
      const reply = await retried(rotate(apiKey, subject), revokeAll)
      expect([reply.status, reply.json.code]).toEqual([422, 'client_secret_revoked'])
      expect(await listIds(apiKey, subject)).toEqual([])
      expect(await count(environmentId, 'connect_application_secret.rotated')).toBe(1)
    })
  })
})

test('a create with status 503 after its commit returns its secret when it is sent again', async () => {
  const { apiKey, environmentId, subject } = await newSubject()
  const DB = withBatch(env.DB, async (real, statements) => {
    await real(statements)
    throw new Error(LASTING[0])
  })
  const headers = { 'Idempotency-Key': crypto.randomUUID() }
  const path = secretsOf(subject.application)
  expect((await call(apiKey, 'POST', path, { headers, bindings: { DB } })).status).toBe(503)
  const again = await call(apiKey, 'POST', path, { headers })
  expect(again.status).toBe(201)
  expect(again.headers.get('Idempotent-Replayed')).toBe('true')
  expect((await stateOf(environmentId)).secrets.length).toBe(2)
})

test('a database without tables is 503, and the message says what to run', async () => {
  const { apiKey } = await newApiKey()
  const DB = withBatch(env.DB, (real) => real([env.DB.prepare('SELECT 1 FROM table_of_a_later_version')]))
  const reply = await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })
  expect(reply.status).toBe(503)
  expect(reply.json.message).toContain('npm run')
})
