import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Call, call, m2mApplication, newApiKey, newApplication } from '../api.ts'
import { secretsOf } from '../requests.ts'
import { eventsOf } from './events-of.ts'

const HOUR_MS = 60 * 60 * 1000

let mine: Awaited<ReturnType<typeof newApiKey>>
let application: Awaited<ReturnType<typeof newApplication>>
beforeEach(async () => {
  mine = await newApiKey()
  application = await newApplication(mine.apiKey)
})

const secretsPath = (id = application.id) => secretsOf(id)

/** Sends a create that names itself. */
function post(
  path: string,
  key: string,
  body: unknown = {},
  { apiKey = mine.apiKey, headers = {}, ...rest }: Call & { apiKey?: string } = {},
) {
  return call(apiKey, 'POST', path, { body, headers: { ...headers, 'Idempotency-Key': key }, ...rest })
}

const replayed = (reply: { headers: Headers }) => reply.headers.get('Idempotent-Replayed')
/** The changes. A replay of a secret has an event too, because it returns the plaintext again. */
const countEvents = async () =>
  (await eventsOf(mine.environmentId)).filter(({ type }) => !type.endsWith('.replayed')).length
const age = (ms: number) =>
  env.DB.prepare('UPDATE idempotency_records SET created_at = created_at - ? WHERE environment_id = ?')
    .bind(ms, mine.environmentId)
    .run()

async function expectRefused(reply: Promise<Awaited<ReturnType<typeof post>>>, code: string) {
  const before = await countEvents()
  const { status, json } = await reply
  expect([status, json]).toEqual([422, { message: expect.any(String), code }])
  expect(await countEvents()).toBe(before)
}

/** The creates that may be sent again: how, and how many there are of what they make. */
const CREATES: [what: string, path: () => string, body: object, another: object][] = [
  ['an application', () => '/connect/applications', m2mApplication, { ...m2mApplication, name: 'Another' }],
  ['a client secret', () => secretsPath(), { name: 'ci' }, { name: 'another' }],
  [
    'a client secret by rotation',
    () => `${secretsPath()}/rotate`,
    { grace_period_seconds: 60 },
    { grace_period_seconds: 61 },
  ],
]

describe.each(CREATES)('creating %s with an Idempotency-Key', (_, path, body, another) => {
  test('a create that is sent several times creates one object, and gets the same response each time', async () => {
    const before = await countEvents()
    const first = await post(path(), 'key', body)
    expect([first.status, replayed(first)]).toEqual([201, null])
    for (let i = 0; i < 3; i++) {
      const again = await post(path(), 'key', body)
      expect([again.status, again.text, replayed(again)]).toEqual([201, first.text, 'true'])
    }
    expect(await countEvents()).toBe(before + 1)
  })

  test('a request with another order of JSON members, or with another X-Request-ID, counts as the same request', async () => {
    const first = await post(path(), 'key', body)
    const reversed = Object.fromEntries(Object.entries(body).reverse())
    const again = await post(path(), 'key', reversed, {
      headers: { 'Content-Type': 'application/json; charset=utf-8', 'X-Request-ID': 'other' },
    })
    expect([again.status, again.text]).toEqual([201, first.text])
  })

  test('the same Idempotency-Key with another body is refused', async () => {
    await post(path(), 'key', body)
    await expectRefused(post(path(), 'key', another), 'idempotency_key_reused')
    await expectRefused(post(path(), 'key', { ...body, unknown: 1 }), 'idempotency_key_reused')
    expect((await post(path(), 'key', body)).status).toBe(201)
  })

  test('the same Idempotency-Key on another path is refused', async () => {
    await post(path(), 'key', body)
    for (const [, other] of CREATES) {
      if (other() !== path())
        await expectRefused(post(other(), 'key', { ...m2mApplication, ...body }), 'idempotency_key_reused')
    }
  })

  test('a request with the same Idempotency-Key and another API key is a new request', async () => {
    const first = await post(path(), 'key', body)
    const colleague = await newApiKey({ environmentId: mine.environmentId })
    const theirs = await post(path(), 'key', body, { apiKey: colleague.apiKey })
    expect([theirs.status, replayed(theirs)]).toEqual([201, null])
    expect(theirs.json.id).not.toBe(first.json.id)

    const stranger = await newApiKey()
    const elsewhere = await newApplication(stranger.apiKey)
    const strangersPath = path().replace(application.id, elsewhere.id)
    const foreign = await post(strangersPath, 'key', body, { apiKey: stranger.apiKey })
    expect([foreign.status, replayed(foreign)]).toEqual([201, null])
    expect(foreign.json.id).not.toBe(first.json.id)
  })

  test('a request with the same body and another Idempotency-Key is a new request', async () => {
    const ids = []
    for (const key of ['key', 'Key', 'key2', 'kez', 'KEY']) {
      const reply = await post(path(), key, body)
      expect([reply.status, replayed(reply)]).toEqual([201, null])
      ids.push(reply.json.id)
    }
    expect(new Set(ids).size).toBe(5)
  })

  test('a repeated request is a replay within an hour, and a new request after that', async () => {
    const first = await post(path(), 'key', body)
    await age(HOUR_MS - 10_000)
    expect((await post(path(), 'key', body)).text).toBe(first.text)
    await age(10_000)
    const second = await post(path(), 'key', body)
    expect([second.status, replayed(second)]).toEqual([201, null])
    expect(second.json.id).not.toBe(first.json.id)
    expect((await post(path(), 'key', body)).text).toBe(second.text)
  })

  test('after an hour, the Idempotency-Key may be used for a different request', async () => {
    await post(path(), 'key', body)
    await age(HOUR_MS)
    const other = await post(path(), 'key', another)
    expect([other.status, replayed(other)]).toEqual([201, null])
    await expectRefused(post(path(), 'key', body), 'idempotency_key_reused')
  })

  test('after a request that fails validation, its Idempotency-Key can be used for another request', async () => {
    expect((await post(path(), 'key', { ...body, name: 5, grace_period_seconds: 'x' })).status).toBe(422)
    const reply = await post(path(), 'key', body)
    expect([reply.status, replayed(reply)]).toEqual([201, null])
  })
})

test('after a create for an unknown application, its Idempotency-Key can be used for another request', async () => {
  for (let i = 0; i < 2; i++) expect((await post(secretsPath('unknown'), 'key')).status).toBe(404)
  const reply = await post(secretsPath(), 'key')
  expect([reply.status, replayed(reply)]).toEqual([201, null])
})

describe('an Idempotency-Key', () => {
  const VISIBLE = Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i)).join('')

  test.each([
    ['as the SDK for Node writes it', 'retry-6d9e0f6a-0d5b-4c3e-8b1a-3f1f6f0c0a11'],
    ['as the SDKs for Python, Go and .NET write it', '6d9e0f6a-0d5b-4c3e-8b1a-3f1f6f0c0a11'],
    ['of one character', '0'],
    ['of 255 characters', 'x'.repeat(255)],
    ['of all visible ASCII characters', VISIBLE],
    ['in quotes, as the IETF draft writes it', '"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    ['like that of the SDK for Kotlin, but shorter', `retry-${'a'.repeat(63)}`],
    ['like that of the SDK for Kotlin, but longer', `retry-${'a'.repeat(65)}`],
    ['like that of the SDK for Kotlin, but in upper case', `retry-${'A'.repeat(64)}`],
    ['like that of the SDK for Kotlin, but without its prefix', 'a'.repeat(64)],
  ])('an Idempotency-Key %s is accepted', async (_, key) => {
    const first = await post(secretsPath(), key)
    const again = await post(secretsPath(), key)
    expect([first.status, again.text, replayed(again)]).toEqual([201, first.text, 'true'])
  })

  test.each([
    ['that is empty', ''],
    ['of 256 characters', 'x'.repeat(256)],
    ['of 10,000 characters', 'x'.repeat(10_000)],
    ['with a space', 'a b'],
    ['with a tab', 'a\tb'],
    ['sent twice, which arrives as a list', 'a, b'],
    ['with a character outside ASCII', 'cl\u00e9'],
    ['with DEL', 'a\x7f'],
  ])('an Idempotency-Key %s is refused', async (_, key) => {
    await expectRefused(post(secretsPath(), key), 'invalid_idempotency_key')
    await expectRefused(post('/connect/applications', key, m2mApplication), 'invalid_idempotency_key')
  })

  test('an Idempotency-Key that the SDK for Kotlin derives from the request is ignored, so that two equal calls create two secrets', async () => {
    const key = `retry-${'0123456789abcdef'.repeat(4)}`
    const [a, b] = [await post(secretsPath(), key), await post(secretsPath(), key)]
    expect([a.status, b.status, replayed(b)]).toEqual([201, 201, null])
    expect(a.json.id).not.toBe(b.json.id)
  })

  test('methods other than POST ignore the Idempotency-Key', async () => {
    const headers = { 'Idempotency-Key': 'a b' }
    expect((await call(mine.apiKey, 'GET', secretsPath(), { headers })).status).toBe(200)
    expect(
      (await call(mine.apiKey, 'PUT', `/connect/applications/${application.id}`, { headers, body: {} })).status,
    ).toBe(200)
    expect((await call(mine.apiKey, 'DELETE', `/connect/applications/${application.id}`, { headers })).status).toBe(204)
  })
})

describe('a replay after the created object has changed', () => {
  test('a replay returns a renamed secret as it was created', async () => {
    const first = await post(secretsPath(), 'key')
    await call(mine.apiKey, 'PATCH', `/connect/client_secrets/${first.json.id}`, { body: { name: 'ci' } })
    expect((await post(secretsPath(), 'key')).text).toBe(first.text)
  })

  test('a replay for a disabled secret is refused until the secret is enabled again', async () => {
    const first = await post(secretsPath(), 'key')
    const path = `/connect/client_secrets/${first.json.id}`
    await call(mine.apiKey, 'PATCH', path, { body: { disabled: true } })
    await expectRefused(post(secretsPath(), 'key'), 'client_secret_disabled')
    await call(mine.apiKey, 'PATCH', path, { body: { disabled: false } })
    expect((await post(secretsPath(), 'key')).text).toBe(first.text)
  })

  test('a replay returns an updated application as it was created', async () => {
    const first = await post('/connect/applications', 'key', m2mApplication)
    await call(mine.apiKey, 'PUT', `/connect/applications/${first.json.id}`, { body: { name: 'New', scopes: ['a'] } })
    expect((await post('/connect/applications', 'key', m2mApplication)).text).toBe(first.text)
  })

  test('a replay for a deleted application is refused, and the application stays deleted', async () => {
    const first = await post('/connect/applications', 'key', m2mApplication)
    await call(mine.apiKey, 'DELETE', `/connect/applications/${first.json.id}`)
    await expectRefused(post('/connect/applications', 'key', m2mApplication), 'application_deleted')
    expect((await call(mine.apiKey, 'GET', `/connect/applications/${first.json.id}`)).status).toBe(404)
  })

  test.each<[string, string, (id: string) => [string, string]]>([
    ['revoked', 'client_secret_revoked', (id) => ['DELETE', `/connect/client_secrets/${id}`]],
    ['revoked with all others', 'client_secret_revoked', () => ['DELETE', secretsPath()]],
    [
      'deleted with its application',
      'application_deleted',
      () => ['DELETE', `/connect/applications/${application.id}`],
    ],
  ])('a replay for a secret that was %s is refused', async (_, code, change) => {
    const first = await post(secretsPath(), 'key')
    expect((await call(mine.apiKey, ...change(first.json.id))).status).toBe(204)
    await expectRefused(post(secretsPath(), 'key'), code)
    await expectRefused(post(secretsPath(), 'key', { name: 'x' }), 'idempotency_key_reused')
  })

  test('an hour after a create whose secret was revoked, the same request creates a new secret', async () => {
    const first = await post(secretsPath(), 'key')
    await call(mine.apiKey, 'DELETE', `/connect/client_secrets/${first.json.id}`)
    await age(HOUR_MS)
    const second = await post(secretsPath(), 'key')
    expect([second.status, replayed(second)]).toEqual([201, null])
    expect(second.json.secret).not.toBe(first.json.secret)
  })
})

describe('a retry when an application has the maximum number of secrets', () => {
  const bindings = { MAX_SECRETS_PER_APPLICATION: 1 }

  test('a replay succeeds although the limit is reached', async () => {
    const first = await post(secretsPath(), 'key', {}, { bindings })
    expect((await post(secretsPath(), 'key', {}, { bindings })).text).toBe(first.text)
    await expectRefused(post(secretsPath(), 'key2', {}, { bindings }), 'client_secret_limit_reached')
  })

  test('a create that was refused because of the limit succeeds with the same Idempotency-Key once there is room', async () => {
    const first = await post(secretsPath(), 'key', {}, { bindings })
    await expectRefused(post(secretsPath(), 'key2', {}, { bindings }), 'client_secret_limit_reached')
    await call(mine.apiKey, 'DELETE', `/connect/client_secrets/${first.json.id}`)
    const second = await post(secretsPath(), 'key2', {}, { bindings })
    expect([second.status, replayed(second)]).toEqual([201, null])
  })
})

test('with one Idempotency-Key, paths with the ID and with the client ID of an application count as different requests', async () => {
  await post(secretsPath(), 'key')
  await expectRefused(post(secretsPath(application.client_id), 'key'), 'idempotency_key_reused')
})

test('with one Idempotency-Key, a request without a body and one with {} count as the same request', async () => {
  const first = await call(mine.apiKey, 'POST', secretsPath(), { headers: { 'Idempotency-Key': 'key' } })
  expect((await post(secretsPath(), 'key', {})).text).toBe(first.text)
})

test('a replay returns the secret with its original prefix although the setting has changed', async () => {
  const first = await post(secretsPath(), 'key')
  const again = await post(secretsPath(), 'key', {}, { bindings: { CLIENT_SECRET_PREFIX: 'acme' } })
  expect([again.status, again.text]).toEqual([201, first.text])
  expect((await post(secretsPath(), 'other', {}, { bindings: { CLIENT_SECRET_PREFIX: 'acme' } })).json.secret).toMatch(
    /^acme_[01]/,
  )
})
