import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { app } from '../src/app.ts'
import { type Call, call, m2mApplication, type Reply } from './api.ts'
import { counted } from './faults/wrapped.ts'
import { basic } from './oauth/client.ts'
import { type KeyOptions, newApiKey } from './operator.ts'
import { secretsOf } from './requests.ts'

/** A Worker with several regions inside the runtime, each with a real D1. */

export const DIGITS = ['0', '1', '2'] as const
export type Digit = (typeof DIGITS)[number]

const BINDINGS = { '0': 'DB', '1': 'DB_1', '2': 'DB_2' } as const
export const databaseIn = (digit: Digit): D1Database => env[BINDINGS[digit]]

/** REGIONS of so many regions, and the bindings of their databases, some of them in another form. */
export function regionBindings(count: number, replaced: Partial<Record<Digit, D1Database>> = {}): Partial<Env> {
  const digits = DIGITS.slice(0, count)
  return {
    REGIONS: digits.map((digit) => `${digit}=${BINDINGS[digit]}`).join(','),
    ...Object.fromEntries(digits.map((digit) => [BINDINGS[digit], replaced[digit] ?? databaseIn(digit)])),
  }
}

/** Bindings that count the D1 requests of each region. */
export function countedRegions(count: number) {
  const counters = DIGITS.slice(0, count).map((digit) => [digit, counted(databaseIn(digit))] as const)
  const databases = Object.fromEntries(counters.map(([digit, { database }]) => [digit, database]))
  return {
    bindings: regionBindings(count, databases),
    trips: () => Object.fromEntries(counters.map(([digit, { trips }]) => [digit, trips])),
  }
}

/** A tenant: an environment in a region, with an API key, an application and a secret. */
export async function newTenant(digit: Digit, options: KeyOptions = {}) {
  const key = await newApiKey(databaseIn(digit), { ...options, region: digit })
  const bindings = regionBindings(DIGITS.length)
  const send = (method: string, path: string, options: Call = {}): Promise<Reply> =>
    call(key.apiKey, method, path, { ...options, bindings: { ...bindings, ...options.bindings } })
  const application = (await send('POST', '/connect/applications', { body: m2mApplication })).json
  const secret = (await send('POST', secretsOf(application.id))).json
  return {
    ...key,
    digit,
    send,
    applicationId: application.id as string,
    clientId: application.client_id as string,
    secretId: secret.id as string,
    secret: secret.secret as string,
  }
}
export type Tenant = Awaited<ReturnType<typeof newTenant>>

/** Sends a request of any kind, and waits until the work behind the response has ended. */
export async function answer(
  request: Request,
  bindings: Partial<Env>,
  onAnswer = () => {},
): Promise<Omit<Reply, 'json'>> {
  const context = createExecutionContext()
  const response = await app.fetch(request, { ...env, ...bindings }, context)
  onAnswer()
  await waitOnExecutionContext(context)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** The session that a tenant's key starts in the dashboard. */
export async function sessionOf(tenant: Tenant): Promise<string> {
  const { headers } = await answer(await requestAs(tenant, 'POST /dashboard/sign-in'), regionBindings(DIGITS.length))
  return /__Host-session=([^;]+)/.exec(headers.get('Set-Cookie') ?? '')?.[1] ?? ''
}

const BODIES: Readonly<Record<string, (tenant: Tenant) => object>> = {
  'POST /connect/applications': () => m2mApplication,
  'PUT /connect/applications/:id': () => ({ name: 'x' }),
  'POST /connect/applications/:id/client_secrets/rotate': () => ({ grace_period_seconds: 60 }),
  'PATCH /connect/client_secrets/:id': () => ({ name: 'x' }),
  'POST /connect/client_secrets/verify': ({ secret }) => ({ client_secret: secret }),
}

/** A request of a route as a tenant sends it: with its credential, and by default with the IDs of its own objects. */
export async function requestAs(
  tenant: Tenant & { readonly session?: string | undefined },
  route: string,
  id?: string,
): Promise<Request> {
  const [method = '', template = ''] = route.split(' ')
  const { apiKey, applicationId, clientId, secretId, secret, environmentId } = tenant
  const own = template.startsWith('/connect/client_secrets') ? secretId : applicationId
  const path = template.replace(':id', id ?? own).replace(':secret', secretId)
  const at = (query: string, init: RequestInit = {}) =>
    new Request(`https://oncekey.test${path}${query}`, { method, redirect: 'manual', ...init })
  if (template.startsWith('/oauth2')) {
    const headers = { Authorization: basic(clientId, secret), 'Content-Type': 'application/x-www-form-urlencoded' }
    return at('', { headers, body: 'grant_type=client_credentials&token=x' })
  }
  if (template.startsWith('/dashboard')) {
    const session = template === '/dashboard/sign-in' ? '' : (tenant.session ?? (await sessionOf(tenant)))
    const headers = { Cookie: `__Host-session=${session}`, Origin: 'null', 'Sec-Fetch-Site': 'same-origin' }
    if (method === 'GET') return at(template.endsWith('/find') ? '?hint=abc123' : '', { headers })
    const fields = { environment: environmentId, api_key: apiKey, hint: 'abc123', name: 'x', lifetime: 'never' }
    return at('', { headers, body: new URLSearchParams(fields) })
  }
  const body = BODIES[route]?.(tenant)
  return at(route === 'GET /connect/client_secrets' ? '?hint=abc123' : '', {
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })
}
