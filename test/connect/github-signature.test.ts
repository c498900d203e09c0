import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { send } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'
import { newClient } from '../oauth/client.ts'
import { ACCEPTED, eventsOf, post, SOURCE } from './leak-reports.ts'

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
