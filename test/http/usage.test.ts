import { describe, expect, test, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { call, m2mApplication, newApiKey, newApplication, send } from '../api.ts'
import { secretsOf } from '../requests.ts'

/** A dataset of Workers Analytics Engine that keeps what is written to it. */
function dataset() {
  const points: AnalyticsEngineDataPoint[] = []
  return { points, bindings: { USAGE: { writeDataPoint: (point = {}) => void points.push(point) } } }
}

const { apiKey, environmentId } = await newApiKey()
const application = await newApplication(apiKey)
const point = (operation: string) => ({ indexes: [environmentId], blobs: [operation, application.id] })

const post = (path: string, form: Record<string, string>, bindings: Partial<Env>) =>
  send(new Request(`https://oncekey.test${path}`, { method: 'POST', body: new URLSearchParams(form) }), bindings)
const token = (client_secret: string, bindings: Partial<Env>, more: Record<string, string> = {}) => {
  const form = { client_id: application.client_id, client_secret, grant_type: 'client_credentials', ...more }
  return post('/oauth2/token', form, bindings)
}
const create = (bindings: Partial<Env> = {}, headers: Record<string, string> = {}) =>
  call(apiKey, 'POST', secretsOf(application.id), { bindings, headers })

describe('the usage of an application', () => {
  test('the usage of an application has one data point for each token, introspection and created secret', async () => {
    const { points, bindings } = dataset()
    const { secret } = (await create(bindings)).json
    const { access_token } = (await token(secret, bindings)).json
    const form = { client_id: application.client_id, client_secret: secret, token: access_token }
    await post('/oauth2/introspection', form, bindings)
    expect(points).toEqual([point('create'), point('token'), point('introspection')])
  })

  test('the usage of an application has one data point for the refused use of a revoked secret', async () => {
    const { points, bindings } = dataset()
    const { id, secret } = (await create()).json
    await call(apiKey, 'DELETE', `/connect/client_secrets/${id}`)
    expect((await token(secret, bindings)).status).toBe(401)
    expect(points).toEqual([point('refused')])
  })

  test('a replay, a token request with an unknown secret or grant type, a read and a new application add no data point', async () => {
    const { points, bindings } = dataset()
    const headers = { 'Idempotency-Key': 'usage' }
    const { id, secret } = (await create({}, headers)).json
    expect((await create(bindings, headers)).headers.get('Idempotent-Replayed')).toBe('true')
    expect((await token(secret, bindings, { grant_type: 'password' })).status).toBe(400)
    expect((await token((await issueCredential('cs', '0')).plaintext, bindings)).status).toBe(401)
    expect((await token('cs_0malformed', bindings)).status).toBe(401)
    await call(apiKey, 'GET', `/connect/client_secrets/${id}`, { bindings })
    await call(apiKey, 'POST', '/connect/applications', { body: m2mApplication, bindings })
    expect(points).toEqual([])
  })

  test('a request succeeds although the usage of its application cannot be written', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    const writeDataPoint = () => {
      throw new TypeError('too many data points')
    }
    const { secret } = (await create()).json
    const { status, headers } = await token(secret, { USAGE: { writeDataPoint } })
    expect(status).toBe(200)
    const entry = { message: 'usage not counted', request_id: headers.get('X-Request-ID') }
    expect(logged).toHaveBeenCalledWith(expect.objectContaining(entry))
  })
})
