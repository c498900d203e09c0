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
  revoke,
  setSecret,
} from './client.ts'

const client = await newClient({ ...m2mApplication, scopes: ['orders:read'] })
const second = await newSecret(client)
const firstParty = await newClient(firstPartyApplication, client)
const INACTIVE = '{"active":false}'

afterEach(() => vi.useRealTimers())

describe('a live token is active, with its claims (RFC 7662 §2.2)', () => {
  test('to the application that it was issued to, by any secret of it', async () => {
    const token = await getToken(client)
    for (const asker of [client, second]) {
      const { status, json } = await introspect(asker, token)
      expect(status).toBe(200)
      expect(json).toEqual({ active: true, token_type: 'bearer', ...decodeJwt(token) })
    }
    expect(decodeJwt(token)).toMatchObject({ client_id: client.clientId, scope: 'orders:read' })
  })

  test('with the claims that it has: none is made up for an application without scopes', async () => {
    const bare = await newClient()
    const { json } = await introspect(bare, await getToken(bare))
    expect(json).not.toHaveProperty('scope')
    expect(json.active).toBe(true)
  })

  test('to a first-party application of its environment', async () => {
    expect((await introspect(firstParty, await getToken(client))).json).toMatchObject({
      active: true,
      client_id: client.clientId,
      aud: firstParty.audience,
    })
  })

  test.each(['access_token', 'refresh_token', 'nonsense', ''])(
    'whatever is hinted: token_type_hint=%s (§2.1)',
    async (hint) => {
      const reply = await post(
        '/oauth2/introspection',
        { token: await getToken(client), token_type_hint: hint },
        { headers: { Authorization: basic(client.clientId, client.secret) } },
      )
      expect(reply.json.active).toBe(true)
    },
  )

  test('to the second that it expires', async () => {
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

describe('a token is inactive to whom it does not concern (RFC 7662 §4)', async () => {
  const elsewhere = await newClient(firstPartyApplication)
  test.each<[string, Client]>([
    ['another m2m application of the environment', await newClient(m2mApplication, client)],
    ['a third-party oauth application of the environment', await newClient(oauthApplication, client)],
    ['an m2m application of another environment', await newClient()],
    ['a first-party application of another environment', elsewhere],
  ])('%s', async (_, asker) => {
    expect((await introspect(asker, await getToken(client))).text).toBe(INACTIVE)
  })

  test('while a first-party application elsewhere sees those of its own environment', async () => {
    const beside = await newClient(m2mApplication, elsewhere)
    expect((await introspect(elsewhere, await getToken(beside))).json.active).toBe(true)
    expect((await introspect(firstParty, await getToken(beside))).text).toBe(INACTIVE)
  })
})

describe('a token is inactive at once, to all, when what stands behind it falls (CVE-2026-8922)', () => {
  test.each<[string, (client: Client) => Promise<unknown>]>([
    ['its secret is revoked', revoke],
    ['its secret is disabled', (it) => setSecret(it, { disabled_at: Date.now() })],
    ['its secret expires', (it) => setSecret(it, { expires_at: Date.now() })],
    ['its application is deleted', (it) => call(it.apiKey, 'DELETE', `/connect/applications/${it.applicationId}`)],
    [
      'its application is deleted, its secret left alone',
      (it) => env.DB.prepare('UPDATE applications SET deleted_at = 1 WHERE id = ?').bind(it.applicationId).run(),
    ],
  ])('%s', async (what, fall) => {
    const fallen = await newClient(m2mApplication, client)
    const spare = await newSecret(fallen)
    const token = await getToken(fallen)
    expect((await introspect(firstParty, token)).json.active).toBe(true)
    await fall(fallen)
    expect((await introspect(firstParty, token)).text).toBe(INACTIVE)
    expect((await introspect(fallen, token)).status).toBe(401)
    const isOfTheSecret = what.includes('its secret') && !what.includes('left alone')
    const { status, text } = await introspect(spare, token)
    expect([status, text]).toEqual(isOfTheSecret ? [200, INACTIVE] : [401, expect.any(String)])
    if (isOfTheSecret) expect((await introspect(spare, await getToken(spare))).json.active).toBe(true)
  })

  test('a secret that comes back brings its tokens back, until they expire', async () => {
    const paused = await newSecret(client)
    const token = await getToken(paused)
    await setSecret(paused, { disabled_at: Date.now() })
    expect((await introspect(client, token)).text).toBe(INACTIVE)
    await setSecret(paused, { disabled_at: null })
    expect((await introspect(client, token)).json.active).toBe(true)
  })
})

describe('who asks must authenticate (RFC 7662 §2.1, §2.3)', async () => {
  const token = await getToken(client)

  test.each<[string, Record<string, string>, Record<string, string>]>([
    ['nobody', {}, {}],
    ['an id alone', { client_id: client.clientId }, {}],
    ['a wrong secret', { client_id: client.clientId, client_secret: `${client.secret}x` }, {}],
    ['a wrong secret, by Basic', {}, { Authorization: basic(client.clientId, 'x') }],
    ['the token itself', {}, { Authorization: `Bearer ${token}` }],
    ['an API key', {}, { Authorization: `Bearer ${client.apiKey}` }],
  ])('%s is 401, whether the token is good or not', async (_, parameters, headers) => {
    for (const asked of [token, 'garbage']) {
      const { status, json } = await post('/oauth2/introspection', { token: asked, ...parameters }, { headers })
      expect([status, json.error]).toEqual([401, 'invalid_client'])
    }
  })

  test.each<[string, string]>([
    ['no token', ''],
    ['an empty token', 'token='],
    ['a token in the query alone', ''],
    ['two tokens', `token=${token}&token=${token}`],
    ['two hints', `token=${token}&token_type_hint=a&token_type_hint=a`],
    ['two methods of client authentication', `token=${token}&client_secret=${client.secret}`],
    ['another client', `token=${token}&client_id=${firstParty.clientId}`],
  ])('%s is 400 invalid_request, and asks no storage', async (_, body) => {
    const counter = counted(env.DB)
    const headers = { Authorization: basic(client.clientId, client.secret) }
    const bindings = { DB: counter.database }
    const { status, json } = await post(`/oauth2/introspection?token=${token}`, body, { headers, bindings })
    expect([status, json.error]).toEqual([400, 'invalid_request'])
    expect(counter.trips).toBe(0)
  })

  test('by post as well as by Basic', async () => {
    const parameters = { token, client_id: client.clientId, client_secret: client.secret }
    expect((await post('/oauth2/introspection', parameters)).json.active).toBe(true)
  })
})
