import { issueCredential } from '../../src/credential/credential.ts'
import type { BenchApplication, Data } from './data.ts'
import type { LoadRequest } from './load.ts'
import type { Contestant } from './rounds.ts'
import type { Runtime } from './runtime.ts'

/** An operation that is measured: a kind of request, what answers it, and what it needs before a round. */
export interface Operation {
  readonly name: string
  /** Which key signs its tokens. */
  readonly algorithm: 'RS256' | 'ES256'
  /** True when a round leaves the database changed. */
  readonly isChange: boolean
  /** True when it consults a rate limit. */
  readonly isLimited: boolean
  /** The status of every answer. */
  readonly status: number
  /** A text that the body of every answer has in it. */
  readonly body?: string
  /** True when its secrets were not used within the minute, so that their use is noted. */
  readonly isFirstUse: boolean
  /** Requests to send before a round, to the Worker that is measured or to the product. Requests are made from it. */
  readonly prepare?: (data: Data, origins: Origins) => Promise<readonly string[]>
  readonly request: (data: Data, number: number, prepared: readonly string[]) => LoadRequest | Promise<LoadRequest>
}

interface Origins {
  readonly measured: string
  readonly product: string
}

const common = { algorithm: 'RS256', isChange: false, isLimited: true, isFirstUse: false } as const

/** How many requests are written out before a turn. */
const MAX_REQUESTS = 20_000

/** How many different tokens, sessions or keyed requests a round chooses from. */
const PREPARED = 100

export const operations: readonly Operation[] = [
  {
    ...common,
    name: 'create',
    isChange: true,
    status: 201,
    request: (data, i) => management(data, 'POST', `${secretsOf(applicationAt(data, i))}`, {}),
  },
  {
    ...common,
    name: 'create-with-key',
    isChange: true,
    status: 201,
    request: (data, i) => keyed(management(data, 'POST', secretsOf(applicationAt(data, i)), {}), crypto.randomUUID()),
  },
  {
    ...common,
    name: 'replay',
    isChange: true,
    status: 201,
    prepare: async (data, { measured }) => {
      const keys = Array.from({ length: PREPARED }, () => crypto.randomUUID())
      await Promise.all(keys.map((key, i) => send(measured, replayed(data, i, key), 201)))
      return keys
    },
    request: (data, i, keys) => replayed(data, i % keys.length, keys[i % keys.length] as string),
  },
  {
    ...common,
    name: 'list',
    status: 200,
    body: '"secret_hint"',
    request: (data, i) => management(data, 'GET', secretsOf(applicationAt(data, i))),
  },
  {
    ...common,
    name: 'revoke',
    isChange: true,
    status: 204,
    request: (data, i) => management(data, 'DELETE', `/connect/client_secrets/${applicationAt(data, i).secretId}`),
  },
  {
    ...common,
    name: 'rotate',
    isChange: true,
    status: 201,
    request: (data, i) => management(data, 'POST', `${secretsOf(applicationAt(data, i))}/rotate`, {}),
  },
  token('token', {}),
  token('token-es256', { algorithm: 'ES256' }),
  token('token-first-use', { isFirstUse: true }),
  {
    ...common,
    name: 'malformed-secret',
    status: 401,
    body: '"invalid_client"',
    request: (data, i) => {
      const application = applicationAt(data, i)
      // One symbol is mistyped, so that the checksum is wrong.
      const mistyped = application.plaintext.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
      return fromAddress(tokenRequest({ ...application, plaintext: mistyped }), i)
    },
  },
  {
    ...common,
    name: 'wrong-secret',
    status: 401,
    body: '"invalid_client"',
    request: async (data, i) => {
      const { plaintext } = await issueCredential('cs', '0')
      return fromAddress(tokenRequest({ ...applicationAt(data, i), plaintext }), i)
    },
  },
  {
    ...common,
    name: 'introspection',
    isLimited: false,
    status: 200,
    body: '"active":true',
    prepare: async (data, { product }) =>
      Promise.all(
        data.applications.slice(0, PREPARED).map(async (application) => {
          const response = await send(product, tokenRequest(application), 200)
          return ((await response.json()) as { access_token: string }).access_token
        }),
      ),
    request: (data, i, tokens) => {
      const at = i % tokens.length
      return form('/oauth2/introspection', { token: tokens[at] as string }, applicationAt(data, at))
    },
  },
  {
    ...common,
    name: 'verify',
    status: 200,
    body: '"valid":true',
    request: (data, i) =>
      management(data, 'POST', '/connect/client_secrets/verify', { client_secret: applicationAt(data, i).plaintext }),
  },
  {
    ...common,
    name: 'discovery',
    isLimited: false,
    status: 200,
    body: '"token_endpoint"',
    request: () => ({ method: 'GET', path: '/.well-known/oauth-authorization-server', headers: {} }),
  },
  {
    ...common,
    name: 'dashboard-list',
    status: 200,
    body: 'Nightly export',
    prepare: async ({ apiKey }, { product }) => {
      const response = await fetch(`${product}/dashboard/sign-in`, {
        method: 'POST',
        headers: { Origin: product, 'Sec-Fetch-Site': 'same-origin' },
        body: new URLSearchParams({ api_key: apiKey, to: '' }),
        redirect: 'manual',
      })
      const cookie = response.headers.get('Set-Cookie')?.split(';')[0]
      if (!cookie) throw new Error(`signing in: ${response.status} ${await response.text()}`)
      return [cookie]
    },
    request: (_, __, [cookie = '']) => ({
      method: 'GET',
      path: '/dashboard/applications',
      headers: { Cookie: cookie },
    }),
  },
]

/** Prepares the database for one round, and makes its requests. */
export async function requestsOf(
  operation: Operation,
  data: Data,
  origins: Origins,
  count: number,
): Promise<LoadRequest[]> {
  await data.restore(operation)
  const prepared = (await operation.prepare?.(data, origins)) ?? []
  return Promise.all(Array.from({ length: count }, (_, i) => operation.request(data, i, prepared)))
}

/** An operation, as one of the Workers does it. */
export function contestant(
  name: string,
  operation: Operation,
  { runtime, worker, product, data }: { runtime: Runtime; worker: string; product: string; data: Data },
): Contestant {
  const url = runtime.url(worker)
  const origins = { measured: url, product: runtime.url(product) }
  return {
    name,
    url,
    pid: runtime.pid,
    status: operation.status,
    body: operation.body,
    // Each application is changed once.
    mostRequests: operation.isChange ? data.applications.length : MAX_REQUESTS,
    requests: (count) => requestsOf(operation, data, origins, count),
  }
}

function token(name: string, more: Partial<Operation>): Operation {
  return {
    ...common,
    name,
    isLimited: false,
    status: 200,
    body: '"access_token"',
    request: (data, i) => tokenRequest(applicationAt(data, i)),
    ...more,
  }
}

function applicationAt({ applications }: Data, i: number): BenchApplication {
  return applications[i % applications.length] as BenchApplication
}

const secretsOf = ({ id }: BenchApplication) => `/connect/applications/${id}/client_secrets`

function management({ apiKey }: Data, method: LoadRequest['method'], path: string, body?: object): LoadRequest {
  const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' }
  return { method, path, headers, ...(body && { body: JSON.stringify(body) }) }
}

function keyed(request: LoadRequest, key: string): LoadRequest {
  return { ...request, headers: { ...request.headers, 'Idempotency-Key': key } }
}

function replayed(data: Data, i: number, key: string): LoadRequest {
  return keyed(management(data, 'POST', secretsOf(applicationAt(data, i)), {}), key)
}

function tokenRequest(client: BenchApplication): LoadRequest {
  return form('/oauth2/token', { grant_type: 'client_credentials' }, client)
}

function form(path: string, fields: Record<string, string>, { clientId, plaintext }: BenchApplication): LoadRequest {
  const headers = {
    Authorization: `Basic ${btoa(`${clientId}:${plaintext}`)}`,
    'Content-Type': 'application/x-www-form-urlencoded',
  }
  return { method: 'POST', path, headers, body: new URLSearchParams(fields).toString() }
}

/** As the platform does, names the address that a request came from: many, so that none fails too often. */
function fromAddress(request: LoadRequest, i: number): LoadRequest {
  const address = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
  return { ...request, headers: { ...request.headers, 'CF-Connecting-IP': address } }
}

async function send(origin: string, { method, path, headers, body }: LoadRequest, status: number): Promise<Response> {
  const response = await fetch(origin + path, { method, headers, ...(body !== undefined && { body }) })
  if (response.status !== status) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return response
}
