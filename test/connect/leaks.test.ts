import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import type { WebhookEndpoint } from '../../src/storage/webhooks.ts'
import { call, newApiKey, newApplication, operatorDatabase, send } from '../api.ts'
import { Visitor } from '../dashboard/pages.ts'
import { losingFirstReply } from '../faults/wrapped.ts'
import { type Client, newClient, requestToken, seen } from '../oauth/client.ts'
import { scansOf } from '../query-plans.ts'
import { ACCEPTED, eventsOf, post, report, SOURCE } from './leak-reports.ts'

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
