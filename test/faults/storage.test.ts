import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { type Call, call, m2mApplication, newApiKey, newApplication, type Reply } from '../api.ts'
import { withBatch } from './wrapped.ts'

/**
 * Rules 3 and 4, against faults on the way to and from the real database: a change takes effect once or never, and who
 * was told 503 finds that nothing comes of it afterwards.
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
  /** How many events one success makes. */
  readonly events: 0 | 1
}
interface Subject {
  readonly application: string
  readonly secret: string
}

const secretsOf = ({ application }: Subject) => `/connect/applications/${application}/client_secrets`

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
    send: (apiKey, subject, options) => call(apiKey, 'POST', secretsOf(subject), options),
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
    send: (apiKey, subject, options) => call(apiKey, 'POST', `${secretsOf(subject)}/rotate`, options),
  },
  {
    name: 'revoke all client secrets',
    success: 204,
    events: 1,
    send: (apiKey, subject, options) => call(apiKey, 'DELETE', secretsOf(subject), options),
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
    send: (apiKey, subject, options) => call(apiKey, 'GET', secretsOf(subject), options),
  },
]

async function newSubject() {
  const key = await newApiKey()
  const { id: application } = await newApplication(key.apiKey)
  const { json } = await call(key.apiKey, 'POST', `/connect/applications/${application}/client_secrets`)
  return { ...key, subject: { application, secret: json.id as string } }
}

/** All that a management call can change, for comparison. */
async function stateOf(environmentId: string) {
  const [applications, secrets, events] = await env.DB.batch<Record<string, unknown>>(
    ['applications', 'client_secrets', 'events'].map((table) =>
      env.DB.prepare(`SELECT * FROM ${table} WHERE environment_id = ? ORDER BY id`).bind(environmentId),
    ),
  )
  return { applications: applications?.results ?? [], secrets: secrets?.results ?? [], events: events?.results ?? [] }
}

describe.each(routes)('$name', ({ success, events, send }) => {
  test.each(TRANSIENT)('once %s before the commit: the retry succeeds, and takes effect once', async (message) => {
    const { apiKey, environmentId, subject } = await newSubject()
    const before = await stateOf(environmentId)
    let tries = 0
    const DB = withBatch(env.DB, (real, statements) => {
      if (tries++ === 0) throw new Error(message)
      return real(statements)
    })
    let triesAtAnswer = 0
    const onAnswer = () => {
      triesAtAnswer = tries
    }
    expect((await send(apiKey, subject, { bindings: { DB }, onAnswer })).status).toBe(success)
    expect(triesAtAnswer).toBe(2)
    expect((await stateOf(environmentId)).events.length).toBe(before.events.length + events)
  })

  test.each(TRANSIENT)(
    'once %s after the commit: the retry finds what was done, and does it no second time',
    async (message) => {
      const { apiKey, environmentId, subject } = await newSubject()
      const before = await stateOf(environmentId)
      let tries = 0
      let committed: unknown
      const DB = withBatch(env.DB, async (real, statements) => {
        const result = await real(statements)
        if (tries++ > 0) return result
        committed = await stateOf(environmentId)
        throw new Error(message)
      })
      let triesAtAnswer = 0
      const onAnswer = () => {
        triesAtAnswer = tries
      }
      expect((await send(apiKey, subject, { bindings: { DB }, onAnswer })).status).toBe(success)
      expect(triesAtAnswer).toBe(2)
      expect(await stateOf(environmentId)).toEqual(committed)
      expect((await stateOf(environmentId)).events.length).toBe(before.events.length + events)
    },
  )

  test.each([...TRANSIENT.slice(0, 1), ...LASTING])(
    'always %s: 503, with retries until the deadline if it may pass, and nothing changed',
    async (message) => {
      const { apiKey, environmentId, subject } = await newSubject()
      const before = await stateOf(environmentId)
      let tries = 0
      const DB = withBatch(env.DB, () => {
        tries++
        throw new Error(message)
      })
      expect((await send(apiKey, subject, { bindings: { DB, ...SHORT } })).status).toBe(503)
      if (TRANSIENT.includes(message)) expect(tries).toBeGreaterThan(2)
      else expect(tries).toBe(1)
      expect(await stateOf(environmentId)).toEqual(before)
    },
  )

  test.each([[new Error('anything')], ['a string'], [undefined]])('%s thrown: 503, not 500', async (thrown) => {
    const { apiKey, subject } = await newSubject()
    const DB = withBatch(env.DB, () => Promise.reject(thrown))
    expect((await send(apiKey, subject, { bindings: { DB } })).status).toBe(503)
  })
})

const changes = routes.filter(({ events }) => events === 1)

/** The Worker's log. A spy would be taken away when the first of the tests that run at once is over. */
const logged: unknown[] = []
beforeAll(() => {
  const { log } = console
  console.log = (entry: unknown) => {
    logged.push(entry)
    log(entry)
  }
  return () => Object.assign(console, { log })
})

describe.concurrent.each(changes)('$name, stalled past its deadline', ({ send }) => {
  test('is told 503 in time, and changes nothing when the database wakes up', async () => {
    const { apiKey, environmentId, subject } = await newSubject()
    const { promise: asleep, resolve: wake } = Promise.withResolvers<void>()
    let stalled: Promise<unknown> | undefined
    const DB = withBatch(env.DB, (real, statements) => {
      stalled = asleep.then(() => real(statements))
      return stalled
    })
    const headers = { 'X-Request-ID': crypto.randomUUID() }
    const reply = send(apiKey, subject, { bindings: { DB, ...SHORT }, headers })
    const told = expect.objectContaining({ client_request_id: headers['X-Request-ID'], status: 503 })
    await vi.waitFor(() => expect(logged).toContainEqual(told), { timeout: SHORT.REQUEST_BUDGET_MS + 2000 })
    await call(apiKey, 'PUT', `/connect/applications/${subject.application}`, { body: { name: 'changed meanwhile' } })
    const between = await stateOf(environmentId)
    wake()
    expect((await reply).status).toBe(503)
    await stalled
    expect(await stateOf(environmentId)).toEqual(between)
  })
})

test('an update whose reply was lost does not overwrite a later one when it is retried', async () => {
  const { apiKey, environmentId, subject } = await newSubject()
  const path = `/connect/applications/${subject.application}`
  let tries = 0
  const DB = withBatch(env.DB, async (real, statements) => {
    const result = await real(statements)
    if (tries++ > 0) return result
    await call(apiKey, 'PUT', path, { body: { name: 'later' } })
    throw new Error(TRANSIENT[0])
  })
  const reply = await call(apiKey, 'PUT', path, { body: { name: 'earlier' }, bindings: { DB } })
  expect(reply.status).toBe(200)
  expect((await call(apiKey, 'GET', path)).json.name).toBe('later')
  const { events } = await stateOf(environmentId)
  expect(events.filter(({ type }) => type === 'connect_application.updated').length).toBe(2)
})

test('a create whose reply was lost does not bring back what was revoked before the retry', async () => {
  const { apiKey, environmentId, subject } = await newSubject()
  const path = secretsOf(subject)
  let tries = 0
  const DB = withBatch(env.DB, async (real, statements) => {
    const result = await real(statements)
    if (tries++ > 0) return result
    await call(apiKey, 'DELETE', path)
    throw new Error(TRANSIENT[0])
  })
  expect((await call(apiKey, 'POST', path, { bindings: { DB } })).json.code).toBe('client_secret_revoked')
  expect((await call(apiKey, 'GET', path)).json).toEqual([])
  expect((await stateOf(environmentId)).secrets.length).toBe(2)
})

test('a create told 503 after its commit is answered with its secret when it is sent again', async () => {
  const { apiKey, environmentId, subject } = await newSubject()
  const DB = withBatch(env.DB, async (real, statements) => {
    await real(statements)
    throw new Error(LASTING[0])
  })
  const headers = { 'Idempotency-Key': crypto.randomUUID() }
  const path = secretsOf(subject)
  expect((await call(apiKey, 'POST', path, { headers, bindings: { DB } })).status).toBe(503)
  const again = await call(apiKey, 'POST', path, { headers })
  expect(again.status).toBe(201)
  expect(again.headers.get('Idempotent-Replayed')).toBe('true')
  expect((await stateOf(environmentId)).secrets.length).toBe(2)
})

test('a database without tables: 503, and the words say what to run', async () => {
  const { apiKey } = await newApiKey()
  const DB = withBatch(env.DB, (real) => real([env.DB.prepare('SELECT 1 FROM table_of_a_later_version')]))
  const reply = await call(apiKey, 'GET', '/connect/applications', { bindings: { DB } })
  expect(reply.status).toBe(503)
  expect(reply.json.message).toContain('npm run')
})
