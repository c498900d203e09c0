import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey } from '../api.ts'
import { withBatch } from '../faults/wrapped.ts'
import {
  type Client,
  firstPartyApplication,
  newClient,
  newSecret,
  oauthApplication,
  revoke,
  seen,
  setSecret,
} from '../oauth/client.ts'

const client = await newClient()
const { apiKey, environmentId, clientId, secret } = client
const PATH = '/connect/client_secrets/verify'

const verify = (key: string, body: unknown, bindings: Partial<Env> = {}) => call(key, 'POST', PATH, { body, bindings })

describe('verifying an active secret', async () => {
  const other = await newClient(undefined, client)

  test.each([m2mApplication, oauthApplication, firstPartyApplication])(
    'the response to a valid secret contains the secret without its plaintext, and its application: $name',
    async (application) => {
      const good = await newClient(application, client)
      const list = async () =>
        (await call(apiKey, 'GET', `/connect/applications/${good.applicationId}/client_secrets`)).json
      const [listed] = await list()
      const { status, json, text } = await verify(apiKey, { client_secret: good.secret })
      expect(status).toBe(200)
      expect(json).toEqual({
        valid: true,
        client_secret: listed,
        application: (await call(apiKey, 'GET', `/connect/applications/${good.applicationId}`)).json,
      })
      expect((await list())[0].last_used_at, 'recorded after the response').not.toBeNull()
      expect(text).not.toContain(good.secret)
    },
  )

  test('a read-only API key may verify secrets', async () => {
    const reader = await newApiKey({ access: 'read', environmentId })
    expect((await verify(reader.apiKey, { client_secret: secret })).json.valid).toBe(true)
  })

  test('a secret with an earlier prefix is valid', async () => {
    const bindings = { CLIENT_SECRET_PREFIX: 'acme_live' }
    const { json } = await call(apiKey, 'POST', `/connect/applications/${client.applicationId}/client_secrets`, {
      bindings,
    })
    expect(json.secret).toMatch(/^acme_live_/)
    expect((await verify(apiKey, { client_secret: json.secret })).json.client_secret.id).toBe(json.id)
  })

  test.each([
    ['its own client ID', { client_id: clientId }, true],
    ['null', { client_id: null }, true],
    ['unknown members', { client: 'x', secret: 'x' }, true],
    ['the ID of its application', { client_id: client.applicationId }, false],
    ['an empty client ID', { client_id: '' }, false],
    ['another client ID', { client_id: other.clientId }, false],
    ['its client ID in lower case', { client_id: clientId.toLowerCase() }, false],
  ])('a secret is valid only for its own client ID, or if client_id is null or absent: %s', async (_, named, valid) => {
    expect((await verify(apiKey, { client_secret: secret, ...named })).json.valid).toBe(valid)
  })
})

describe('verifying an invalid secret', async () => {
  const ended = async (end: (it: Client) => Promise<unknown>) => {
    const made = await newClient(undefined, client)
    expect((await verify(apiKey, { client_secret: made.secret })).json.valid).toBe(true)
    await end(made)
    return made.secret
  }
  const other = await newClient()

  test.each<[string, string]>([
    ['an empty string', ''],
    ['garbage', 'garbage'],
    ['the hint of a secret', secret.slice(-6)],
    ['a secret with a space behind it', `${secret} `],
    ['a secret with a wrong checksum', secret.replace(/.$/, (last) => (last === '0' ? '1' : '0'))],
    ['60 KB', 'x'.repeat(60_000)],
    ['an API key', apiKey],
    ['SQL', "' OR 1=1--"],
    ['an unknown secret', (await issueCredential('cs', '0')).plaintext],
    ['a secret of an unknown region', (await issueCredential('cs', '1')).plaintext],
    ['a secret of another environment', other.secret],
    ['a revoked secret', await ended(revoke)],
    ['an expired secret', await ended((it) => setSecret(it, { expires_at: Date.now() }))],
    ['a disabled secret', await ended((it) => setSecret(it, { disabled_at: Date.now() }))],
    [
      'a secret of a deleted application',
      await ended((it) => call(apiKey, 'DELETE', `/connect/applications/${it.applicationId}`)),
    ],
    [
      'an active secret whose application row is marked as deleted',
      await ended((it) =>
        env.DB.prepare('UPDATE applications SET deleted_at = 1 WHERE id = ?').bind(it.applicationId).run(),
      ),
    ],
  ])('an invalid secret gets {"valid":false} without a reason (CWE-204): %s', async (_, clientSecret) => {
    const reply = await verify(apiKey, { client_secret: clientSecret })
    expect(reply.text).toBe('{"valid":false}')
    expect(seen(reply)).toEqual(seen(await verify(apiKey, { client_secret: 'nothing' })))
  })
})

test.each([
  {},
  { client_secret: null },
  { client_secret: 1 },
  { client_secret: [secret] },
  { client_secret: secret, client_id: 1 },
])(
  'a request with a missing or invalid member gets 422, and the response does not repeat the secret: %j',
  async (body) => {
    const { status, json, text } = await verify(apiKey, body)
    expect([status, json.code]).toEqual([422, 'invalid_request_parameters'])
    expect(text).not.toContain(secret)
  },
)

test('an unknown API key gets 401 for any secret', async () => {
  const unissued = (await issueCredential('sk', '0')).plaintext
  for (const key of ['', secret, unissued]) {
    expect((await verify(key, { client_secret: secret })).status).toBe(401)
    expect((await verify(key, { client_secret: 'garbage' })).status).toBe(401)
  }
})

test('verify returns 503, never “valid: false”, while the database is unavailable', async () => {
  const DB = withBatch(env.DB, () =>
    Promise.reject(new Error('D1_ERROR: D1 DB is overloaded. Too many requests queued.')),
  )
  for (const clientSecret of [secret, (await issueCredential('cs', '0')).plaintext, 'garbage'])
    expect((await verify(apiKey, { client_secret: clientSecret }, { DB })).status).toBe(503)
})

test('after one of two secrets is revoked, the other is still valid', async () => {
  const second = await newSecret(client)
  await revoke(second)
  expect((await verify(apiKey, { client_secret: second.secret })).json.valid).toBe(false)
  expect((await verify(apiKey, { client_secret: secret })).json.client_secret.id).toBe(client.secretId)
})
