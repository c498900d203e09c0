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

describe('one method of client authentication per request (RFC 6749 §2.3)', () => {
  test.each<[string, string | undefined, Record<string, string>]>([
    ['Basic and the same secret in the body', good, { client_secret: secret }],
    ['Basic and the same pair in the body', good, { client_id: clientId, client_secret: secret }],
    ['Basic and another secret in the body', good, { client_secret: 'x' }],
    [
      'a header that is unreadable, and the right pair in the body',
      'Basic !',
      { client_id: clientId, client_secret: secret },
    ],
    ['Bearer, and the right pair in the body', 'Bearer x', { client_id: clientId, client_secret: secret }],
    ['Basic and an assertion', good, { client_assertion: 'x' }],
    [
      'a secret in the body and an assertion',
      undefined,
      { client_id: clientId, client_secret: secret, client_assertion: 'x' },
    ],
    ['Basic, and a client_id of somebody else in the body (CVE-2026-118669)', good, { client_id: newId('client', 0) }],
    ['Basic, and the client_id in other letters in the body', good, { client_id: clientId.toLowerCase() }],
  ])('%s is invalid_request, and asks no storage', async (_, authorization, parameters) => {
    const counter = counted(env.DB)
    const reply = await requestTokenWith(authorization, parameters, { DB: counter.database })
    expect([reply.status, reply.json.error]).toEqual([400, 'invalid_request'])
    expect(counter.trips).toBe(0)
  })
})

describe('client_secret_post', () => {
  test('authenticates (RFC 6749 §2.3.1)', async () =>
    expect((await requestTokenWith(undefined, { client_id: clientId, client_secret: secret })).status).toBe(200))

  test.each<[string, Record<string, string>]>([
    ['nothing at all', {}],
    ['the id alone: there are no public clients', { client_id: clientId }],
    ['the secret alone', { client_secret: secret }],
    ['an empty secret', { client_id: clientId, client_secret: '' }],
    ['an empty id', { client_id: '', client_secret: secret }],
    ['both empty', { client_id: '', client_secret: '' }],
    ['an assertion alone', { client_assertion: 'x', client_assertion_type: 'x' }],
    ['the secret without its last character', { client_id: clientId, client_secret: secret.slice(0, -1) }],
    ['the secret without its first character', { client_id: clientId, client_secret: secret.slice(1) }],
    ['the secret with a space behind it', { client_id: clientId, client_secret: `${secret} ` }],
    ['the secret with a line break behind it', { client_id: clientId, client_secret: `${secret}\n` }],
    ['the secret with NUL behind it', { client_id: clientId, client_secret: `${secret}\0` }],
    [
      'the secret in the other case',
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
    ['the id for a secret', { client_id: clientId, client_secret: clientId }],
    ['the API key for a secret', { client_id: clientId, client_secret: client.apiKey }],
    ['the application id for the client id', { client_id: client.applicationId, client_secret: secret }],
    ['the environment’s client id', { client_id: client.audience, client_secret: secret }],
    ['the id with a space behind it', { client_id: `${clientId} `, client_secret: secret }],
    ['the id in lower case', { client_id: clientId.toLowerCase(), client_secret: secret }],
    ['bracketed names', { 'client_id[]': clientId, 'client_secret[]': secret }],
    ['names in capitals', { Client_Id: clientId, Client_Secret: secret }],
  ])('does not authenticate: %s', async (_, parameters) => {
    const reply = await requestTokenWith(undefined, parameters)
    expect([reply.status, reply.json.error]).toEqual([401, 'invalid_client'])
    expect(reply.headers.has('WWW-Authenticate')).toBe(false)
  })

  test('takes nothing from the query (RFC 6749 §2.3.1)', async () => {
    const query = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret })
    const url = `/oauth2/token?${query}`
    expect((await post(url, { grant_type: 'client_credentials' })).status).toBe(401)
    expect((await post(url, { grant_type: 'client_credentials', client_id: clientId })).status).toBe(401)
    expect((await post(url, '')).status).toBe(401)
    expect((await post(`/oauth2/introspection?${query}&token=x`, { token: 'x' })).status).toBe(401)
  })
})

describe('a refused credential looks the same to the byte, whatever is wrong (CWE-204)', async () => {
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

  const cases: [string, Pick<Client, 'clientId' | 'secret'>][] = [
    ['an unknown client', { clientId: newId('client', Date.now()), secret }],
    ['an unknown secret', { clientId, secret: (await issueCredential('cs', '0')).plaintext }],
    ['a secret of a region that is not there', { clientId, secret: (await issueCredential('cs', '1')).plaintext }],
    ['a wrong checksum', { clientId, secret: secret.replace(/.$/, (last) => (last === '0' ? '1' : '0')) }],
    ['garbage', { clientId: 'nobody', secret: 'nothing' }],
    ['a secret of another application of the environment', { clientId, secret: other.secret }],
    ['a secret of another environment', { clientId, secret: stranger.secret }],
    ['a revoked secret', revoked],
    ['an expired secret', expired],
    ['a disabled secret', disabled],
    ['a deleted application', deleted],
    ['an application deleted under a secret that lives', tombstone],
  ]
  const ways: Record<string, (client: Pick<Client, 'clientId' | 'secret'>) => Promise<Reply>> = {
    'token, by Basic': (who) => requestToken(who as Client),
    'token, by post': (who) => requestTokenWith(undefined, { client_id: who.clientId, client_secret: who.secret }),
    'introspection, by Basic': (who) => introspect(who as Client, 'x'),
    'introspection, by post': (who) =>
      post('/oauth2/introspection', { token: 'x', client_id: who.clientId, client_secret: who.secret }),
  }
  describe.each(Object.entries(ways))('%s', (way, send) => {
    test.each(cases)('%s', async (_, who) => {
      const logged = [vi.spyOn(console, 'log'), vi.spyOn(console, 'error')]
      const reply = await send(who)
      expect(seen(reply)).toEqual({
        status: 401,
        text: '{"error":"invalid_client","error_description":"Client authentication failed."}',
        headers: expect.arrayContaining([['content-type', 'application/json']]),
      })
      expect(reply.headers.get('WWW-Authenticate')).toBe(way.includes('Basic') ? 'Basic realm="oncekey"' : null)
      expect(seen(reply).headers).toEqual(seen(await send({ clientId, secret: 'nothing' })).headers)
      const log = JSON.stringify(logged.map(({ mock }) => mock.calls))
      expect(log).toContain('"status":401')
      expect(log).not.toContain(who.secret)
    })
  })

  test('while each of them would be let in but for that', async () => {
    for (const who of [other, stranger]) expect((await requestToken(who)).status).toBe(200)
    await setSecret(expired, { expires_at: Date.now() + 60_000 })
    await setSecret(disabled, { disabled_at: null })
    await env.DB.prepare('UPDATE applications SET deleted_at = NULL WHERE id = ?').bind(tombstone.applicationId).run()
    for (const who of [expired, disabled, tombstone]) expect((await requestToken(who)).status).toBe(200)
  })
})

test('of two live secrets each works until it is itself revoked', async () => {
  const rotated = await newClient()
  const second = await newSecret(rotated)
  expect((await requestToken(rotated)).status).toBe(200)
  await revoke(rotated)
  expect((await requestToken(rotated)).status).toBe(401)
  expect((await requestToken(second)).status).toBe(200)
})
