import { env } from 'cloudflare:workers'
import { decodeJwt } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { call, m2mApplication } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import {
  basic,
  type Client,
  firstPartyApplication,
  getToken,
  introspect,
  newClient,
  newSecret,
  oauthApplication,
  post,
  requestToken,
  revoke,
  setSecret,
} from './client.ts'

const client = await newClient({ ...m2mApplication, scopes: ['orders:read'] })
const second = await newSecret(client)
const firstParty = await newClient(firstPartyApplication, client)
const INACTIVE = '{"active":false}'

afterEach(() => vi.useRealTimers())

describe('introspection returns the claims of an active token (RFC 7662 §2.2)', () => {
  test('introspection returns the claims of an active token to its application, with any secret of the application', async () => {
    const token = await getToken(client)
    for (const asker of [client, second]) {
      const { status, json } = await introspect(asker, token)
      expect(status).toBe(200)
      expect(json).toEqual({ active: true, token_type: 'bearer', ...decodeJwt(token) })
    }
    expect(decodeJwt(token)).toMatchObject({ client_id: client.clientId, scope: 'orders:read' })
  })

  test('introspection returns no scope for an active token without a scope', async () => {
    const bare = await newClient()
    const { json } = await introspect(bare, await getToken(bare))
    expect(json).not.toHaveProperty('scope')
    expect(json.active).toBe(true)
  })

  test('introspection returns the claims of an active token to a first-party application of the token’s environment', async () => {
    expect((await introspect(firstParty, await getToken(client))).json).toMatchObject({
      active: true,
      client_id: client.clientId,
      aud: firstParty.audience,
    })
  })

  test.each(['access_token', 'refresh_token', 'nonsense', ''])(
    'introspection returns a token as active, whatever token_type_hint is: %s (RFC 7662 §2.1)',
    async (hint) => {
      const reply = await post(
        '/oauth2/introspection',
        { token: await getToken(client), token_type_hint: hint },
        { headers: { Authorization: basic(client.clientId, client.secret) } },
      )
      expect(reply.json.active).toBe(true)
    },
  )

  test('introspection returns a token as active until the second at which the token expires', async () => {
    const token = await getToken(client)
    const { exp = 0 } = decodeJwt(token)
    for (const [at, text] of [
      [exp * 1000 - 1, expect.stringContaining('"active":true')],
      [exp * 1000, INACTIVE],
      [exp * 1000 + 3600_000, INACTIVE],
    ] as const) {
      vi.setSystemTime(at)
      expect((await introspect(client, token)).text).toEqual(text)
    }
  })
})

describe('introspection returns a token’s scopes except those that its application has lost (RFC 7662 §2.2)', async () => {
  const changing = await newClient({ ...m2mApplication, scopes: ['a', 'b', 'c'] }, client)
  const token = await getToken(changing)
  const setScopes = (scopes: string[]) =>
    call(changing.apiKey, 'PUT', `/connect/applications/${changing.applicationId}`, { body: { name: 'x', scopes } })

  test.each<[string[], string | undefined]>([
    [['a', 'b', 'c'], 'a b c'],
    [['c', 'a', 'd'], 'a c'],
    [['ab', 'A'], undefined],
    [[], undefined],
    [['b', 'c'], 'b c'],
  ])(
    'after the application’s scopes change to %j, introspection returns only the token’s scopes among them',
    async (scopes, expected) => {
      expect((await setScopes(scopes)).status).toBe(200)
      for (const asker of [changing, firstParty]) {
        const { json } = await introspect(asker, token)
        expect([json.active, json.scope]).toEqual([true, expected])
      }
    },
  )

  test('introspection does not add scopes that the application has and the token lacks', async () => {
    await setScopes(['a', 'b'])
    const { json } = await requestToken(changing, { scope: 'a' })
    await setScopes(['a', 'b', 'c'])
    expect((await introspect(changing, json.access_token)).json.scope).toBe('a')
  })
})

describe('introspection returns a token as inactive to other clients (RFC 7662 §4)', async () => {
  const elsewhere = await newClient(firstPartyApplication)
  test.each<[string, Client]>([
    ['another m2m application of the environment', await newClient(m2mApplication, client)],
    ['a third-party oauth application of the environment', await newClient(oauthApplication, client)],
    ['an m2m application of another environment', await newClient()],
    ['a first-party application of another environment', elsewhere],
  ])('a token is inactive to %s', async (_, asker) => {
    expect((await introspect(asker, await getToken(client))).text).toBe(INACTIVE)
  })

  test('a first-party application sees as active only the tokens of its own environment', async () => {
    const beside = await newClient(m2mApplication, elsewhere)
    expect((await introspect(elsewhere, await getToken(beside))).json.active).toBe(true)
    expect((await introspect(firstParty, await getToken(beside))).text).toBe(INACTIVE)
  })
})

describe('a token becomes inactive immediately for every client (CVE-2026-8922)', () => {
  test.each<[string, (client: Client) => Promise<unknown>]>([
    ['its secret is revoked', revoke],
    ['its secret is disabled', (it) => setSecret(it, { disabled_at: Date.now() })],
    ['its secret expires', (it) => setSecret(it, { expires_at: Date.now() })],
    ['its application is deleted', (it) => call(it.apiKey, 'DELETE', `/connect/applications/${it.applicationId}`)],
    [
      'its application is deleted and its secret is not',
      (it) => env.DB.prepare('UPDATE applications SET deleted_at = 1 WHERE id = ?').bind(it.applicationId).run(),
    ],
  ])('a token becomes inactive immediately for every client when %s', async (what, fall) => {
    const fallen = await newClient(m2mApplication, client)
    const spare = await newSecret(fallen)
    const token = await getToken(fallen)
    expect((await introspect(firstParty, token)).json.active).toBe(true)
    await fall(fallen)
    expect((await introspect(firstParty, token)).text).toBe(INACTIVE)
    expect((await introspect(fallen, token)).status).toBe(401)
    const isOfTheSecret = what.startsWith('its secret')
    const { status, text } = await introspect(spare, token)
    expect([status, text]).toEqual(isOfTheSecret ? [200, INACTIVE] : [401, expect.any(String)])
    if (isOfTheSecret) expect((await introspect(spare, await getToken(spare))).json.active).toBe(true)
  })

  test('a token is active again when its secret is enabled again', async () => {
    const paused = await newSecret(client)
    const token = await getToken(paused)
    await setSecret(paused, { disabled_at: Date.now() })
    expect((await introspect(client, token)).text).toBe(INACTIVE)
    await setSecret(paused, { disabled_at: null })
    expect((await introspect(client, token)).json.active).toBe(true)
  })
})

describe('a request for introspection must authenticate a client (RFC 7662 §2.1, §2.3)', async () => {
  const token = await getToken(client)

  test.each<[string, Record<string, string>, Record<string, string>]>([
    ['no credentials', {}, {}],
    ['a client ID without a secret', { client_id: client.clientId }, {}],
    ['a wrong secret', { client_id: client.clientId, client_secret: `${client.secret}x` }, {}],
    ['a wrong secret, by Basic', {}, { Authorization: basic(client.clientId, 'x') }],
    ['the token itself', {}, { Authorization: `Bearer ${token}` }],
    ['an API key', {}, { Authorization: `Bearer ${client.apiKey}` }],
  ])('introspection returns 401 for %s, whether the token is active or not', async (_, parameters, headers) => {
    for (const asked of [token, 'garbage']) {
      const { status, json } = await post('/oauth2/introspection', { token: asked, ...parameters }, { headers })
      expect([status, json.error]).toEqual([401, 'invalid_client'])
    }
  })

  const authorization = { Authorization: basic(client.clientId, client.secret) }

  test.each<[string, string]>([
    ['two tokens', `token=${token}&token=${token}`],
    ['two hints', `token=${token}&token_type_hint=a&token_type_hint=a`],
    ['two methods of client authentication', `token=${token}&client_secret=${client.secret}`],
    ['another client', `token=${token}&client_id=${firstParty.clientId}`],
  ])('introspection returns invalid_request for a body with %s, without a D1 request', async (_, body) => {
    const counter = counted(env.DB)
    const options = { headers: authorization, bindings: { DB: counter.database } }
    const { status, json } = await post('/oauth2/introspection', body, options)
    expect([status, json.error]).toEqual([400, 'invalid_request'])
    expect(counter.trips).toBe(0)
  })

  test.each(['', 'token=', 'x=1', 'token_type_hint=access_token'])(
    'the body "%s" gets invalid_request for an authenticated client, and invalid_client without authentication (RFC 7662 §2.1)',
    async (body) => {
      const path = `/oauth2/introspection?token=${token}`
      const asClient = await post(path, body, { headers: authorization })
      expect([asClient.status, asClient.json.error]).toEqual([400, 'invalid_request'])
      expect((await post(path, body)).json.error).toBe('invalid_client')
    },
  )

  test('an empty client_id and client_secret in the body, which Dovecot sends in addition to Basic, are ignored (RFC 6749 §3.2)', async () => {
    const parameters = { token, client_id: '', client_secret: '' }
    expect((await post('/oauth2/introspection', parameters, { headers: authorization })).json.active).toBe(true)
  })

  test('introspection accepts client_secret_post', async () => {
    const parameters = { token, client_id: client.clientId, client_secret: client.secret }
    expect((await post('/oauth2/introspection', parameters)).json.active).toBe(true)
  })
})
