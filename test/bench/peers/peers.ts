import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { LoadRequest } from '../load.ts'
import type { Contestant } from '../rounds.ts'
import type { Runtime } from '../runtime.ts'

/** Servers that do some of the product's work, as contestants: how each creates a client, and issues a token. */
export interface Peer {
  readonly create: Contestant
  readonly token: Contestant
}

interface Client {
  readonly client_id: string
  readonly client_secret: string
}

const RESOURCE = 'https://api.example.com'
const BASE_URL = 'http://peer.test'
const SCOPES = ['reports:read', 'reports:write']
const CLIENT = {
  client_name: 'bench',
  grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'client_secret_basic',
}
/** How many different clients ask for tokens. */
const CLIENTS = 100
const MOST_REQUESTS = 2_000

export const betterAuthBindings = { BASE_URL, RESOURCE, SECRET: 'the secret of a benchmark: 32 characters, or more' }

/** Better Auth, in the runtime of the product, over a database of its own. */
export async function startBetterAuth(runtime: Runtime, worker: string, database: string): Promise<Peer> {
  const url = runtime.url(worker)
  await post(url, { method: 'POST', path: '/bench/migrate', headers: {} }, 204)
  const headers = { 'Content-Type': 'application/json', Origin: BASE_URL }
  const user = JSON.stringify({ email: 'bench@example.com', password: 'the password of a benchmark', name: 'Bench' })
  const signedUp = await post(url, { method: 'POST', path: '/api/auth/sign-up/email', headers, body: user }, 200)
  const cookies = signedUp.headers.getSetCookie().map((cookie) => cookie.split(';')[0])
  const create: LoadRequest = {
    method: 'POST',
    path: '/clients',
    headers: { ...headers, Cookie: cookies.join('; ') },
    body: JSON.stringify({ ...CLIENT, client_credentials_scopes: SCOPES }),
  }
  const forget = async () => {
    const tables = runtime.database(database)
    await tables.batch([tables.prepare('DELETE FROM oauthClient')])
  }
  return peer({ name: 'better-auth', url, pid: runtime.pid }, create, '/api/auth/oauth2/token', forget)
}

/** node-oidc-provider, in a process of Node's. */
export async function startOidcProvider(program: string): Promise<Peer & { stop: () => void }> {
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, NODE_ENV: 'production', RESOURCE },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const port = /listening on (\d+)/.exec(String(line))?.[1]
  if (!port) throw new Error(`node-oidc-provider did not start: ${line}`)
  child.stdout.resume()
  const create: LoadRequest = {
    method: 'POST',
    path: '/reg',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...CLIENT, redirect_uris: [], response_types: [], scope: SCOPES.join(' ') }),
  }
  const server = { name: 'node-oidc-provider', url: `http://127.0.0.1:${port}`, pid: child.pid as number }
  return { ...peer(server, create, '/token', async () => {}), stop: () => void child.kill() }
}

/** `forget` removes all clients. */
function peer(
  server: Pick<Contestant, 'name' | 'url' | 'pid'>,
  create: LoadRequest,
  tokenPath: string,
  forget: () => Promise<void>,
): Peer {
  const newClient = async () => (await (await post(server.url, create, 201)).json()) as Client
  return {
    create: {
      ...server,
      status: 201,
      body: '"client_secret"',
      mostRequests: MOST_REQUESTS,
      requests: async (count) => {
        await forget()
        return Array.from({ length: count }, () => create)
      },
    },
    token: {
      ...server,
      status: 200,
      // A JWT begins so.
      body: '"access_token":"eyJ',
      mostRequests: MOST_REQUESTS,
      requests: async (count) => {
        await forget()
        const clients: Client[] = []
        while (clients.length < CLIENTS) clients.push(...(await Promise.all(Array.from({ length: 10 }, newClient))))
        // better-auth makes its signing key at the first token, and fails when several requests do so at once.
        await post(server.url, tokenRequest(tokenPath, clients[0] as Client), 200)
        return Array.from({ length: count }, (_, i) => tokenRequest(tokenPath, clients[i % CLIENTS] as Client))
      },
    },
  }
}

function tokenRequest(path: string, { client_id, client_secret }: Client): LoadRequest {
  const fields = { grant_type: 'client_credentials', scope: SCOPES.join(' '), resource: RESOURCE }
  return {
    method: 'POST',
    path,
    headers: {
      Authorization: `Basic ${btoa(`${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`)}`,
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams(fields).toString(),
  }
}

async function post(url: string, { path, headers, body }: LoadRequest, status: number): Promise<Response> {
  const response = await fetch(url + path, { method: 'POST', headers, ...(body !== undefined && { body }) })
  if (response.status !== status) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`)
  return response
}
