import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import * as oauth4webapi from 'oauth4webapi'
import * as openidClient from 'openid-client'
import { describe, expect, test } from 'vitest'
import { newApiKey } from '../operator.ts'
import { serve } from '../served.ts'
import { workosAt } from './workos.ts'

/** Unmodified OAuth libraries, and curl. They need permission to use plain http. */
const served = await serve({ tokens: 'RS256' })
const { fetch, origins, database } = served
const [issuer] = origins
const server = new URL(issuer)
const { apiKey, environmentId } = await newApiKey(database)
const { connect } = workosAt(issuer, apiKey, { fetch })

const scopes = ['orders:read', 'orders:write']
const exporter = await connect.createM2MApplication('Nightly export', 'org_1', undefined, scopes)
const { secret, id: secretId } = await connect.createApplicationClientSecret({ id: exporter.id })
const { clientId } = exporter
const environment = database.prepare('SELECT client_id FROM environments WHERE id = ?').bind(environmentId)
const audience = (await environment.first<string>('client_id')) ?? ''

/** Introspection of a token of the exporter. */
const active = {
  active: true,
  token_type: 'bearer',
  iss: issuer,
  aud: audience,
  sub: clientId,
  client_id: clientId,
  org_id: 'org_1',
  scope: scopes.join(' '),
  secret_id: secretId,
}

/** Verifies a token as a resource server does, by the published keys alone (RFC 9068 §4). */
async function verify(token: string, expected = { issuer, audience }) {
  const keys = createRemoteJWKSet(new URL('/oauth2/jwks', issuer), { [customFetch]: fetch })
  const { payload } = await jwtVerify(token, keys, { ...expected, typ: 'at+jwt', requiredClaims: ['exp', 'iat'] })
  return payload
}

/** Discovery documents: RFC 8414's, and OpenID Connect's. */
const DOCUMENTS = ['oauth2', 'oidc'] as const
const { ClientSecretBasic, ClientSecretPost } = oauth4webapi
/** As the libraries call their `fetch`. */
const checked = (url: string, init: object) => fetch(url, init as RequestInit)

/** Both libraries throw the challenge of a 401 in place of its body. */
async function expectChallenge(call: Promise<unknown>) {
  const { code, cause, status } = await call.then(
    (value) => expect.fail(`succeeded with ${JSON.stringify(value)}`),
    (error) => error,
  )
  const challenge = [{ scheme: 'basic', parameters: { realm: 'oncekey' } }]
  expect({ code, cause, status }).toEqual({
    code: oauth4webapi.WWW_AUTHENTICATE_CHALLENGE,
    cause: challenge,
    status: 401,
  })
}

describe.each(DOCUMENTS)('oauth4webapi, with the discovery document for %s', async (algorithm) => {
  const options = { [oauth4webapi.customFetch]: checked, [oauth4webapi.allowInsecureRequests]: true }
  const discovered = await oauth4webapi.discoveryRequest(server, { ...options, algorithm })
  const as = await oauth4webapi.processDiscoveryResponse(server, discovered)
  const client = { client_id: clientId }

  async function getToken(authentication: oauth4webapi.ClientAuth, scope?: string) {
    const parameters = scope === undefined ? {} : { scope }
    const response = await oauth4webapi.clientCredentialsGrantRequest(as, client, authentication, parameters, options)
    return oauth4webapi.processClientCredentialsResponse(as, client, response)
  }

  describe.each([ClientSecretBasic, ClientSecretPost])('$name', (method) => {
    const authentication = method(secret)

    test('the client gets a token and introspects it, and a resource server verifies it', async () => {
      const { access_token, token_type, expires_in, scope } = await getToken(authentication)
      expect({ token_type, expires_in, scope }).toEqual({ token_type: 'bearer', expires_in: 3600, scope: active.scope })
      const response = await oauth4webapi.introspectionRequest(as, client, authentication, access_token, options)
      const introspected = await oauth4webapi.processIntrospectionResponse(as, client, response)
      expect(introspected).toEqual({ ...active, ...(await verify(access_token)) })
      const request = new Request('https://api.example/orders', {
        headers: { Authorization: `Bearer ${access_token}` },
      })
      const claims = await oauth4webapi.validateJwtAccessToken(as, request, audience, options)
      expect(claims).toMatchObject({ iss: issuer, client_id: clientId, scope: active.scope })
    })

    test('the client is granted a scope of its application, and refused another scope', async () => {
      expect((await getToken(authentication, 'orders:read openid')).scope).toBe('orders:read')
      await expect(getToken(authentication, 'orders:delete')).rejects.toMatchObject({
        error: 'invalid_scope',
        status: 400,
      })
    })

    test('the client gets a challenge for a wrong secret (RFC 9110 §15.5.2)', async () => {
      await expectChallenge(getToken(method(secret.replace(/.$/, '!'))))
    })
  })
})

describe.each(DOCUMENTS)('openid-client, with the discovery document for %s', (algorithm) => {
  const options = { algorithm, execute: [openidClient.allowInsecureRequests], [openidClient.customFetch]: checked }
  const discover = (authentication?: openidClient.ClientAuth) =>
    openidClient.discovery(server, clientId, secret, authentication, options)

  test.each<[string, openidClient.ClientAuth | undefined]>([
    ['ClientSecretBasic', openidClient.ClientSecretBasic(secret)],
    ['ClientSecretPost', openidClient.ClientSecretPost(secret)],
    ['the library’s default method', undefined],
  ])(
    'the client authenticates by %s, and gets a token that is introspected and verified',
    async (_, authentication) => {
      const config = await discover(authentication)
      const { access_token, scope } = await openidClient.clientCredentialsGrant(config, { scope: 'orders:write' })
      expect(scope).toBe('orders:write')
      const introspected = await openidClient.tokenIntrospection(config, access_token)
      expect(introspected).toEqual({ ...active, scope, ...(await verify(access_token)) })
      expect(await openidClient.tokenIntrospection(config, `${access_token}x`)).toEqual({ active: false })
    },
  )
})

describe('jose', () => {
  test('jose verifies a token with the published keys, only for the right issuer and audience', async () => {
    const token = await tokenByCurl(['-u', `${clientId}:${secret}`])
    const { iat = 0, exp = 0, ...claims } = await verify(token)
    expect(claims).toMatchObject({ iss: issuer, aud: audience, secret_id: secretId })
    expect(exp - iat).toBe(3600)
    await expect(verify(token, { issuer, audience: clientId })).rejects.toThrow('"aud"')
    await expect(verify(token, { issuer: `${issuer}/`, audience })).rejects.toThrow('"iss"')
    await expect(verify(`${token.slice(0, -9)}AAAAAAAAA`)).rejects.toThrow('signature')
  })
})

async function curl(words: string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('curl', ['--silent', '--show-error', ...words])
    return stdout
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? new Error('There is no curl on this machine.') : error
  }
}

async function tokenByCurl(authentication: string[]): Promise<string> {
  const answer = await curl([...authentication, '-d', 'grant_type=client_credentials', `${issuer}/oauth2/token`])
  return JSON.parse(answer).access_token
}

describe('curl', () => {
  test.each([
    ['-u id:secret', ['-u', `${clientId}:${secret}`]],
    ['-d client_id=… -d client_secret=…', ['-d', `client_id=${clientId}`, '-d', `client_secret=${secret}`]],
  ])('curl %s gets a token and introspects it', async (_, authentication) => {
    const token = await tokenByCurl(authentication)
    const answer = await curl([...authentication, '-d', `token=${token}`, `${issuer}/oauth2/introspection`])
    expect(JSON.parse(answer)).toMatchObject(active)
  })
})

test('a revoked secret obtains no token, and its earlier tokens are inactive at the next introspection', async () => {
  const options = { execute: [openidClient.allowInsecureRequests], [openidClient.customFetch]: checked }
  const spare = await connect.createApplicationClientSecret({ id: exporter.id })
  const config = await openidClient.discovery(server, clientId, spare.secret, undefined, options)
  const asker = await openidClient.discovery(server, clientId, secret, undefined, options)
  const { access_token } = await openidClient.clientCredentialsGrant(config)
  expect((await openidClient.tokenIntrospection(asker, access_token)).active).toBe(true)
  await connect.deleteClientSecret({ id: spare.id })
  await expectChallenge(openidClient.clientCredentialsGrant(config))
  expect(await openidClient.tokenIntrospection(asker, access_token)).toEqual({ active: false })
})
