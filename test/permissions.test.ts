import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import { app } from '../src/app.ts'
import type { KeyLimits } from '../src/storage/api-keys.ts'
import { isAllowed, type Need, PERMISSIONS } from '../src/storage/caller.ts'
import { call, newApiKey } from './api.ts'
import { Visitor } from './dashboard/pages.ts'
import { unlimited } from './oauth/client.ts'
import { newTenant, requestAs, sessionOf, type Tenant } from './regions.ts'

/** API keys that may do less, and their dashboard sessions. */
const isLong = inject('isLong')

/** The right that each route needs. Forms that lead to the address of what they search need nothing, and tell nothing. */
const NEEDS: Readonly<Record<string, Need | 'nothing'>> = {
  'POST /connect/applications': 'applications:write',
  'GET /connect/applications': 'secrets:read',
  'GET /connect/applications/:id': 'secrets:read',
  'PUT /connect/applications/:id': 'applications:write',
  'DELETE /connect/applications/:id': 'applications:write',
  'POST /connect/applications/:id/client_secrets': 'secrets:write',
  'POST /connect/applications/:id/client_secrets/rotate': 'secrets:write',
  'GET /connect/applications/:id/client_secrets': 'secrets:read',
  'DELETE /connect/applications/:id/client_secrets': 'secrets:write',
  'GET /connect/client_secrets': 'secrets:read',
  'GET /connect/client_secrets/:id': 'secrets:read',
  'PATCH /connect/client_secrets/:id': 'secrets:write',
  'DELETE /connect/client_secrets/:id': 'secrets:write',
  'POST /connect/client_secrets/verify': 'secrets:verify',
  'GET /connect/environment': 'read',
  'PATCH /connect/environment': 'write',
  'GET /events': 'events:read',
  'POST /dashboard/sign-in': 'secrets:read',
  'POST /dashboard/sign-out': 'secrets:read',
  'GET /dashboard': 'secrets:read',
  'GET /dashboard/applications': 'secrets:read',
  'POST /dashboard/search': 'nothing',
  'GET /dashboard/applications/new': 'applications:write',
  'POST /dashboard/applications/new': 'applications:write',
  'GET /dashboard/applications/:id': 'secrets:read',
  'GET /dashboard/applications/:id/edit': 'applications:write',
  'POST /dashboard/applications/:id/edit': 'applications:write',
  'GET /dashboard/applications/:id/delete': 'applications:write',
  'POST /dashboard/applications/:id/delete': 'applications:write',
  'GET /dashboard/applications/:id/new-secret': 'secrets:write',
  'POST /dashboard/applications/:id/new-secret': 'secrets:write',
  'GET /dashboard/applications/:id/rotate': 'secrets:write',
  'POST /dashboard/applications/:id/rotate': 'secrets:write',
  'POST /dashboard/applications/:id/replace-secret': 'secrets:write',
  'GET /dashboard/applications/:id/revoke-all': 'secrets:write',
  'POST /dashboard/applications/:id/revoke-all': 'secrets:write',
  'GET /dashboard/applications/:id/secrets/:secret/edit': 'secrets:write',
  'POST /dashboard/applications/:id/secrets/:secret/edit': 'secrets:write',
  'GET /dashboard/applications/:id/secrets/:secret/revoke': 'secrets:write',
  'POST /dashboard/applications/:id/secrets/:secret/revoke': 'secrets:write',
  'POST /dashboard/applications/:id/secrets/:secret/disable': 'secrets:write',
  'POST /dashboard/applications/:id/secrets/:secret/enable': 'secrets:write',
  'POST /dashboard/applications/:id/secrets/:secret/keep': 'secrets:write',
  'GET /dashboard/applications/:id/secrets/:secret/first-use': 'secrets:write',
  'GET /dashboard/secrets': 'secrets:read',
  'POST /dashboard/secrets': 'nothing',
  'GET /dashboard/secrets/export': 'secrets:read',
  'POST /dashboard/secrets/bulk': 'secrets:write',
  'POST /dashboard/secrets/bulk/confirm': 'secrets:write',
  'GET /dashboard/secrets/:secret': 'secrets:read',
  'POST /dashboard/secrets/:secret/revoke': 'secrets:write',
  'POST /dashboard/secrets/:secret/disable': 'secrets:write',
  'POST /dashboard/secrets/:secret/enable': 'secrets:write',
  'POST /dashboard/secrets/:secret/keep': 'secrets:write',
  'GET /dashboard/find': 'secrets:read',
  'POST /dashboard/find': 'nothing',
  'GET /dashboard/events': 'events:read',
  'POST /dashboard/events': 'nothing',
  'GET /dashboard/events/export-csv': 'events:read',
  'GET /dashboard/events/export-json': 'events:read',
  'GET /dashboard/events/:id': 'events:read',
  'GET /dashboard/webhooks': 'read',
  'GET /dashboard/webhooks/new': 'write',
  'POST /dashboard/webhooks/new': 'write',
  'POST /dashboard/webhooks/resend': 'write',
  'POST /dashboard/webhooks/:id/test': 'write',
  'POST /dashboard/webhooks/:id/pause': 'write',
  'POST /dashboard/webhooks/:id/resume': 'write',
  'POST /dashboard/webhooks/:id/resend': 'write',
  'GET /dashboard/webhooks/:id/delete': 'write',
  'POST /dashboard/webhooks/:id/delete': 'write',
  'GET /dashboard/settings': 'read',
  'POST /dashboard/settings': 'write',
  'GET /dashboard/settings/freeze': 'write',
  'POST /dashboard/settings/freeze': 'write',
  'POST /dashboard/settings/unfreeze': 'write',
  'GET /dashboard/keys': 'read',
  'GET /dashboard/keys/new': 'write',
  'POST /dashboard/keys/new': 'write',
  'GET /dashboard/keys/:id/rename': 'write',
  'POST /dashboard/keys/:id/rename': 'write',
  'GET /dashboard/keys/:id/revoke': 'write',
  'POST /dashboard/keys/:id/revoke': 'write',
  'POST /dashboard/sessions/:id/end': 'write',
}

/** The rights that each permission allows, and each access without permissions: as README says. */
const ALLOWED: readonly [permissions: readonly string[] | null, access: 'read' | 'write', needs: readonly Need[]][] = [
  [['applications:write'], 'read', ['secrets:read', 'applications:write']],
  [['secrets:write'], 'read', ['secrets:read', 'secrets:write']],
  [['secrets:verify'], 'read', ['secrets:verify']],
  [['events:read'], 'read', ['events:read']],
  // The access of a key with permissions is for older versions. It allows nothing here.
  [['secrets:write', 'events:read'], 'write', ['secrets:read', 'secrets:write', 'events:read']],
  [['secrets', 'secrets:writer', 'write', '*'], 'write', []],
  [[], 'write', []],
  [null, 'read', ['read', 'secrets:read', 'secrets:verify', 'events:read']],
  [null, 'write', [...PERMISSIONS, 'read', 'write', 'secrets:read']],
]

const routes = [
  ...new Set(app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)),
].filter((route) => / \/(connect|events|dashboard)/.test(route) && route !== 'GET /dashboard/sign-in')

test('the table of permissions in these tests has every route that needs a caller', () => {
  expect(Object.keys(NEEDS).sort()).toEqual(routes.sort())
})

let tenant: Tenant & { readonly session: string }

beforeAll(async () => {
  const made = await newTenant('0')
  tenant = { ...made, session: await sessionOf(made) }
})

const narrow = (permissions: readonly string[] | null, access: string) =>
  env.DB.prepare('UPDATE api_keys SET permissions = ?, access = ? WHERE id = ?')
    .bind(permissions && JSON.stringify(permissions), access, tenant.id)
    .run()

/** The request with a body that no route accepts: the caller is judged before it. */
async function withoutSense(request: Request): Promise<Request> {
  const isForm = new URL(request.url).pathname.startsWith('/dashboard')
  const body = isForm ? new URLSearchParams({ environment: tenant.environmentId }) : '{'
  return new Request(request, { body })
}

/** Every row of the environment, without the times of uses. */
async function rows(): Promise<unknown> {
  const tables = [
    'applications',
    'client_secrets',
    'events',
    'api_keys',
    'sessions',
    'webhook_endpoints',
    'idempotency_records',
  ]
  const results = await env.DB.batch(
    tables.map((table) => env.DB.prepare(`SELECT * FROM ${table} WHERE environment_id = ?`).bind(tenant.environmentId)),
  )
  return results.map(({ results }) => results.map((row) => ({ ...(row as object), last_used_at: null })))
}

async function statusOf(request: Request): Promise<number> {
  const context = createExecutionContext()
  const response = await app.fetch(request, { ...env, ...unlimited }, context)
  await waitOnExecutionContext(context)
  const isSignIn = response.headers.get('Location')?.startsWith('/dashboard/sign-in?') && response.status === 303
  return isSignIn && !request.url.includes('/sign-') ? 401 : response.status
}

const refusedWith = (needs: readonly Need[]) =>
  Object.entries(NEEDS).flatMap(([route, need]) => (need !== 'nothing' && !needs.includes(need) ? [route] : []))

const oneOfEachNeed = (routes: string[]) => [...new Map(routes.map((route) => [NEEDS[route], route])).values()]

describe.each(ALLOWED)('a key with the permissions %j and %s access', (permissions, access, needs) => {
  const refused = refusedWith(needs)
  const allowed = Object.keys(NEEDS).filter((route) => !refused.includes(route))
  // The short run tries every route with each single permission, with none, and without permissions.
  const isSampled = !isLong && permissions !== null && permissions.length > 1
  const tried = (routes: string[]) => (isSampled ? oneOfEachNeed(routes) : routes)

  test('the key and its session get 403 from every route that needs another permission, and change nothing', async () => {
    await narrow(permissions, access)
    const before = await rows()
    for (const route of tried(refused)) expect(await statusOf(await requestAs(tenant, route)), route).toBe(403)
    expect(await rows()).toEqual(before)
  })

  test('the key and its session get neither 401 nor 403 from the routes that its permissions allow', async () => {
    await narrow(permissions, access)
    for (const route of tried(allowed.filter((route) => !DESTRUCTIVE.includes(route)))) {
      const status = await statusOf(await requestAs(tenant, route))
      expect([401, 403], `${route}: ${status}`).not.toContain(status)
    }
  })

  test('isAllowed allows the same as the routes', () => {
    for (const need of ALLOWED[8]?.[2] ?? [])
      expect(isAllowed({ access, permissions }, need)).toBe(needs.includes(need))
  })
})

test('a key without permission gets 403 even for an invalid body, because the permission is checked first', async () => {
  await narrow(['events:read'], 'read')
  const changes = refusedWith(['events:read']).filter((route) => !/^GET|sign-in$/.test(route))
  expect(changes.length).toBeGreaterThan(40)
  for (const route of changes)
    expect(await statusOf(await withoutSense(await requestAs(tenant, route))), route).toBe(403)
})

/** Routes that would end what the other requests need. */
const DESTRUCTIVE = ['POST /dashboard/sign-out', 'DELETE /connect/applications/:id', 'POST /dashboard/settings/freeze']

test('the dashboard of a key with permissions links only to the pages that the key may read', async () => {
  const { apiKey } = await newApiKey({ permissions: ['secrets:write'] })
  const visitor = new Visitor()
  await visitor.signIn(apiKey)
  const { html, status } = await visitor.get('/dashboard')
  expect(status).toBe(200)
  const links = [...html.matchAll(/<a href="(\/dashboard\/[a-z]+)"/g)].map(([, path]) => path)
  expect([...new Set(links)]).toEqual(['/dashboard/applications', '/dashboard/secrets'])
  expect(html).toContain(' · secrets:write')
})

describe('a key that expires', () => {
  test('a key and its session work until the key expires', async () => {
    const key = await newApiKey({ expiresAt: Date.now() + 3_600_000 })
    const visitor = new Visitor()
    await visitor.signIn(key.apiKey)
    expect((await call(key.apiKey, 'GET', '/events')).status).toBe(200)
    await env.DB.prepare('UPDATE api_keys SET key_expires_at = ? WHERE id = ?').bind(Date.now(), key.id).run()
    expect((await call(key.apiKey, 'GET', '/events')).status).toBe(401)
    expect((await call(key.apiKey, 'POST', '/connect/applications', { body: {} })).status).toBe(401)
    expect((await visitor.get('/dashboard/keys')).headers.get('Location')).toMatch(/^\/dashboard\/sign-in\?ended/)
    expect((await new Visitor().post('/dashboard/sign-in', { api_key: key.apiKey })).status).toBe(422)
  })
})

describe('a key with IP ranges', () => {
  const limits: Partial<KeyLimits> = { allowedIps: ['203.0.113.0/24', '2001:db8::/33'] }
  const ADDRESSES: [address: string | null, isAllowed: boolean][] = [
    ['203.0.113.1', true],
    ['203.0.113.255', true],
    ['203.0.114.1', false],
    ['::ffff:203.0.113.9', true],
    ['2001:db8:7fff::1', true],
    ['2001:DB8:0::1', true],
    ['2001:db8:8000::1', false],
    ['', false],
    ['unknown', false],
    [null, false],
  ]
  const from = (address: string | null) => (address === null ? {} : { 'CF-Connecting-IP': address })

  test('a key with IP ranges works only from these ranges, and changes nothing from other IP addresses', async () => {
    const key = await newApiKey(limits)
    const count = () =>
      env.DB.prepare('SELECT count(*) AS n FROM applications WHERE environment_id = ?')
        .bind(key.environmentId)
        .first('n')
    const body = { name: 'x', application_type: 'm2m', organization_id: 'org_1' }
    for (const [address, isAllowed] of ADDRESSES) {
      const before = Number(await count())
      const headers = from(address)
      const { status } = await call(key.apiKey, 'POST', '/connect/applications', { body, headers, bindings: unlimited })
      expect([address, status]).toEqual([address, isAllowed ? 201 : 401])
      expect(await count()).toBe(before + Number(isAllowed))
      expect((await call(key.apiKey, 'GET', '/events', { headers, bindings: unlimited })).status).toBe(
        isAllowed ? 200 : 401,
      )
    }
  })

  test('the sessions of a key with IP ranges start and work only from these ranges', async () => {
    const { apiKey } = await newApiKey(limits)
    for (const [address, isAllowed] of ADDRESSES) {
      const signedIn = await new Visitor().post('/dashboard/sign-in', { api_key: apiKey }, from(address))
      expect([address, signedIn.status]).toEqual([address, isAllowed ? 303 : 422])
      const visitor = new Visitor()
      expect((await visitor.post('/dashboard/sign-in', { api_key: apiKey }, from('203.0.113.1'))).status).toBe(303)
      expect([address, (await visitor.get('/dashboard', from(address))).status]).toEqual([
        address,
        isAllowed ? 200 : 303,
      ])
    }
  })
})
