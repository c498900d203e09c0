import { env } from 'cloudflare:workers'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { m2mApplication, send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'
import {
  basic,
  firstPartyApplication,
  getToken,
  newClient,
  oauthApplication,
  post,
  requestToken,
  unlimited,
} from './client.ts'

const client = await newClient({ ...m2mApplication, scopes: ['orders:read', 'orders:write'] })
const authorization = { Authorization: basic(client.clientId, client.secret) }
const GRANT = 'grant_type=client_credentials'
const unknownSecret = (await issueCredential('cs', '0')).plaintext

test('a response of the token endpoint has Cache-Control: no-store, and Pragma: no-cache for HTTP/1.0 (RFC 6749 §5.1)', async () => {
  for (const reply of [
    await requestToken(client),
    await requestToken(client, { scope: 'x' }),
    await post('/oauth2/token', ''),
  ])
    expect([reply.headers.get('Cache-Control'), reply.headers.get('Pragma')]).toEqual(['no-store', 'no-cache'])
})

describe('an access token (RFC 9068)', () => {
  test('an access token has the claims of RFC 9068 §2.2, org_id and secret_id, and no others', async () => {
    const before = Math.floor(Date.now() / 1000)
    const { status, json } = await requestToken(client)
    expect(status).toBe(200)
    expect(json).toEqual({
      access_token: expect.any(String),
      token_type: 'bearer',
      expires_in: 3600,
      scope: 'orders:read orders:write',
    })
    const { kid } = JSON.parse(env.SIGNING_KEY)
    expect(decodeProtectedHeader(json.access_token)).toEqual({ alg: 'RS256', kid, typ: 'at+jwt' })
    const claims = decodeJwt(json.access_token)
    expect(claims).toEqual({
      iss: 'https://oncekey.test',
      aud: client.audience,
      sub: client.clientId,
      client_id: client.clientId,
      org_id: m2mApplication.organization_id,
      scope: 'orders:read orders:write',
      jti: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      iat: expect.toSatisfy((iat) => Number.isInteger(iat) && iat >= before && iat <= Date.now() / 1000),
      exp: (claims.iat ?? 0) + 3600,
      secret_id: client.secretId,
    })
  })

  test('each access token has a unique jti', async () => {
    const tokens = await Promise.all(Array.from({ length: 50 }, () => getToken(client)))
    expect(new Set(tokens.map((token) => decodeJwt(token).jti)).size).toBe(50)
  })

  test.each([
    [60, 60],
    ['900', 900],
    [86_400, 86_400],
  ])('an access token is valid for as long as ACCESS_TOKEN_TTL_SECONDS says: %s', async (setting, seconds) => {
    const bindings = { ACCESS_TOKEN_TTL_SECONDS: setting as number }
    const { json } = await requestToken(client, {}, { bindings })
    const { iat = 0, exp } = decodeJwt(json.access_token)
    expect([json.expires_in, exp]).toEqual([seconds, iat + seconds])
  })

  test.each([oauthApplication, firstPartyApplication])(
    'an access token is issued only to m2m applications, and other applications get unauthorized_client (RFC 6749 §5.2)',
    async (application) => {
      const { status, json } = await requestToken(await newClient(application))
      expect([status, json.error]).toEqual([400, 'unauthorized_client'])
    },
  )
})

describe('the scopes that the token endpoint grants (RFC 6749 §3.3)', async () => {
  const ALL = 'orders:read orders:write'
  const bare = await newClient()
  const openid = await newClient({ ...m2mApplication, scopes: ['email', 'openid', 'orders:read'] })

  test.each([
    ['all scopes of the application when none is requested', client, undefined, ALL],
    ['all scopes of the application when the parameter is empty', client, '', ALL],
    ['the scope that is requested', client, 'orders:write', 'orders:write'],
    [
      'all scopes that are requested, in the requested order',
      client,
      'orders:write orders:read',
      'orders:write orders:read',
    ],
    ['a scope once when it is requested twice', client, 'orders:read orders:read', 'orders:read'],
    [
      'the requested scopes without those of OpenID Connect',
      client,
      'openid profile orders:read email offline_access',
      'orders:read',
    ],
    [
      'no scope when only those of OpenID Connect are requested',
      client,
      'openid profile email offline_access',
      undefined,
    ],
    [
      'the scopes of OpenID Connect that the application has',
      openid,
      'openid profile email offline_access',
      'openid email',
    ],
    ['all scopes of an application that has some of OpenID Connect', openid, undefined, 'email openid orders:read'],
    ['no scope to an application without scopes', bare, undefined, undefined],
    ['no scope to an application without scopes that requests those of OpenID Connect', bare, 'openid', undefined],
  ])('the token endpoint grants %s', async (_, who, scope, granted) => {
    const { status, json } = await requestToken(who, scope === undefined ? {} : { scope })
    expect(status).toBe(200)
    expect(json.scope).toBe(granted)
    expect(decodeJwt(json.access_token).scope).toBe(granted)
  })

  test.each([
    'orders:delete',
    'orders:read orders:delete',
    'openid orders:delete',
    'ORDERS:READ',
    'Openid',
    'address',
    'phone',
    'orders:rea',
    'orders:read,orders:write',
    'orders:read+orders:write',
    'orders',
    '*',
    ' ',
    ' orders:read',
    'orders:read ',
    'orders:read  orders:write',
    'orders:read\torders:write',
    'orders:read\n',
    'orders:read\0',
    '"orders:read"',
    'orders:read\\',
    'örders:read',
    '__proto__',
    'constructor',
  ])('the token endpoint refuses the scope %j with invalid_scope', async (scope) => {
    const { status, json } = await requestToken(client, { scope })
    expect([status, json.error]).toEqual([400, 'invalid_scope'])
  })

  test('the token endpoint refuses any scope to an application without scopes', async () => {
    expect((await requestToken(bare, { scope: 'orders:read' })).json.error).toBe('invalid_scope')
  })
})

describe('the parameters of the token endpoint', () => {
  test.each([
    `${GRANT}&${GRANT}`,
    `${GRANT}&grant%5Ftype=client_credentials`,
    `${GRANT}&scope=orders:read&scope=orders:read`,
    `${GRANT}&client_id=${client.clientId}&client_id=${client.clientId}`,
    `${GRANT}&client_secret=${client.secret}&client_secret=${client.secret}`,
  ])('a repeated known parameter gets invalid_request, without a D1 request: %s (RFC 6749 §3.2)', async (body) => {
    const counter = counted(env.DB)
    for (const headers of [authorization, {}]) {
      const { status, json } = await post('/oauth2/token', body, { headers, bindings: { DB: counter.database } })
      expect([status, json.error]).toEqual([400, 'invalid_request'])
    }
    expect(counter.trips).toBe(0)
  })

  test.each([
    ['', 'invalid_request'],
    ['x=1', 'invalid_request'],
    ['grant_type', 'invalid_request'],
    ['grant_type=', 'invalid_request'],
    ['grant_type[0]=client_credentials', 'invalid_request'],
    ['grant_type[]=client_credentials', 'invalid_request'],
    ['grant_type.x=client_credentials', 'invalid_request'],
    ['Grant_Type=client_credentials', 'invalid_request'],
    ['grant_type=Client_Credentials', 'unsupported_grant_type'],
    ['grant_type=client_credentials%20', 'unsupported_grant_type'],
    ['grant_type=client_credentials%00', 'unsupported_grant_type'],
    ['grant_type=password', 'unsupported_grant_type'],
    ['grant_type=authorization_code&code=x', 'unsupported_grant_type'],
    ['grant_type=refresh_token', 'unsupported_grant_type'],
    ['grant_type=canary%22%0d%0a%5c%c3%a9', 'unsupported_grant_type'],
  ])(
    'the body "%s" gets %s for an authenticated client, and invalid_client without authentication (RFC 6749 §5.2)',
    async (body, error) => {
      const asClient = await post('/oauth2/token', body, { headers: authorization })
      expect([asClient.status, asClient.json.error]).toEqual([400, error])
      expect(asClient.text).not.toContain('canary')
      for (const secret of [unknownSecret, 'x']) {
        const headers = { Authorization: basic(client.clientId, secret) }
        expect((await post('/oauth2/token', body, { headers })).json.error).toBe('invalid_client')
      }
      expect((await post('/oauth2/token', body)).json.error).toBe('invalid_client')
    },
  )

  test.each(['scope=&scope=orders:read', 'scope=orders:read&scope=', 'grant_type=&client_id=', 'scope'])(
    'a parameter without a value is treated as absent, even if the body also has it with a value: %s (RFC 6749 §3.2)',
    async (extra) => {
      const { status, json } = await post('/oauth2/token', `${GRANT}&${extra}`, { headers: authorization })
      expect(status).toBe(200)
      expect(json.scope).toBe(extra.includes('=orders') ? 'orders:read' : 'orders:read orders:write')
    },
  )

  test.each([
    '__proto__=x',
    'constructor=x',
    'toString=x',
    'a[__proto__][b]=x',
    'resource=https://a.example',
    'é=é',
    '&&',
    '=x',
    '=1&=2',
    'x=1&x=2',
    'resource=https://a.example&resource=https://b.example',
    'audience=a&audience=b',
    'token=a&token=b',
    '%ff=%ff',
    '%=%',
  ])('an unknown parameter is ignored, however often it is sent: %s (RFC 6749 §3.2, RFC 8707 §2)', async (extra) => {
    expect((await post('/oauth2/token', `${GRANT}&${extra}`, { headers: authorization })).status).toBe(200)
    expect(({} as { x?: unknown }).x).toBeUndefined()
  })
})

describe('the body of a token request', () => {
  const send200 = (headers: Record<string, string>, body: string | Uint8Array = GRANT) =>
    post('/oauth2/token', body, { headers: { ...authorization, ...headers } })

  test.each(['application/x-www-form-urlencoded;charset=UTF-8', 'APPLICATION/X-WWW-Form-URLEncoded ; a=b'])(
    'a body of type %s is read as a form',
    async (type) => expect((await send200({ 'Content-Type': type })).status).toBe(200),
  )

  test.each<[string, string | Uint8Array]>([
    ['application/json', '{"grant_type":"client_credentials"}'],
    ['application/json, application/x-www-form-urlencoded', GRANT],
    ['application/x-www-form-urlencoded2', GRANT],
    [
      'multipart/form-data; boundary=b',
      '--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\nclient_credentials\r\n--b--',
    ],
    ['text/plain', GRANT],
    ['', GRANT],
    ['application/x-www-form-urlencoded', new Uint8Array([...new TextEncoder().encode(`${GRANT}&x=`), 0xff])],
  ])('a body of type %s that is not a UTF-8 form gets invalid_request (RFC 6749 §4.4.2)', async (type, body) => {
    const { status, json } = await send200({ 'Content-Type': type }, body)
    expect([status, json.error]).toEqual([400, 'invalid_request'])
  })

  test('a compressed body gets 415', async () => {
    const gzipped = new Blob([GRANT]).stream().pipeThrough(new CompressionStream('gzip'))
    const body = new Uint8Array(await new Response(gzipped).arrayBuffer())
    const { status, json } = await send200({ 'Content-Encoding': 'gzip' }, body)
    expect([status, json.error]).toEqual([415, 'invalid_request'])
  })

  test('a body of 64 KiB is accepted, and a larger body gets 413, with or without Content-Length', async () => {
    const most = `${GRANT}&x=`.padEnd(64 * 1024, 'x')
    expect((await send200({}, most)).status).toBe(200)
    expect((await send200({}, `${most}x`)).status).toBe(413)
    const { readable, writable } = new TransformStream()
    const writer = writable.getWriter()
    const chunk = new TextEncoder().encode(most)
    const writing = writer
      .write(chunk)
      .then(() => writer.write(chunk))
      .catch(() => {})
    const headers = { ...authorization, 'Content-Type': 'application/x-www-form-urlencoded' }
    const request = new Request('https://oncekey.test/oauth2/token', { method: 'POST', headers, body: readable })
    expect((await send(request, unlimited)).status).toBe(413)
    await writer.abort().catch(() => {})
    await writing
  })
})
