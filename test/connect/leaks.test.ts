import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import type { WebhookEndpoint } from '../../src/storage/webhooks.ts'
import { call, newApiKey, newApplication, operatorDatabase, type Reply, send } from '../api.ts'
import { Visitor } from '../dashboard/pages.ts'
import { counted, losingFirstReply, withBatch } from '../faults/wrapped.ts'
import { type Client, newClient, requestToken, seen } from '../oauth/client.ts'
import { scansOf } from '../query-plans.ts'

const SOURCE = 'https://paste.example/b7kq'
const ACCEPTED = '{"status":"accepted"}'

interface Report extends Reply {
  /** D1 requests before the response, and all of them. */
  readonly trips: readonly [before: number, all: number]
  readonly counter: ReturnType<typeof counted>
}

async function post(body: string, headers: Record<string, string> = {}, binding = env.DB): Promise<Report> {
  const counter = counted(binding)
  let before = 0
  const request = new Request('https://oncekey.test/leaks', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body,
  })
  const reply = await send(request, { DB: counter.database }, () => {
    before = counter.trips
  })
  return { ...reply, counter, trips: [before, counter.trips] }
}
const report = (credential: unknown, source?: unknown, headers = {}) =>
  post(JSON.stringify({ credential, source }), headers)

const eventsOf = async (apiKey: string, type: string) => (await call(apiKey, 'GET', `/events?events=${type}`)).json.data
const react = (client: Client, leak_reaction: string) =>
  call(client.apiKey, 'PATCH', '/connect/environment', { body: { leak_reaction } })
const secretOf = ({ apiKey, secretId }: Client) => call(apiKey, 'GET', `/connect/client_secrets/${secretId}`)

async function newSigningSecret(
  environmentId: string,
  events: WebhookEndpoint['events'] = ['webhook_endpoint.paused'],
): Promise<string> {
  const { plaintext } = await issueCredential('whsec', '0')
  const now = Date.now()
  const endpoint = { id: newId('we', now), environmentId, url: 'https://example.com/?a=b', events, createdAt: now }
  await createWebhookEndpoint(operatorDatabase(), { ...endpoint, secret: plaintext })
  return plaintext
}

describe('a reported client secret', () => {
  test('with the reaction “notify”, repeated reports of a secret record one event with the source, and the secret still works', async () => {
    const client = await newClient()
    for (const _ of [1, 2, 3]) expect((await report(client.secret, SOURCE)).status).toBe(202)
    const [event, ...others] = await eventsOf(client.apiKey, 'connect_application_secret.leaked')
    expect(others).toEqual([])
    expect(event.data).toMatchObject({ id: client.secretId, source: SOURCE, reaction: 'notify' })
    expect(event.context).toMatchObject({ actor: 'system', request_id: null, ip_address: null, user_agent: null })
    expect((await requestToken(client)).status).toBe(200)
  })

  test('with the reaction “disable”, a report disables the secret, even if the secret was enabled again after an earlier report', async () => {
    const client = await newClient()
    await react(client, 'disable')
    const path = `/connect/client_secrets/${client.secretId}`
    for (const times of [1, 2]) {
      for (const _ of [1, 2, 3]) await report(client.secret)
      expect((await secretOf(client)).json.disabled).toBe(true)
      const events = await eventsOf(client.apiKey, 'connect_application_secret.leaked')
      expect(events).toHaveLength(times)
      expect(events.at(-1).data).toMatchObject({ disabled: true, source: null, reaction: 'disable' })
      await call(client.apiKey, 'PATCH', path, { body: { disabled: false } })
    }
    expect((await requestToken(client)).status).toBe(200)
  })

  test('a report after the reaction became stricter takes the stricter action, and keeps the time and source of the first report', async () => {
    const client = await newClient()
    const marks = () =>
      env.DB.prepare('SELECT leak_reported_at, leak_source FROM client_secrets WHERE id = ?')
        .bind(client.secretId)
        .first()
    await report(client.secret, SOURCE)
    const first = await marks()
    for (const reaction of ['disable', 'revoke']) {
      await react(client, reaction)
      for (const _ of [1, 2]) await report(client.secret, `${SOURCE}/${reaction}`)
    }
    const events = await eventsOf(client.apiKey, 'connect_application_secret.leaked')
    expect(
      events.map(({ data }: { data: { reaction: string; source: string } }) => [data.reaction, data.source]),
    ).toEqual([
      ['notify', SOURCE],
      ['disable', `${SOURCE}/disable`],
      ['revoke', `${SOURCE}/revoke`],
    ])
    expect((await secretOf(client)).status).toBe(404)
    expect(await marks()).toEqual(first)
  })

  test('with the reaction “revoke”, repeated reports revoke the secret, with one event', async () => {
    const client = await newClient()
    await react(client, 'revoke')
    for (const _ of [1, 2]) await report(client.secret)
    expect((await secretOf(client)).status).toBe(404)
    expect(await eventsOf(client.apiKey, 'connect_application_secret.leaked')).toHaveLength(1)
  })

  test('a report of a revoked secret records no event', async () => {
    const client = await newClient()
    await call(client.apiKey, 'DELETE', `/connect/client_secrets/${client.secretId}`)
    await report(client.secret)
    expect(await eventsOf(client.apiKey, 'connect_application_secret.leaked')).toEqual([])
  })
})

describe('other reported credentials', () => {
  test.each(['notify', 'disable', 'revoke'])(
    'repeated reports of an API key with the reaction “%s” record one event, and any reaction but “notify” revokes the key',
    async (reaction) => {
      const client = await newClient()
      await react(client, reaction)
      const key = await newApiKey({ environmentId: client.environmentId })
      for (const _ of [1, 2]) await report(key.apiKey, SOURCE)
      const isRevoked = reaction !== 'notify'
      expect((await call(key.apiKey, 'GET', '/events')).status).toBe(isRevoked ? 401 : 200)
      const [event, ...others] = await eventsOf(client.apiKey, 'api_key.leaked')
      expect(others).toEqual([])
      const data = { object: 'api_key', id: key.id, source: SOURCE, reaction: isRevoked ? 'revoke' : 'notify' }
      expect(event.data).toMatchObject(data)
    },
  )

  test.each(['notify', 'disable', 'revoke'])(
    'repeated reports of a webhook signing secret with the reaction “%s” record one event, and only “revoke” deletes the endpoint',
    async (reaction) => {
      const client = await newClient()
      await react(client, reaction)
      const secret = await newSigningSecret(client.environmentId)
      for (const _ of [1, 2]) await report(secret)
      const query = 'SELECT deleted_at IS NULL AS is_active FROM webhook_endpoints WHERE environment_id = ?'
      const row = await env.DB.prepare(query).bind(client.environmentId).first()
      expect(row?.is_active).toBe(reaction === 'revoke' ? 0 : 1)
      const [event, ...others] = await eventsOf(client.apiKey, 'webhook_endpoint.leaked')
      expect(others).toEqual([])
      const effect = reaction === 'revoke' ? 'revoke' : 'notify'
      expect(event.data).toMatchObject({ url: 'https://example.com/', source: null, reaction: effect })
      expect(JSON.stringify(event)).not.toContain(secret)
    },
  )
})

describe('a repeated report after the reaction became stricter', () => {
  test('a repeated report of an API key revokes the key, with one event for each reaction', async () => {
    const client = await newClient()
    const { apiKey } = await newApiKey({ environmentId: client.environmentId })
    for (const reaction of ['notify', 'revoke']) {
      await react(client, reaction)
      for (const _ of [1, 2]) await report(apiKey)
    }
    expect((await call(apiKey, 'GET', '/events')).status).toBe(401)
    const events = await eventsOf(client.apiKey, 'api_key.leaked')
    expect(events.map(({ data }: { data: { reaction: string } }) => data.reaction)).toEqual(['notify', 'revoke'])
  })

  test('a repeated report of a webhook signing secret records one event for each reaction', async () => {
    const client = await newClient()
    const secret = await newSigningSecret(client.environmentId)
    for (const reaction of ['notify', 'revoke']) {
      await react(client, reaction)
      for (const _ of [1, 2]) await report(secret)
    }
    const events = await eventsOf(client.apiKey, 'webhook_endpoint.leaked')
    expect(events.map(({ data }: { data: { reaction: string } }) => data.reaction)).toEqual(['notify', 'revoke'])
  })
})

test('a report of an expired API key records no event', async () => {
  const client = await newClient()
  const { apiKey } = await newApiKey({ environmentId: client.environmentId, expiresAt: Date.now() - 1 })
  await report(apiKey)
  expect(await eventsOf(client.apiKey, 'api_key.leaked')).toEqual([])
})

describe('the webhooks of a report', () => {
  afterEach(() => void vi.unstubAllGlobals())

  test('an endpoint that subscribes to the event receives it right after the response, and other endpoints receive nothing', async () => {
    const client = await newClient()
    await newSigningSecret(client.environmentId, [])
    const received: string[] = []
    vi.stubGlobal('fetch', async (_: string, { body }: { body: string }) => {
      received.push(JSON.parse(body).event)
      return new Response()
    })
    expect((await report(client.secret)).trips[0]).toBe(0)
    expect(received).toEqual(['connect_application_secret.leaked'])
    await report(client.secret)
    const other = await newClient()
    await newSigningSecret(other.environmentId, ['connect_application.created'])
    expect((await report(other.secret)).trips).toEqual([0, 1])
    expect(received).toHaveLength(1)
  })

  test('a report sends only its own event, even if deliveries of other events are due', async () => {
    const other = await newClient()
    await newSigningSecret(other.environmentId, [])
    let status = 500
    const received: string[] = []
    vi.stubGlobal('fetch', async (_: string, { body }: { body: string }) => {
      received.push(JSON.parse(body).event)
      return new Response('', { status })
    })
    await newApplication(other.apiKey)
    await env.DB.prepare('UPDATE webhook_deliveries SET next_attempt_at = 0 WHERE environment_id = ?')
      .bind(other.environmentId)
      .run()
    status = 200
    const client = await newClient()
    await newSigningSecret(client.environmentId, [])
    await report(client.secret)
    expect(received).toEqual(['connect_application.created', 'connect_application_secret.leaked'])
  })
})

describe('the database requests of a report', () => {
  test.each([
    ['cs', 3],
    ['sk', 3],
    ['whsec', 4],
  ])(
    'a report of a credential %s_… scans no table, and writes nothing if it is repeated or the credential is unknown',
    async (prefix, statements) => {
      const client = await newClient()
      const known = { cs: client.secret, sk: client.apiKey, whsec: await newSigningSecret(client.environmentId) }[
        prefix
      ]
      const unknown = (await issueCredential(prefix, '0')).plaintext
      for (const [credential, isFirst] of [
        [known, true],
        [known, false],
        [unknown, false],
      ] as const) {
        const { counter } = await report(credential)
        expect([counter.trips, counter.statements]).toEqual([1, statements])
        expect(counter.rowsWritten > 0).toBe(isFirst)
        expect(await scansOf(env.DB, counter.sql)).toEqual([])
      }
    },
  )

  test('a report is handled although white space surrounds the credential', async () => {
    const client = await newClient()
    await react(client, 'disable')
    for (const credential of [
      ` ${client.secret}\n`,
      `${(await newApiKey({ environmentId: client.environmentId })).apiKey}\r\n`,
    ])
      await report(credential)
    for (const type of ['connect_application_secret.leaked', 'api_key.leaked'])
      expect(await eventsOf(client.apiKey, type)).toHaveLength(1)
  })

  test('a report is handled once if the reply of the database is lost', async () => {
    const client = await newClient()
    await react(client, 'disable')
    for (const credential of [client.secret, (await newApiKey({ environmentId: client.environmentId })).apiKey]) {
      const lossy = losingFirstReply(env.DB)
      await post(JSON.stringify({ credential }), {}, lossy.database)
      expect(lossy.batches).toBe(2)
    }
    for (const type of ['connect_application_secret.leaked', 'api_key.leaked'])
      expect(await eventsOf(client.apiKey, type)).toHaveLength(1)
  })

  test('a retry after a lost reply of the database does not disable a secret that was enabled in between', async () => {
    const client = await newClient()
    await react(client, 'disable')
    const enable = env.DB.prepare('UPDATE client_secrets SET disabled_at = NULL WHERE id = ?').bind(client.secretId)
    const lossy = losingFirstReply(env.DB, () => enable.run())
    await post(JSON.stringify({ credential: client.secret }), {}, lossy.database)
    expect(lossy.batches).toBe(2)
    expect((await requestToken(client)).status).toBe(200)
    expect(await eventsOf(client.apiKey, 'connect_application_secret.leaked')).toHaveLength(1)
  })

  test('a report that the database cannot store is logged, and still gets 202', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    const failing = { prepare: env.DB.prepare.bind(env.DB), batch: () => Promise.reject(new Error('D1 is down')) }
    const { secret } = await newClient()
    const reply = await post(JSON.stringify({ credential: secret }), {}, failing as unknown as D1Database)
    expect([reply.status, reply.text]).toEqual([202, ACCEPTED])
    expect(error).toHaveBeenCalledWith(expect.objectContaining({ message: 'leaks not handled', reported: 1 }))
    expect(JSON.stringify(error.mock.calls)).not.toContain(secret)
    error.mockRestore()
  })
})

describe('the response to a report', () => {
  test('the response to a report is the same for existing, unknown and malformed credentials', async () => {
    const client = await newClient()
    const unknown = async (prefix: string, region = '0') => (await issueCredential(prefix, region)).plaintext
    const credentials: [credential: string, all: number][] = [
      [client.secret, 1],
      [client.secret, 1],
      [client.apiKey, 1],
      [await newSigningSecret(client.environmentId), 1],
      ...(await Promise.all(
        ['cs', 'sk', 'whsec', 'session'].map(async (kind) => [await unknown(kind), 1] as [string, number]),
      )),
      [await unknown('cs', 'Z'), 0],
      [client.secret.slice(0, -1), 0],
      ['hunter2', 0],
      ['', 0],
      ['x'.repeat(10_000), 0],
    ]
    const first = seen(await report((await newClient()).secret))
    for (const [credential, all] of credentials) {
      const reply = await report(credential)
      expect(seen(reply)).toEqual(first)
      expect([reply.text, reply.trips]).toEqual([ACCEPTED, [0, all]])
    }
  })

  test.each([
    ['{', 400, 'malformed_request'],
    ['null', 422, 'invalid'],
    ['{}', 422, 'credential_required'],
    ['{"credential":1}', 422, 'credential_invalid'],
    ['{"credential":"x","source":1}', 422, 'source_invalid'],
    ...[
      'call 555-0100',
      'javascript:alert(1)',
      'https://',
      ' https://a',
      'https://a b',
      'https://\u00e4',
      `https://${'a'.repeat(1001)}`,
    ].map((source) => [JSON.stringify({ credential: 'x', source }), 422, 'source_malformed'] as const),
    [JSON.stringify({ credential: 'x'.repeat(70_000) }), 413, 'payload_too_large'],
  ] as const)('a report that is %s is refused with %i %s, without a D1 request', async (body, status, code) => {
    const reply = await post(body)
    expect([reply.status, reply.trips]).toEqual([status, [0, 0]])
    expect(reply.json.errors?.[0].code ?? reply.json.code).toBe(code)
  })

  test.each(['http://a', `https://${'a'.repeat(1000)}`, null])(
    'a report with the source %s is accepted',
    async (source) => {
      expect((await report('hunter2', source)).status).toBe(202)
    },
  )

  test.each([
    ['a malformed credential', async () => 'hunter2', 0],
    ['a well-formed credential', async () => (await issueCredential('cs', '0')).plaintext, 1],
  ])(
    'a report of %s is counted %i times by the rate limiter of all isolates, which counts only reports that need a D1 request',
    async (_, credential, times) => {
      const limit = vi.fn(async () => ({ success: true }))
      const body = JSON.stringify({ credential: await credential() })
      const headers = { 'Content-Type': 'application/json', 'CF-Connecting-IP': '198.51.100.79' }
      const request = new Request('https://oncekey.test/leaks', { method: 'POST', headers, body })
      expect((await send(request, { FAILED_AUTHENTICATIONS: { limit } })).status).toBe(202)
      expect(limit).toHaveBeenCalledTimes(times)
    },
  )

  test('a report whose source contains a credential is refused, and the response does not repeat the credential', async () => {
    const client = await newClient()
    const reply = await report(client.secret, `https://paste.example/?${client.secret}`)
    expect([reply.status, reply.json.errors[0].code]).toEqual([422, 'source_contains_credential'])
    expect(reply.text).not.toContain(client.secret)
  })

  test('after 100 reports, an IP address gets 429 for every credential, and another IP address does not', async () => {
    const client = await newClient()
    const headers = { 'CF-Connecting-IP': '198.51.100.77' }
    for (let i = 0; i < 100; i++) await report('hunter2', undefined, headers)
    for (const credential of ['hunter2', client.secret, client.apiKey]) {
      const { status, trips } = await report(credential, undefined, headers)
      expect([status, trips]).toEqual([429, [0, 0]])
    }
    expect((await requestToken(client)).status).toBe(200)
    expect((await report(client.secret, undefined, { 'CF-Connecting-IP': '198.51.100.78' })).status).toBe(202)
  })

  test('no log entry or event contains the reported secret, or the reporter’s IP address or user agent', async () => {
    const lines: string[] = []
    const keep = (...values: unknown[]) => void lines.push(JSON.stringify(values))
    for (const method of ['log', 'error'] as const) vi.spyOn(console, method).mockImplementation(keep)
    const client = await newClient()
    await report(client.secret, SOURCE, { 'CF-Connecting-IP': '203.0.113.99', 'User-Agent': 'finder/1.0' })
    vi.restoreAllMocks()
    expect(lines.join()).toContain('"message":"leaks"')
    const { results } = await env.DB.prepare('SELECT * FROM events WHERE environment_id = ?')
      .bind(client.environmentId)
      .all()
    for (const text of [lines.join(), JSON.stringify(results)]) {
      expect(text).not.toContain(client.secret)
      expect(text).not.toMatch(/203\.0\.113\.99|finder/)
    }
  })
})

test('the dashboard lists a leaked secret and a leaked API key, and the page of the secret shows the source of the report', async () => {
  const client = await newClient()
  const visitor = new Visitor()
  await visitor.signIn(client.apiKey)
  expect((await visitor.get('/dashboard')).html).not.toContain('Reported as leaked')
  await report(client.secret, SOURCE)
  await report(client.apiKey)
  const { html } = await visitor.get('/dashboard')
  expect(html.match(/Reported as leaked/g)).toHaveLength(2)
  expect(html).toContain(`/dashboard/secrets/${client.secretId}`)
  const page = await visitor.get(`/dashboard/secrets/${client.secretId}`)
  expect(page.html).toContain('It was reported as leaked')
  expect(page.html).toContain(SOURCE)
  expect(page.html).not.toContain(`href="${SOURCE}"`)
})

describe('the reports of GitHub’s secret scanning', () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  let keys: CryptoKeyPair
  let published: { key_identifier: string; key: string; is_current: boolean }[]
  let identifier: string
  let fetched: number
  let asked: RequestInit | undefined
  let isDown: boolean
  let days = 0

  beforeEach(async () => {
    identifier = crypto.randomUUID()
    keys = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair
    published = [{ key_identifier: identifier, key: await pemOf(keys.publicKey), is_current: true }]
    fetched = 0
    isDown = false
    vi.stubGlobal('fetch', async (_: string, init: RequestInit) => {
      fetched++
      asked = init
      return isDown ? new Response('', { status: 403 }) : Response.json({ public_keys: published })
    })
    // The keys of the test before are kept for a day.
    days += 2
    vi.setSystemTime(Date.now() + days * 86_400_000)
  })

  afterEach(() => {
    vi.unstubAllGlobals()
    vi.useRealTimers()
  })

  const gitHub = async (body: string, signature?: string, address?: string) =>
    post(body, {
      ...(address !== undefined && { 'CF-Connecting-IP': address }),
      'Github-Public-Key-Identifier': identifier,
      'Github-Public-Key-Signature': signature ?? (await sign(keys.privateKey, body)),
    })
  const matches = (...tokens: string[]) =>
    JSON.stringify(
      tokens.map((token) => ({ token, type: 'oncekey', url: `${SOURCE}#${token.length}`, source: 'content' })),
    )

  test('the known credentials in a signed report are handled in one D1 request after the response, each with its own event', async () => {
    const [one, two] = [await newClient(), await newClient()]
    const unknown = (await issueCredential('cs', '0')).plaintext
    const body = matches(one.secret, one.secret, 'garbage', two.secret, two.apiKey, unknown)
    const reply = await gitHub(body)
    expect([reply.status, reply.text, reply.trips]).toEqual([202, ACCEPTED, [0, 1]])
    for (const client of [one, two]) {
      const events = await eventsOf(client.apiKey, 'connect_application_secret.leaked')
      expect(events).toHaveLength(1)
      expect(events[0].data.source).toBe(`${SOURCE}#${client.secret.length}`)
    }
    expect(await eventsOf(two.apiKey, 'api_key.leaked')).toHaveLength(1)
    await gitHub(body)
    expect(fetched).toBe(1)
    expect(await eventsOf(one.apiKey, 'connect_application_secret.leaked')).toHaveLength(1)
  })

  test('a signed report is handled even while the maximum number of anonymous reports waits for the database', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    const released = Promise.withResolvers<void>()
    const slow = withBatch(env.DB, async (real, statements) => {
      await released.promise
      return real(statements)
    })
    const anonymous = JSON.stringify({ credential: (await issueCredential('cs', '0')).plaintext })
    const flood = Array.from({ length: 11 }, () => post(anonymous, {}, slow))
    await vi.waitUntil(() => logged.mock.calls.length > 0)
    expect(logged).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: 'leaks not handled' }))

    const client = await newClient()
    await gitHub(matches(client.secret))
    expect(await eventsOf(client.apiKey, 'connect_application_secret.leaked')).toHaveLength(1)
    released.resolve()
    await Promise.all(flood)
    logged.mockRestore()
  })

  test('a report without a signature, signed with another key, or changed after signing is refused, without a D1 request', async () => {
    const client = await newClient()
    const body = matches(client.secret)
    const other = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair
    const valid = await sign(keys.privateKey, body)
    for (const signature of ['', '!', 'MEQCIQ==', valid.slice(0, -8), await sign(other.privateKey, body)]) {
      const reply = await gitHub(body, signature)
      expect([reply.status, reply.json.code, reply.trips]).toEqual([403, 'invalid_signature', [0, 0]])
    }
    expect((await gitHub(`${body} `, valid)).status).toBe(403)
    expect((await post(body)).status).toBe(403)
    expect(await eventsOf(client.apiKey, 'connect_application_secret.leaked')).toEqual([])
  })

  test.each<[string, (der: Der) => number[]]>([
    ['that does not start as a sequence', ({ bytes }) => bytes.with(0, 0x31)],
    ['whose length is wrong', ({ bytes }) => [0x30, bytes.length - 1, ...bytes.slice(2)]],
    ['whose first number has the tag of another type', ({ bytes }) => bytes.with(2, 0x03)],
    ['whose second number has the tag of another type', ({ bytes, second }) => bytes.with(second, 0x03)],
    ['whose first number is longer than the signature', ({ bytes }) => bytes.with(3, 0x7f)],
    ['whose first number has no digits', ({ bytes, second }) => sequence([2, 0, ...bytes.slice(second)])],
    [
      'whose first number has 33 bytes',
      ({ bytes, second }) => sequence([2, 33, ...Array(33).fill(1), ...bytes.slice(second)]),
    ],
    ['that has only one number', ({ bytes, second }) => sequence(bytes.slice(2, second))],
    ['that has a byte after the numbers', ({ bytes }) => sequence([...bytes.slice(2), 0])],
  ])('a signature in DER %s is refused', async (_, change) => {
    const body = matches('hunter2')
    const valid = await sign(keys.privateKey, body)
    const bytes = Array.from(atob(valid), (character) => character.charCodeAt(0))
    const changed = change({ bytes, second: 4 + Number(bytes[3]) })
    const reply = await gitHub(body, btoa(String.fromCharCode(...changed)))
    expect([reply.status, reply.json.code]).toEqual([403, 'invalid_signature'])
    expect((await gitHub(body, valid)).status).toBe(202)
  })

  test('a signature is refused if GitHub lists no key with its identifier, or lists a malformed key', async () => {
    const body = matches('hunter2')
    published = [{ key_identifier: identifier, key: 'x', is_current: true }]
    expect((await gitHub(body)).status).toBe(403)
    identifier = crypto.randomUUID()
    expect((await gitHub(body)).status).toBe(403)
  })

  test.each([undefined, 1, 'x', 'javascript:alert(1)'])(
    'a signed report is handled without a source if its URL is %j',
    async (url) => {
      const client = await newClient()
      expect((await gitHub(JSON.stringify([{ token: client.secret, url }]))).status).toBe(202)
      const [event] = await eventsOf(client.apiKey, 'connect_application_secret.leaked')
      expect(event.data.source).toBeNull()
    },
  )

  test('a malformed signed report is refused with at most twenty errors', async () => {
    const { status, json } = await gitHub(JSON.stringify(Array(21).fill({})))
    expect([status, json.errors.length]).toEqual([422, 20])
    expect(json.errors[0]).toMatchObject({ field: '0.token', code: 'token_required' })
  })

  test('GitHub’s public keys are read again after a day, or after a minute if a key is unknown, and no redirect is followed', async () => {
    const start = Date.now()
    const known = identifier
    for (const [time, key, times] of [
      [0, known, 1],
      [60_000, 'unknown', 1],
      [60_001, 'unknown', 2],
      [60_001 + 86_400_000, known, 2],
      [60_002 + 86_400_000, known, 3],
    ] as const) {
      vi.setSystemTime(start + time)
      identifier = key
      expect([(await gitHub(matches('hunter2'))).status, fetched]).toEqual([key === known ? 202 : 403, times])
    }
    const headers = { Accept: 'application/json', 'User-Agent': 'Oncekey' }
    expect(asked).toMatchObject({ headers, redirect: 'manual' })
  })

  test('reports from GitHub are refused if the URL of GitHub’s public keys is not set', async () => {
    const body = matches('hunter2')
    const headers = {
      ...{ 'Content-Type': 'application/json', 'Github-Public-Key-Identifier': identifier },
      'Github-Public-Key-Signature': await sign(keys.privateKey, body),
    }
    const request = new Request('https://oncekey.test/leaks', { method: 'POST', headers, body })
    expect((await send(request, { GITHUB_KEYS_URL: '' })).status).toBe(403)
    expect(fetched).toBe(0)
  })

  test.each([
    ['unsigned', '198.51.100.80', 403, 429],
    ['signed', '198.51.100.81', 202, 202],
  ] as const)(
    'after 100 %s reports from the IP address %s, which get %i, the next report gets %i',
    async (kind, address, before, after) => {
      const body = matches('hunter2')
      const signature = kind === 'signed' ? await sign(keys.privateKey, body) : '!'
      for (let i = 0; i <= 100; i++)
        expect((await gitHub(body, signature, address)).status).toBe(i < 100 ? before : after)
    },
  )

  test('while GitHub’s public keys cannot be read, reports get 503, and the keys are requested at most once a minute', async () => {
    isDown = true
    const body = matches((await newClient()).secret)
    for (const _ of [1, 2, 3]) {
      const reply = await gitHub(body)
      expect([reply.status, reply.trips]).toEqual([503, [0, 0]])
      expect(reply.headers.get('Retry-After')).toBe('60')
    }
    expect(fetched).toBe(1)
    isDown = false
    vi.setSystemTime(Date.now() + 61_000)
    expect((await gitHub(body)).status).toBe(202)
  })

  test('while GitHub’s list of public keys cannot be read, the keys that were read before stay in use', async () => {
    const body = matches((await newClient()).secret)
    expect((await gitHub(body)).status).toBe(202)
    isDown = true
    vi.setSystemTime(Date.now() + 86_400_001)
    expect((await gitHub(body)).status).toBe(202)
    const known = identifier
    identifier = crypto.randomUUID()
    expect((await gitHub(body)).status).toBe(503)
    identifier = known
    expect((await gitHub(body)).status).toBe(202)
  })

  test('the signature of the sample in GitHub’s documentation is valid, although one of its numbers has only 31 bytes', async () => {
    identifier = 'bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c'
    const key =
      'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAdAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw=='
    published = [
      {
        key_identifier: identifier,
        key: `-----BEGIN PUBLIC KEY-----\n${key}\n-----END PUBLIC KEY-----\n`,
        is_current: true,
      },
    ]
    const body =
      '[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]'
    const signature = 'MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg=='
    expect((await gitHub(body, signature)).status).toBe(202)
    expect((await gitHub(body.replace('commit', 'Commit'), signature)).status).toBe(403)
  })
})

async function pemOf(key: CryptoKey): Promise<string> {
  const der = new Uint8Array((await crypto.subtle.exportKey('spki', key)) as ArrayBuffer)
  return `-----BEGIN PUBLIC KEY-----\n${btoa(String.fromCharCode(...der)).replaceAll(/.{64}/g, '$&\n')}\n-----END PUBLIC KEY-----\n`
}

/** Signs as GitHub does: DER in Base64. */
async function sign(key: CryptoKey, body: string): Promise<string> {
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const raw = new Uint8Array(await crypto.subtle.sign(algorithm, key, new TextEncoder().encode(body)))
  const numbers = [raw.subarray(0, 32), raw.subarray(32)].flatMap((bytes) => {
    const start = bytes.findIndex((byte) => byte !== 0)
    const digits = [...((bytes[start] ?? 0) > 127 ? [0] : []), ...bytes.subarray(start)]
    return [2, digits.length, ...digits]
  })
  return btoa(String.fromCharCode(...sequence(numbers)))
}

/** A signature in DER, and where its second number starts. */
interface Der {
  readonly bytes: number[]
  readonly second: number
}

const sequence = (content: number[]) => [0x30, content.length, ...content]
