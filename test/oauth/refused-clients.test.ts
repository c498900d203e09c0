import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import { call, type Reply } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import {
  basic,
  type Client,
  introspect,
  newClient,
  newSecret,
  post,
  requestToken,
  requestTokenWith,
  revoke,
  seen,
  setSecret,
} from './client.ts'

const client = await newClient()
const { clientId, secret } = client
const good = basic(clientId, secret)

afterEach(() => vi.restoreAllMocks())

describe('a request with two methods of client authentication (RFC 6749 §2.3)', () => {
  test.each<[string, string | undefined, Record<string, string>]>([
    ['Basic and the same secret in the body', good, { client_secret: secret }],
    ['Basic and the same credentials in the body', good, { client_id: clientId, client_secret: secret }],
    ['Basic and another secret in the body', good, { client_secret: 'x' }],
    ['a malformed header and valid credentials in the body', 'Basic !', { client_id: clientId, client_secret: secret }],
    ['Bearer and valid credentials in the body', 'Bearer x', { client_id: clientId, client_secret: secret }],
    ['Basic and an assertion', good, { client_assertion: 'x' }],
    [
      'a secret in the body and an assertion',
      undefined,
      { client_id: clientId, client_secret: secret, client_assertion: 'x' },
    ],
    [
      'Basic and the client_id of another client in the body (CVE-2026-118669)',
      good,
      { client_id: newId('client', 0) },
    ],
    ['Basic and the client_id in lower case in the body', good, { client_id: clientId.toLowerCase() }],
  ])(
    'a request with two methods of client authentication gets invalid_request without a D1 request: %s',
    async (_, authorization, parameters) => {
      const counter = counted(env.DB)
      const reply = await requestTokenWith(authorization, parameters, { DB: counter.database })
      expect([reply.status, reply.json.error]).toEqual([400, 'invalid_request'])
      expect(counter.trips).toBe(0)
    },
  )
})

test('a request without credentials gets 401 with WWW-Authenticate, and the log says that the credentials are missing (RFC 9110 §15.5.2)', async () => {
  const logged = vi.spyOn(console, 'log')
  for (const path of ['/oauth2/token', '/oauth2/introspection']) {
    const { status, headers } = await post(path, { token: 'x' })
    expect([status, headers.get('WWW-Authenticate')]).toEqual([401, 'Basic realm="oncekey"'])
    expect(logged).toHaveBeenLastCalledWith(expect.objectContaining({ reason: 'credentials_missing' }))
  }
})

test('a malformed Authorization header gets 401, and the log says that its credentials are malformed', async () => {
  const logged = vi.spyOn(console, 'log')
  expect((await requestTokenWith('Basic !')).status).toBe(401)
  expect(logged).toHaveBeenLastCalledWith(expect.objectContaining({ reason: 'credentials_malformed' }))
})

describe('a malformed client ID', () => {
  test.each([
    ['with other text before it', `x${clientId}`],
    ['with other text after it', `${clientId}0`],
    ['without its last symbol', clientId.slice(0, -1)],
    ['in lower case', clientId.toLowerCase()],
    ['with a letter that ULIDs do not have', clientId.replace(/.$/, 'U')],
    ['replaced by the ID of an application', client.applicationId],
  ])('a client ID %s is refused as malformed without a D1 request, and is not in the log', async (_, id) => {
    const logged = vi.spyOn(console, 'log')
    const counter = counted(env.DB)
    const { status } = await requestTokenWith(basic(id, secret), {}, { DB: counter.database })
    expect([status, counter.trips]).toEqual([401, 0])
    const [[entry]] = logged.mock.calls as [[object]]
    expect(entry).toMatchObject({ reason: 'credentials_malformed' })
    expect(entry).not.toHaveProperty('client_id')
  })
})

describe('client_secret_post', () => {
  test('client_secret_post authenticates a client (RFC 6749 §2.3.1)', async () =>
    expect((await requestTokenWith(undefined, { client_id: clientId, client_secret: secret })).status).toBe(200))

  test.each<[string, Record<string, string>]>([
    ['no credentials', {}],
    ['a client ID without a secret: there are no public clients', { client_id: clientId }],
    ['a secret without a client ID', { client_secret: secret }],
    ['an empty secret', { client_id: clientId, client_secret: '' }],
    ['an empty client ID', { client_id: '', client_secret: secret }],
    ['both empty', { client_id: '', client_secret: '' }],
    ['an assertion without a secret', { client_assertion: 'x', client_assertion_type: 'x' }],
    ['the secret without its last character', { client_id: clientId, client_secret: secret.slice(0, -1) }],
    ['the secret without its first character', { client_id: clientId, client_secret: secret.slice(1) }],
    ['the secret followed by a space', { client_id: clientId, client_secret: `${secret} ` }],
    ['the secret followed by a line break', { client_id: clientId, client_secret: `${secret}\n` }],
    ['the secret followed by NUL', { client_id: clientId, client_secret: `${secret}\0` }],
    [
      'the secret with upper and lower case exchanged',
      {
        client_id: clientId,
        client_secret: secret.replace(/[a-z]/gi, (c) => (c < 'a' ? c.toLowerCase() : c.toUpperCase())),
      },
    ],
    [
      'the secret in full-width letters',
      {
        client_id: clientId,
        client_secret: secret.replace(/[a-z0-9]/gi, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0)),
      },
    ],
    ['the secret percent-encoded once more', { client_id: clientId, client_secret: secret.replaceAll('_', '%5F') }],
    ['the hint', { client_id: clientId, client_secret: secret.slice(-6) }],
    ['the prefix', { client_id: clientId, client_secret: 'cs_0' }],
    ['the client ID as the secret', { client_id: clientId, client_secret: clientId }],
    ['the API key as the secret', { client_id: clientId, client_secret: client.apiKey }],
    ['the application ID as the client ID', { client_id: client.applicationId, client_secret: secret }],
    ['the client ID of the environment', { client_id: client.audience, client_secret: secret }],
    ['the client ID followed by a space', { client_id: `${clientId} `, client_secret: secret }],
    ['the client ID in lower case', { client_id: clientId.toLowerCase(), client_secret: secret }],
    ['bracketed names', { 'client_id[]': clientId, 'client_secret[]': secret }],
    ['names in capitals', { Client_Id: clientId, Client_Secret: secret }],
  ])('client_secret_post with invalid credentials gets invalid_client: %s', async (_, parameters) => {
    const reply = await requestTokenWith(undefined, parameters)
    expect([reply.status, reply.json.error]).toEqual([401, 'invalid_client'])
    expect(reply.headers.get('WWW-Authenticate')).toBe('Basic realm="oncekey"')
  })

  test('client_secret_post reads no credentials from the query (RFC 6749 §2.3.1)', async () => {
    const query = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret })
    const url = `/oauth2/token?${query}`
    expect((await post(url, { grant_type: 'client_credentials' })).status).toBe(401)
    expect((await post(url, { grant_type: 'client_credentials', client_id: clientId })).status).toBe(401)
    expect((await post(url, '')).status).toBe(401)
    expect((await post(`/oauth2/introspection?${query}&token=x`, { token: 'x' })).status).toBe(401)
  })
})

describe('every invalid credential gets the same response, byte for byte (CWE-204)', async () => {
  const unknownSecret = (await issueCredential('cs', '0')).plaintext
  const elsewhere = (await issueCredential('cs', '1')).plaintext
  const mistyped = secret.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
  const other = await newClient(undefined, client)
  const stranger = await newClient()
  const revoked = await newSecret(client)
  await revoke(revoked)
  const expired = await newSecret(client)
  await setSecret(expired, { expires_at: Date.now() })
  const disabled = await newSecret(client)
  await setSecret(disabled, { disabled_at: Date.now() })
  const deleted = await newClient(undefined, client)
  await call(deleted.apiKey, 'DELETE', `/connect/applications/${deleted.applicationId}`)
  const tombstone = await newClient(undefined, client)
  await env.DB.prepare('UPDATE applications SET deleted_at = 1 WHERE id = ?').bind(tombstone.applicationId).run()

  /** Each with the reason in the log, and the secret that is named there. */
  const cases: [string, Pick<Client, 'clientId' | 'secret'>, reason: string, secretId?: string][] = [
    ['an unknown client', { clientId: newId('client', Date.now()), secret }, 'client_mismatch', client.secretId],
    ['an unknown client and secret', { clientId: newId('client', 0), secret: unknownSecret }, 'client_unknown'],
    ['an unknown secret', { clientId, secret: unknownSecret }, 'secret_unknown'],
    ['a secret of an unknown region', { clientId, secret: elsewhere }, 'credentials_malformed'],
    ['a wrong checksum', { clientId, secret: mistyped }, 'credentials_malformed'],
    ['garbage', { clientId: 'unknown', secret: 'nothing' }, 'credentials_malformed'],
    ['a secret of another application', { clientId, secret: other.secret }, 'client_mismatch', other.secretId],
    ['a secret of another environment', { clientId, secret: stranger.secret }, 'client_mismatch', stranger.secretId],
    ['a revoked secret', revoked, 'secret_revoked', revoked.secretId],
    ['an expired secret', expired, 'secret_expired', expired.secretId],
    ['a disabled secret', disabled, 'secret_disabled', disabled.secretId],
    ['a deleted application', deleted, 'application_deleted', deleted.secretId],
    ['a deleted application whose secret is not revoked', tombstone, 'application_deleted', tombstone.secretId],
  ]
  const environments = new Map(
    [client, other, stranger, revoked, expired, disabled, deleted, tombstone].map((it) => [
      it.secretId,
      it.environmentId,
    ]),
  )
  const ways: Record<string, (client: Pick<Client, 'clientId' | 'secret'>) => Promise<Reply>> = {
    'token, by Basic': (who) => requestToken(who as Client),
    'token, by post': (who) => requestTokenWith(undefined, { client_id: who.clientId, client_secret: who.secret }),
    'introspection, by Basic': (who) => introspect(who as Client, 'x'),
    'introspection, by post': (who) =>
      post('/oauth2/introspection', { token: 'x', client_id: who.clientId, client_secret: who.secret }),
  }
  describe.each(Object.entries(ways))('%s', (_, send) => {
    test.each(cases)(
      '%s gets the same response as every invalid credential, byte for byte',
      async (_, who, reason, secretId) => {
        const logged = [vi.spyOn(console, 'log'), vi.spyOn(console, 'error')]
        const reply = await send(who)
        expect(seen(reply)).toEqual({
          status: 401,
          text: '{"error":"invalid_client","error_description":"Client authentication failed."}',
          headers: expect.arrayContaining([['content-type', 'application/json']]),
        })
        expect(reply.headers.get('WWW-Authenticate')).toBe('Basic realm="oncekey"')
        const entries = logged.flatMap(({ mock }) => mock.calls)
        expect(seen(reply).headers).toEqual(seen(await send({ clientId, secret: 'nothing' })).headers)
        const named = {
          ...(who.clientId !== 'unknown' && { client_id: who.clientId }),
          ...(secretId && { secret_id: secretId }),
        }
        expect(entries).toEqual([[expect.objectContaining({ status: 401, error: 'invalid_client', reason, ...named })]])
        const entry = entries[0]?.[0]
        expect(Object.hasOwn(entry, 'client_id')).toBe(who.clientId !== 'unknown')
        expect(Object.hasOwn(entry, 'secret_id')).toBe(secretId !== undefined)
        expect(entry.environment_id).toBe(secretId && environments.get(secretId))
        expect(JSON.stringify(entries)).not.toContain(who.secret)
      },
    )
  })

  test('an expired secret, a disabled secret and a secret of another application authenticate once the fault is corrected', async () => {
    for (const who of [other, stranger]) expect((await requestToken(who)).status).toBe(200)
    await setSecret(expired, { expires_at: Date.now() + 60_000 })
    await setSecret(disabled, { disabled_at: null })
    await env.DB.prepare('UPDATE applications SET deleted_at = NULL WHERE id = ?').bind(tombstone.applicationId).run()
    for (const who of [expired, disabled, tombstone]) expect((await requestToken(who)).status).toBe(200)
  })
})

test('after one of two secrets is revoked, the other still obtains tokens', async () => {
  const rotated = await newClient()
  const second = await newSecret(rotated)
  expect((await requestToken(rotated)).status).toBe(200)
  await revoke(rotated)
  expect((await requestToken(rotated)).status).toBe(401)
  expect((await requestToken(second)).status).toBe(200)
})
