import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { type Call, call, m2mApplication, newApiKey, newApplication, send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'

const mine = await newApiKey()
const application = await newApplication(mine.apiKey)
const secretsPath = `/connect/applications/${application.id}/client_secrets`
const created = (await call(mine.apiKey, 'POST', secretsPath)).json

const toHex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** Sends one Authorization header, or several, or none. */
async function authorize(...values: string[]) {
  const counter = counted(env.DB)
  const headers = new Headers()
  for (const value of values) headers.append('Authorization', value)
  const reply = await send(new Request('https://oncekey.test/connect/applications', { headers }), {
    DB: counter.database,
  })
  return { ...reply, trips: counter.trips }
}

const UNAUTHORIZED = { message: 'Unauthorized', code: 'unauthorized' }

describe('a valid API key', () => {
  test.each(['Bearer', 'bearer', 'BEARER', 'bEaReR', 'Bearer  ', 'Bearer      '])(
    'an API key is accepted after the scheme "%s" (RFC 9110 §11.1)',
    async (scheme) => {
      expect((await authorize(`${scheme} ${mine.apiKey}`)).status).toBe(200)
    },
  )

  test('white space around the Authorization header is ignored (RFC 9110 §5.5)', async () => {
    expect((await authorize(`  Bearer ${mine.apiKey}\t `)).status).toBe(200)
  })
})

describe('missing and malformed Authorization headers get the same 401, without a D1 request', async () => {
  const reference = await authorize()
  const { apiKey } = mine

  const REFUSED: Record<string, string[]> = {
    'no header': [],
    'an empty header': [''],
    'the scheme alone': ['Bearer'],
    'the scheme and a space': ['Bearer '],
    'no scheme': [apiKey],
    'no space': [`Bearer${apiKey}`],
    'a tab for the space': [`Bearer\t${apiKey}`],
    'a colon': [`Bearer: ${apiKey}`],
    'another scheme': [`Basic ${apiKey}`],
    'the key as Basic password': [`Basic ${btoa(`key:${apiKey}`)}`],
    'the key as Basic user': [`Basic ${btoa(`${apiKey}:`)}`],
    'the scheme Token': [`Token ${apiKey}`],
    'the scheme twice': [`Bearer Bearer ${apiKey}`],
    'two keys in one header': [`Bearer ${apiKey} ${apiKey}`],
    'two headers, both right': [`Bearer ${apiKey}`, `Bearer ${apiKey}`],
    'two headers, one of them Basic': ['Basic eDp5', `Bearer ${apiKey}`],
    'two headers, the first of them right': [`Bearer ${apiKey}`, 'Basic eDp5'],
    'a comma behind the key': [`Bearer ${apiKey},`],
    'a parameter behind the key': [`Bearer ${apiKey}; x=1`],
    quotes: [`Bearer "${apiKey}"`],
    'angle brackets': [`Bearer <${apiKey}>`],
    'percent-encoding': [`Bearer ${apiKey.replace('_', '%5F')}`],
    base64: [`Bearer ${btoa(apiKey)}`],
    'a key without its last character': [`Bearer ${apiKey.slice(0, -1)}`],
    'a key with a character too many': [`Bearer ${apiKey}0`],
    'a key with another last character': [`Bearer ${apiKey.slice(0, -1)}${apiKey.endsWith('a') ? 'b' : 'a'}`],
    'upper case': [`Bearer ${apiKey.toUpperCase()}`],
    'the hint of the key': [`Bearer ${apiKey.slice(-6)}`],
    'the prefix of the key': ['Bearer sk_0'],
    'another prefix': [`Bearer ${apiKey.replace('sk', 'pk')}`],
    'the digest of the key in hexadecimal': [`Bearer ${toHex(mine.digest)}`],
    'the digest of the key in base64': [`Bearer ${btoa(String.fromCharCode(...mine.digest))}`],
    'the ID of the key': [`Bearer ${mine.id}`],
    "an environment's id": [`Bearer ${mine.environmentId}`],
    'a client id': [`Bearer ${application.client_id}`],
    'a client secret': [`Bearer ${created.secret}`],
    'a client secret with the prefix of keys': [`Bearer ${created.secret.replace('cs', 'sk')}`],
    'a key of an unknown region': [`Bearer ${(await issueCredential('sk', 'Z')).plaintext}`],
    'an unsigned JWT': [`Bearer ${btoa('{"alg":"none"}')}.${btoa('{"sub":"x"}')}.`],
    'the word null': ['Bearer null'],
    'the word undefined': ['Bearer undefined'],
    '64 KiB': [`Bearer ${'A'.repeat(65_536)}`],
    '64 KiB around a key': [`Bearer ${apiKey}${'A'.repeat(65_536)}`],
    '64 KiB of spaces': [`Bearer ${' '.repeat(65_536)}x`],
    SQL: ["Bearer ' OR 1=1--"],
    'bytes that are not ASCII': ['Bearer \u00ff\u00fe'],
    'the replacement character': ['Bearer \ufffd'],
    'a key with Cyrillic letters': [`Bearer ${apiKey.replace('s', '\u0455')}`],
  }

  test.each(Object.entries(REFUSED))(
    'missing and malformed Authorization headers get the same 401, without a D1 request: %s',
    async (_, values) => {
      const reply = await authorize(...values)
      expect(reply.status).toBe(401)
      expect(reply.text).toBe(JSON.stringify(UNAUTHORIZED))
      expect(comparable(reply.headers)).toEqual(comparable(reference.headers))
      expect(reply.trips).toBe(0)
    },
  )

  test.each([
    ['an unknown key', async () => (await issueCredential('sk', '0')).plaintext],
    ['a revoked key', revokedKey],
    ['a client secret made with the prefix of keys', secretWithPrefixOfKeys],
  ])('%s gets the same 401 as a missing Authorization header, after one D1 request', async (_, key) => {
    const reply = await authorize(`Bearer ${await key()}`)
    expect(reply.status).toBe(401)
    expect(reply.text).toBe(reference.text)
    expect(comparable(reply.headers)).toEqual(comparable(reference.headers))
    expect(reply.trips).toBe(1)
  })
})

const comparable = (headers: Headers) => [...headers].filter(([name]) => name !== 'x-request-id')

async function revokedKey(): Promise<string> {
  const { id, apiKey } = await newApiKey()
  expect((await call(apiKey, 'GET', '/connect/applications')).status).toBe(200)
  await env.DB.prepare('UPDATE api_keys SET revoked_at = ? WHERE id = ?').bind(Date.now(), id).run()
  return apiKey
}

/** From a deployment that was once allowed to set the prefix. */
async function secretWithPrefixOfKeys(): Promise<string> {
  const { json } = await call(mine.apiKey, 'POST', secretsPath)
  const { plaintext, digest } = await issueCredential('sk', '0')
  await env.DB.prepare('UPDATE client_secrets SET digest = ? WHERE id = ?').bind(digest, json.id).run()
  return plaintext
}

describe('an API key outside the Authorization header authenticates nothing', () => {
  const withoutHeader = (path: string, headers: Record<string, string> = {}, body?: string) =>
    send(
      new Request(`https://oncekey.test${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        ...(body !== undefined && { body }),
      }),
    )
  const { apiKey } = mine

  test.each(['access_token', 'api_key', 'apikey', 'key', 'token', 'authorization', 'Authorization', 'client_secret'])(
    'an API key in the query, as %s, authenticates nothing (RFC 6750 §2.3, RFC 9700 §4.3.2)',
    async (name) => {
      expect((await withoutHeader(`/connect/applications?${name}=${apiKey}`)).json).toEqual(UNAUTHORIZED)
      expect((await withoutHeader(`/connect/applications?${name}=Bearer%20${apiKey}`)).json).toEqual(UNAUTHORIZED)
    },
  )

  test('an API key in the body authenticates nothing', async () => {
    const body = JSON.stringify({ ...m2mApplication, access_token: apiKey, api_key: apiKey })
    expect((await withoutHeader('/connect/applications', {}, body)).json).toEqual(UNAUTHORIZED)
  })

  test.each([
    'X-API-Key',
    'X-Auth-Token',
    'Api-Key',
    'Proxy-Authorization',
    'X-Forwarded-Authorization',
    'X-Original-Authorization',
  ])('an API key in the header %s authenticates nothing', async (name) => {
    for (const value of [apiKey, `Bearer ${apiKey}`]) {
      expect((await withoutHeader('/connect/applications', { [name]: value })).json).toEqual(UNAUTHORIZED)
    }
  })

  test.each(['session', '__Host-session', 'access_token', 'Authorization', 'wos-session'])(
    'an API key in the cookie %s authenticates nothing, because pages of other sites can make a browser send the cookie (CWE-352)',
    async (name) => {
      expect((await withoutHeader('/connect/applications', { Cookie: `${name}=${apiKey}` })).json).toEqual(UNAUTHORIZED)
    },
  )

  test('an API key in the path of the URL authenticates nothing', async () => {
    expect((await withoutHeader(`/connect/applications/${apiKey}`)).json).toEqual(UNAUTHORIZED)
  })
})

describe('a read-only API key', async () => {
  const reader = await newApiKey({ access: 'read', environmentId: mine.environmentId })
  const writes: [string, string, Call][] = [
    ['POST', '/connect/applications', { body: m2mApplication }],
    ['PUT', `/connect/applications/${application.id}`, { body: { name: 'changed' } }],
    ['DELETE', `/connect/applications/${application.id}`, {}],
    ['POST', secretsPath, {}],
    ['POST', secretsPath, { headers: { 'Idempotency-Key': crypto.randomUUID() } }],
    ['DELETE', `/connect/client_secrets/${created.id}`, {}],
    ['DELETE', '/connect/client_secrets/secret_unknown', {}],
    ['DELETE', '/connect/applications/unknown', {}],
  ]

  test.each(writes)('a read-only API key gets 403 for %s %s, and nothing changes', async (method, path, request) => {
    const everything = () =>
      env.DB.batch(
        ['applications', 'client_secrets', 'events'].map((table) => env.DB.prepare(`SELECT * FROM ${table}`)),
      )
    const before = (await everything()).map(({ results }) => results)
    const { status, json } = await call(reader.apiKey, method, path, request)
    expect([status, json]).toEqual([
      403,
      {
        message:
          'This API key does not allow this. Nothing was changed. Use a key with the access or the permission for it.',
        code: 'forbidden',
      },
    ])
    expect((await everything()).map(({ results }) => results)).toEqual(before)
  })

  test.each(['/connect/applications', `/connect/applications/${application.id}`, secretsPath])(
    'GET %s returns the same to a read-only key as to a key with write access, without secrets or digests',
    async (path) => {
      const [reads, writes] = [await call(reader.apiKey, 'GET', path), await call(mine.apiKey, 'GET', path)]
      expect(reads.status).toBe(200)
      expect(reads.text).toBe(writes.text)
      expect(reads.text).not.toContain(created.secret)
      expect(reads.text).not.toMatch(/digest|salt|environment|revoked|"secret"/)
    },
  )
})
