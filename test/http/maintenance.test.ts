import { createExecutionContext, createScheduledController } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { CLOSED_MESSAGE } from '../../src/http/settings.ts'
import worker from '../../src/index.ts'
import { freeze, unfreeze } from '../../src/storage/operator/freeze.ts'
import { call, operatorDatabase, send } from '../api.ts'
import { ORIGIN, visit } from '../dashboard/pages.ts'
import { counted } from '../faults/wrapped.ts'
import { newClient, newSecret, revoke } from '../oauth/client.ts'

const client = await newClient()
const form = (body: Record<string, string>) => ({ method: 'POST', body: new URLSearchParams(body) })
const credentials = { client_id: client.clientId, client_secret: client.secret }

/** Everything that a credential is needed for, with a valid one. */
const guarded: [string, RequestInit][] = [
  ['/oauth2/token', form({ grant_type: 'client_credentials', ...credentials })],
  ['/oauth2/introspection', form({ token: 'x', ...credentials })],
  ['/connect/applications', {}],
  ['/connect/client_secrets/verify', { method: 'POST', body: JSON.stringify(credentials) }],
  [`/connect/client_secrets/${client.secretId}`, { method: 'DELETE' }],
  ['/events', {}],
  ['/readyz', {}],
]

function request(path: string, { headers, ...init }: RequestInit = {}): Request {
  const json = typeof init.body === 'string' ? { 'Content-Type': 'application/json' } : {}
  const authorization = path.startsWith('/oauth2/') ? {} : { Authorization: `Bearer ${client.apiKey}` }
  return new Request(`https://oncekey.test${path}`, { ...init, headers: { ...json, ...authorization, ...headers } })
}

describe('a Worker with MAINTENANCE=true', () => {
  test.each(guarded)('a Worker in maintenance returns 503 at %s, without a D1 request', async (path, init) => {
    const counter = counted(env.DB)
    const { status, headers, text } = await send(request(path, init), { DB: counter.database, MAINTENANCE: 'true' })
    expect(status).toBe(503)
    expect(headers.get('Retry-After')).toBe('60')
    expect(text).toContain(CLOSED_MESSAGE)
    expect(counter.trips).toBe(0)
  })

  test.each(['/healthz', '/oauth2/jwks', '/.well-known/oauth-authorization-server', '/openapi.json', '/docs'])(
    'a Worker in maintenance still serves %s',
    async (path) => {
      expect((await send(request(path), { MAINTENANCE: 'true' })).status).toBe(200)
    },
  )

  test('a Worker in maintenance does not run the scheduled job', async () => {
    const counter = counted(env.DB)
    const bindings = { ...env, DB: counter.database, MAINTENANCE: 'true' }
    await worker.scheduled(createScheduledController(), bindings, createExecutionContext())
    expect(counter.trips).toBe(0)
  })

  test('a Worker in maintenance shows “Temporarily unavailable” in the dashboard', async () => {
    const counter = counted(env.DB)
    for (const init of [{}, { ...form({ api_key: client.apiKey }), headers: { Origin: ORIGIN } }]) {
      const bindings = { ...env, DB: counter.database, MAINTENANCE: 'true' }
      const response = await app.fetch(
        new Request(`${ORIGIN}/dashboard/sign-in`, init),
        bindings,
        createExecutionContext(),
      )
      const html = await response.text()
      expect(response.status).toBe(503)
      expect(html).toContain(`<h1>Temporarily unavailable</h1><p>${CLOSED_MESSAGE}</p>`)
    }
    expect(counter.trips).toBe(0)
  })

  test('a Worker with MAINTENANCE=false serves requests', async () => {
    expect((await send(request('/connect/applications'), { MAINTENANCE: 'false' })).status).toBe(200)
  })
})

test('with a MAINTENANCE that is neither true nor false, a call gets 500', async () => {
  const { status, json } = await send(request('/connect/applications'), { MAINTENANCE: 'yes' })
  expect({ status, code: json.code }).toEqual({ status: 500, code: 'internal_error' })
})

describe('a database that is frozen for a recovery', () => {
  test('while the database is frozen, changes get 503 with a message that nothing was changed, and reads succeed', async () => {
    const other = await newSecret(client)
    await freeze(operatorDatabase())
    const path = `/connect/applications/${client.applicationId}`
    const calls = [
      () => call(client.apiKey, 'POST', `${path}/client_secrets`),
      () => call(client.apiKey, 'PUT', path, { body: { name: 'new' } }),
      () => call(client.apiKey, 'DELETE', path),
      () => revoke(other),
    ]
    for (const attempt of calls) {
      const { status, headers, text } = await attempt()
      expect(status).toBe(503)
      expect(headers.get('Retry-After')).toBe('60')
      expect(text).toContain('Changes are refused during a recovery of the database. Nothing was changed.')
    }
    const page = await visit(
      new Request(`${ORIGIN}/dashboard/sign-in`, { ...form({ api_key: client.apiKey }), headers: { Origin: ORIGIN } }),
    )
    expect(page.status).toBe(503)
    expect(page.html).toContain('Changes are refused during a recovery of the database. Nothing was changed.')
    const { status } = await send(request('/oauth2/token', form({ grant_type: 'client_credentials', ...credentials })))
    expect(status).toBe(200)
    expect((await call(client.apiKey, 'GET', `${path}/client_secrets`)).json).toHaveLength(2)
    await unfreeze(operatorDatabase())
    expect((await revoke(other)).status).toBe(204)
  })
})
