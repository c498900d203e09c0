import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey, newApplication, newLimitedApiKey } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'
import { size } from '../sizes.ts'

/**
 * A credential that is sent in the wrong place does not get into the log (CWE-532): every route is called with a client
 * secret and an API key in its path, query, headers and body, is made to fail in every way, and all that was logged is
 * searched for them.
 */
const logged: unknown[] = []
for (const level of ['log', 'info', 'debug', 'warn', 'error', 'trace'] as const) {
  vi.spyOn(console, level).mockImplementation((...values: unknown[]) => {
    logged.push(...values)
  })
}

const writer = await newApiKey()
const reader = await newApiKey({ access: 'read', environmentId: writer.environmentId })
const limitedKey = await newLimitedApiKey()
const application = await newApplication(writer.apiKey)
const created = (await call(writer.apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)).json
const foreign = (await issueCredential('cs', '0')).plaintext
const unknownKey = (await issueCredential('sk', '0')).plaintext

/** Each as it may be found: as it is, in a lower-case header name, in Basic authentication, in a URL. */
const needles = [writer.apiKey, reader.apiKey, limitedKey, created.secret as string, foreign, unknownKey].flatMap(
  (credential) => [
    credential.slice(4),
    credential.slice(4).toLowerCase(),
    btoa(`${application.client_id}:${credential}`).slice(60, -4),
    btoa(credential).slice(4, -4),
  ],
)

/** Everything in a value, with what JSON leaves out of errors. */
function serialise(value: unknown): string {
  if (value instanceof Error) return [value.name, value.message, value.stack, serialise(value.cause)].join(' ')
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value)
    .map(([name, member]) => `${name}=${serialise(member)}`)
    .join(' ')
}

function found(): string[] {
  const text = logged.map(serialise).join('\n')
  return needles.filter((needle) => text.includes(needle))
}

type Parts = { path: string; method: string; headers: Record<string, string>; body?: string; bindings?: Partial<Env> }

/** Where a credential may stand by mistake. */
const MISTAKES: Record<string, (parts: Parts, credential: string) => Parts> = {
  'nowhere but where it belongs': (parts) => parts,
  'as the id in the path': (parts, credential) => ({
    ...parts,
    path: parts.path.replace(/(conn_app|secret)_[^/]+/, credential),
  }),
  'behind the path': (parts, credential) => ({ ...parts, path: `${parts.path}/${credential}` }),
  'in the query': (parts, credential) => ({
    ...parts,
    path: `${parts.path}?client_secret=${credential}&access_token=${credential}`,
  }),
  'as a parameter of the list': (parts, credential) => ({
    ...parts,
    path: `${parts.path}?after=${credential}&limit=${credential}&${credential}=1`,
  }),
  'as the bearer': (parts, credential) => ({
    ...parts,
    headers: { ...parts.headers, Authorization: `Bearer ${credential}` },
  }),
  'misspelt as the bearer': (parts, credential) => ({
    ...parts,
    headers: { ...parts.headers, Authorization: `Bearer ${credential}x` },
  }),
  'in Basic authentication': (parts, credential) => ({
    ...parts,
    headers: { ...parts.headers, Authorization: `Basic ${btoa(`${application.client_id}:${credential}`)}` },
  }),
  'in other headers': (parts, credential) => ({
    ...parts,
    headers: {
      ...parts.headers,
      'X-Request-ID': credential,
      'Idempotency-Key': credential,
      'User-Agent': credential,
      Referer: `https://example.com/${credential}`,
      Cookie: `session=${credential}`,
      Accept: credential,
      [credential]: credential,
    },
  }),
  'as the content type': (parts, credential) => ({
    ...parts,
    headers: { ...parts.headers, 'Content-Type': credential },
  }),
  'in a body of JSON': (parts, credential) =>
    withBody(
      parts,
      JSON.stringify({
        ...m2mApplication,
        name: credential,
        scopes: [credential],
        client_secret: credential,
        [credential]: 1,
      }),
    ),
  'in JSON where nothing fits': (parts, credential) =>
    withBody(
      parts,
      JSON.stringify({ name: [credential], client_secret: { credential }, application_type: credential }),
    ),
  'in a body that is no JSON': (parts, credential) => withBody(parts, `{"name":"${credential}`),
  'in a body that is too long': (parts, credential) => withBody(parts, credential.padEnd(70_000)),
  'in a form': (parts, credential) =>
    withBody(
      { ...parts, headers: { ...parts.headers, 'Content-Type': 'application/x-www-form-urlencoded' } },
      `grant_type=client_credentials&client_id=${application.client_id}&client_secret=${credential}&token=${credential}`,
    ),
  'in a form with a fault': (parts, credential) =>
    withBody(
      { ...parts, headers: { ...parts.headers, 'Content-Type': 'application/x-www-form-urlencoded' } },
      `grant_type=${credential}&client_id=${credential}&client_id=${credential}&client_secret=${credential}&scope=${credential}&%zz`,
    ),
  'while storage fails': (parts, credential) => ({
    ...withBody(parts, JSON.stringify({ ...m2mApplication, name: credential, client_secret: credential })),
    bindings: { DB: withBatch(env.DB, () => Promise.reject(new Error('D1_ERROR: storage failed'))) },
  }),
  'while a variable is out of its bounds': (parts, credential) => ({
    ...withBody(parts, JSON.stringify({ ...m2mApplication, name: credential, client_secret: credential })),
    bindings: { REQUEST_BUDGET_MS: 1 },
  }),
  'while the limit is exceeded': (parts) => ({
    ...parts,
    headers: { ...parts.headers, Authorization: `Bearer ${limitedKey}` },
  }),
}

const withBody = (parts: Parts, body: string): Parts => (/GET|HEAD/.test(parts.method) ? parts : { ...parts, body })

const routes = [
  ...new Set(app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)),
  'PATCH /connect/applications',
  'GET /nothing',
]

/** By turns: who may, who may only read, who is unknown; and the credential that is out of place. */
const callers: [key: string, credential: string][] = [
  [writer.apiKey, foreign],
  [reader.apiKey, writer.apiKey],
  [writer.apiKey, reader.apiKey],
  [unknownKey, created.secret],
]
let sent = 0
/** The short run makes every third mistake at each route, beginning with another one each time. */
const STRIDE = size(3, 1)

beforeAll(async () => {
  logged.length = 0
  // Bodies with a credential are refused, so that the creates below do not succeed.
  await call(writer.apiKey, 'POST', `/connect/applications/${application.id}/client_secrets`)
  sent++
  for (const [i, route] of routes.entries()) {
    const [method = '', pattern = ''] = route.split(' ')
    const path = pattern.replace(/:\w+/, pattern.startsWith('/connect/client_secrets') ? created.id : application.id)
    for (const [j, mistake] of Object.values(MISTAKES).entries()) {
      if ((i + j) % STRIDE > 0) continue
      const [key, credential] = callers[sent % callers.length] as [string, string]
      const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' }
      const { bindings, path: sentTo, ...init } = mistake({ method, path, headers }, credential)
      const context = createExecutionContext()
      await app.fetch(new Request(`https://oncekey.test${sentTo}`, init), { ...env, ...bindings }, context)
      await waitOnExecutionContext(context)
      sent++
    }
  }
}, 60_000)

describe('the log of requests to all routes, with credentials in unusual places', () => {
  test('the log has one entry for each request, with statuses from 200 to 503', () => {
    const entries = logged.filter((value) => (value as { message?: string }).message === 'request') as {
      status: number
    }[]
    expect(entries).toHaveLength(sent)
    const statuses = new Set(entries.map(({ status }) => status))
    for (const status of [200, 201, 204, 400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 503])
      expect(statuses).toContain(status)
  })

  test('the log has the cause of a database failure', () => {
    expect(logged.map(serialise).some((text) => text.includes('D1_ERROR: storage failed'))).toBe(true)
  })

  test('the log has no credential in plain text, in lower case or in base64', () => expect(found()).toEqual([]))

  test('the log names routes by their patterns, and has only the documented fields', () => {
    const patterns = app.routes.map(({ path }) => path)
    const known = ['message', 'request_id', 'client_request_id', 'method', 'route', 'status', 'duration_ms']
    const ofThePlatform = ['colo', 'version', 'region', 'd1_requests', 'd1_attempts', 'd1_rows_read', 'd1_rows_written']
    const ofRefusals = [
      'error',
      'reason',
      'client_id',
      'secret_id',
      'api_key_id',
      'environment_id',
      'address',
      'country',
      'user_agent',
      'stack',
      'd1_ms',
      'd1_sql_ms',
    ]
    for (const entry of logged as Record<string, unknown>[]) {
      expect(Object.keys(entry).filter((name) => ![...known, ...ofThePlatform, ...ofRefusals].includes(name))).toEqual(
        [],
      )
      if (entry.message === 'request') expect(patterns).toContain(entry.route)
    }
  })

  test.each<[string, unknown]>([
    ['in plain text', { message: `x ${created.secret} y` }],
    ['in the cause of an error', { error: new Error('x', { cause: new Error(writer.apiKey) }) }],
    [
      'in Basic authentication',
      { headers: { authorization: `Basic ${btoa(`${application.client_id}:${created.secret}`)}` } },
    ],
    ['as a header name', { headers: { [reader.apiKey.toLowerCase()]: '' } }],
  ])('the check of the log finds a credential that a test puts into the log %s', (_, planted) => {
    logged.push(planted)
    expect(found()).not.toEqual([])
    logged.pop()
  })
})

describe('the log entry of a refused request', () => {
  const entryOf = async (path: string, init: RequestInit = {}) => {
    logged.length = 0
    const request = new Request(`https://oncekey.test${path}`, init)
    const context = createExecutionContext()
    await app.fetch(request, env, context)
    await waitOnExecutionContext(context)
    return logged.find((value) => (value as { message?: string }).message === 'request')
  }
  const from = {
    'CF-Connecting-IP': '2001:db8::1',
    'User-Agent': 'curl/8.0',
  }

  test('the log entry of a refused request has the error, and the API key of a known caller or the IP address and user agent of an unknown one', async () => {
    const headers = { ...from, Authorization: `Bearer ${unknownKey}` }
    expect(await entryOf('/connect/applications', { headers })).toMatchObject({
      status: 401,
      error: 'unauthorized',
      address: '2001:db8::1',
      user_agent: 'curl/8.0',
    })
    const body = JSON.stringify({ expires_at: '2001-01-01T00:00:00Z' })
    const init = { method: 'POST', body, headers: { ...from, Authorization: `Bearer ${writer.apiKey}` } }
    const path = `/connect/applications/${application.id}/client_secrets`
    const headersOfJson = { ...init.headers, 'Content-Type': 'application/json' }
    expect(await entryOf(path, { ...init, headers: headersOfJson })).toMatchObject({
      error: 'expires_at_past',
      api_key_id: writer.id,
      environment_id: writer.environmentId,
    })
  })

  test('the log entry of a successful request has neither IP address nor user agent', async () => {
    const entry = await entryOf('/connect/applications', {
      headers: { ...from, Authorization: `Bearer ${writer.apiKey}` },
    })
    expect(entry).toMatchObject({ status: 200 })
    for (const name of ['address', 'user_agent', 'error']) expect(entry).not.toHaveProperty(name)
  })

  test.each([
    ['a malformed IP address', { 'CF-Connecting-IP': 'x y' }, 'address'],
    ['a user agent with a credential', { 'User-Agent': `curl ${unknownKey}` }, 'user_agent'],
    ['a user agent with part of a credential', { 'User-Agent': unknownKey.slice(5, 48) }, 'user_agent'],
    [
      'a user agent that is cut off inside a credential',
      { 'User-Agent': `${'a '.repeat(80)}${unknownKey}` },
      'user_agent',
    ],
    ['a user agent that is not ASCII', { 'User-Agent': '\u00e9' }, 'user_agent'],
  ])('the log entry of a refused request leaves out %s', async (_, headers, name) => {
    const entry = await entryOf('/connect/applications', { headers })
    expect(entry).toMatchObject({ status: 401 })
    expect(entry).not.toHaveProperty(name)
  })
})
