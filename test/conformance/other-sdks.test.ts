import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { json, text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { checkResponse } from '../contract.ts'
import { newApiKey } from '../operator.ts'
import { m2mApplication, ORGANIZATION, secretsOf } from '../requests.ts'
import { serve } from '../served.ts'

const JSON_TYPE = { 'Content-Type': 'application/json' }

/** The requests of one of the vendor's SDKs, by its source: additions to method, path, key and body. */
interface Shape {
  /** On every request. */
  readonly headers: Record<string, string>
  /** On a POST or PUT as well. */
  readonly writeHeaders: Record<string, string>
  /** The body of a request for a new secret; empty for none. */
  readonly secretBody: string
  /** The Idempotency-Key of the first attempt of a POST, and of later attempts. */
  readonly keys: () => [first: string | null, others: string | null]
  /** Which of three attempts are replays of an earlier one. */
  readonly replays: [boolean, boolean, boolean]
}

const uuid = (prefix = ''): [string, string] => {
  const key = prefix + crypto.randomUUID()
  return [key, key]
}

const SHAPES: Record<string, Shape> = {
  Python: {
    headers: { Accept: '*/*', 'Accept-Encoding': 'gzip, deflate', 'User-Agent': 'workos-python/6.0.0', ...JSON_TYPE },
    writeHeaders: {},
    secretBody: '{}',
    keys: uuid,
    replays: [false, true, true],
  },
  Go: {
    headers: { 'User-Agent': 'workos-go/v6.0.0', ...JSON_TYPE, 'Accept-Encoding': 'gzip' },
    writeHeaders: {},
    secretBody: '',
    keys: uuid,
    replays: [false, true, true],
  },
  Ruby: {
    headers: {
      'Accept-Encoding': 'gzip;q=1.0,deflate;q=0.6,identity;q=0.3',
      Accept: '*/*',
      'User-Agent': 'workos-ruby',
    },
    writeHeaders: JSON_TYPE,
    secretBody: '',
    keys: () => [null, crypto.randomUUID()],
    replays: [false, false, true],
  },
  PHP: {
    headers: { ...JSON_TYPE, 'User-Agent': 'WorkOS PHP/9.0.0' },
    writeHeaders: {},
    secretBody: '{}',
    keys: () => [null, null],
    replays: [false, false, false],
  },
  '.NET': {
    headers: { 'Accept-Encoding': 'utf-8', 'User-Agent': 'workos-dotnet/3.0.0' },
    writeHeaders: JSON_TYPE,
    secretBody: '{}',
    keys: uuid,
    replays: [false, true, true],
  },
  Kotlin: {
    headers: { 'User-Agent': 'workos-kotlin', Accept: 'application/json', 'Accept-Encoding': 'gzip' },
    writeHeaders: { 'Content-Type': 'application/json; charset=utf-8' },
    secretBody: '{}',
    // A hash of the request: the same for every create on one application.
    keys: () => [`retry-${'0123456789abcdef'.repeat(4)}`, `retry-${'0123456789abcdef'.repeat(4)}`],
    replays: [false, false, false],
  },
  Node: {
    headers: { Accept: 'application/json, text/plain, */*', 'User-Agent': 'workos-node/11.0.0', ...JSON_TYPE },
    writeHeaders: {},
    secretBody: '{}',
    keys: () => uuid('retry-'),
    replays: [false, true, true],
  },
}

const served = await serve()
const { apiKey } = await newApiKey(served.database)
const { hostname, port, host } = new URL(served.origins[0])

/** Sends these headers in this order, and no others. */
async function send(method: string, path: string, headers: Record<string, string>, body?: string) {
  const all = { Host: host, Authorization: `Bearer ${apiKey}`, ...headers }
  const length = body === undefined ? {} : { 'Content-Length': `${Buffer.byteLength(body)}` }
  const outgoing = request({
    method,
    path,
    hostname,
    port,
    headers: Object.entries({ ...all, ...length }).flat(),
    setDefaultHeaders: false,
  })
  outgoing.end(body)
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  const { statusCode: status = 0 } = incoming
  const replied = new Response(status === 204 ? null : await text(incoming), {
    status,
    headers: incoming.headers as Record<string, string>,
  })
  return checkResponse(method, `${served.origins[0]}${path}`, replied)
}

const newApplication = async (): Promise<string> => {
  const created = await send('POST', '/connect/applications', JSON_TYPE, JSON.stringify(m2mApplication))
  return ((await created.json()) as { id: string }).id
}
const liveSecrets = async (id: string) => (await (await send('GET', secretsOf(id), {})).json()) as { id: string }[]

describe.each(Object.entries(SHAPES))('the %s SDK', (_, { headers, writeHeaders, secretBody, keys, replays }) => {
  const write = (method: string, path: string, body: string, key: string | null) =>
    // Every HTTP library writes a length of 0 for a POST that has no body.
    send(method, path, { ...headers, ...writeHeaders, ...(key && { 'Idempotency-Key': key }) }, body)

  test('two calls of the SDK create two secrets', async () => {
    const id = await newApplication()
    for (let call = 0; call < 2; call++) {
      const created = await write('POST', secretsOf(id), secretBody, keys()[0])
      expect(created.status).toBe(201)
      expect(created.headers.has('Idempotent-Replayed')).toBe(false)
    }
    expect(await liveSecrets(id)).toHaveLength(2)
  })

  test('a retry of the SDK gets the same secret only if it sends the same Idempotency-Key', async () => {
    const id = await newApplication()
    const [firstKey, secondKey] = keys()
    const replies = []
    for (const key of [firstKey, secondKey, secondKey])
      replies.push(await write('POST', secretsOf(id), secretBody, key))
    const bodies = await Promise.all(replies.map((reply) => reply.text()))
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 201])
    expect(replies.map((reply) => reply.headers.get('Idempotent-Replayed') === 'true')).toEqual(replays)
    const created = replays.filter((isReplay) => !isReplay).length
    expect(new Set(bodies)).toHaveLength(created)
    expect(await liveSecrets(id)).toHaveLength(created)
  })

  test('the SDK can create, update, read and delete an application', async () => {
    const input = { application_type: 'm2m', name: 'Nightly', organization_id: ORGANIZATION, description: 'At 2:00' }
    const created = await write('POST', '/connect/applications', JSON.stringify(input), keys()[0])
    const application = (await created.json()) as { id: string; client_id: string }
    expect(application).toMatchObject(input)
    const path = `/connect/applications/${application.client_id}`
    const updated = await write('PUT', path, '{"name":"Hourly"}', keys()[1])
    expect(await updated.json()).toMatchObject({ ...input, name: 'Hourly' })
    expect(await (await send('GET', path, headers)).json()).toMatchObject({ id: application.id, name: 'Hourly' })

    const secret = await write('POST', secretsOf(application.id), secretBody, keys()[0])
    const { id } = (await secret.json()) as { id: string }
    expect((await send('DELETE', `/connect/client_secrets/${id}`, headers)).status).toBe(204)
    expect(await liveSecrets(application.id)).toEqual([])
    expect((await send('DELETE', path, headers)).status).toBe(204)
    expect((await send('GET', path, headers)).status).toBe(404)
  })
})

describe('requests without an SDK', () => {
  test('curl can create a secret without a body, Content-Length or Content-Type', async () => {
    const id = await newApplication()
    expect((await send('POST', secretsOf(id), { 'User-Agent': 'curl/8.14.1', Accept: '*/*' })).status).toBe(201)
  })

  test('the Worker reads a chunked body', async () => {
    const id = await newApplication()
    const body = request({
      method: 'POST',
      path: secretsOf(id),
      hostname,
      port,
      headers: { ...JSON_TYPE, Authorization: `Bearer ${apiKey}`, 'Transfer-Encoding': 'chunked' },
    })
    body.write('{')
    setTimeout(() => body.end('}'), 20)
    const [incoming] = (await once(body, 'response')) as [IncomingMessage]
    expect(incoming.statusCode).toBe(201)
    expect(await json(incoming)).toHaveProperty('secret')
  })

  test('members that a caller may not set, and unknown members, are ignored', async () => {
    const id = await newApplication()
    const forged = {
      id: 'secret_forged',
      secret: 'cs_forged',
      secret_hint: 'forged',
      digest: 'forged',
      created_at: '2020-01-01T00:00:00.000Z',
      last_used_at: '2020-01-01T00:00:00.000Z',
      revoked_at: 1,
      application_id: 'conn_app_forged',
      environment_id: 'env_forged',
      what: { is: ['this'] },
    }
    const created = await send('POST', secretsOf(id), JSON_TYPE, JSON.stringify(forged))
    const secret = (await created.json()) as Record<string, unknown>
    for (const [name, value] of Object.entries(forged)) expect(secret[name]).not.toEqual(value)
    expect((await liveSecrets(id)).map((listed) => listed.id)).toEqual([secret.id])
  })

  test('the parameter registration_types may be comma-separated, repeated or bracketed', async () => {
    const id = await newApplication()
    for (const query of [
      'registration_types=authenticated',
      'registration_types=dynamic,authenticated',
      'registration_types=dynamic&registration_types=authenticated',
      'registration_types%5B%5D=dynamic&registration_types%5B%5D=authenticated',
      'registration_types[]=authenticated',
      'registration_types[0]=authenticated&registration_types[1]=dynamic',
    ]) {
      const listed = await send('GET', `/connect/applications?limit=100&${query}`, {})
      const { data } = (await listed.json()) as { data: { id: string }[] }
      expect(
        data.map((application) => application.id),
        query,
      ).toContain(id)
    }
    const dynamic = await send('GET', '/connect/applications?registration_types=dynamic', {})
    expect(await dynamic.json()).toMatchObject({ data: [], list_metadata: { before: null, after: null } })
    expect((await send('GET', '/connect/applications?registration_types=other', {})).status).toBe(422)
  })
})
