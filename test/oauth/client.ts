import { env } from 'cloudflare:workers'
import { call, m2mApplication, newApiKey, newApplication, type Reply, send } from '../api.ts'

/** Calls the OAuth endpoints as clients do, inside the runtime, on the real database. */

interface Options {
  readonly headers?: Record<string, string>
  /** Bindings in place of the real ones, such as a database that fails. */
  readonly bindings?: Partial<Env>
  readonly origin?: string
  /** Called when the response has arrived, before the work behind it has ended. */
  readonly onAnswer?: () => void
}

/** An application, one of its secrets, and an API key of its environment. */
export interface Client {
  readonly apiKey: string
  readonly environmentId: string
  /** The client ID of its environment. */
  readonly audience: string
  readonly applicationId: string
  readonly clientId: string
  readonly secretId: string
  readonly secret: string
}

/** Without a limit on failures: tests fail to authenticate more often than it allows. */
export const unlimited = { FAILED_AUTHENTICATIONS: undefined } as unknown as Partial<Env>

export const oauthApplication = {
  name: 'Partner',
  application_type: 'oauth',
  is_first_party: false,
  organization_id: m2mApplication.organization_id,
}
export const firstPartyApplication = { name: 'Console', application_type: 'oauth', is_first_party: true }

/** Makes an application with a secret, in a new environment or in that of another client. */
export async function newClient(application: object = m2mApplication, beside?: Client): Promise<Client> {
  const { apiKey, environmentId } = beside ?? (await newApiKey())
  const { id, client_id: clientId } = await newApplication(apiKey, application)
  const row = await env.DB.prepare('SELECT client_id FROM environments WHERE id = ?').bind(environmentId).first()
  const client = { apiKey, environmentId, audience: row?.client_id as string, applicationId: id, clientId }
  return { ...client, ...(await newSecret(client)) }
}

/** Makes another secret of the same application. */
export async function newSecret<C extends Pick<Client, 'apiKey' | 'applicationId'>>(client: C) {
  const { json } = await call(client.apiKey, 'POST', `/connect/applications/${client.applicationId}/client_secrets`)
  return { ...client, secretId: json.id as string, secret: json.secret as string }
}

export function revoke({ apiKey, secretId }: Client): Promise<Reply> {
  return call(apiKey, 'DELETE', `/connect/client_secrets/${secretId}`)
}

/** Sets columns of a secret's row. */
export async function setSecret({ secretId }: Client, columns: Record<string, number | null>): Promise<void> {
  const set = Object.keys(columns).map((column) => `${column} = ?`)
  await env.DB.prepare(`UPDATE client_secrets SET ${set.join(', ')} WHERE id = ?`)
    .bind(...Object.values(columns), secretId)
    .run()
}

/** A Basic header as `curl -u` sends it (RFC 7617). */
export function basic(id: string, secret: string): string {
  return `Basic ${btoa(`${id}:${secret}`)}`
}

/** Posts parameters, or a body. */
export function post(
  path: string,
  parameters: Record<string, string> | string | Uint8Array,
  { headers, bindings, origin = 'https://oncekey.test', onAnswer }: Options = {},
): Promise<Reply> {
  const request = new Request(`${origin}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    body:
      typeof parameters === 'string' || parameters instanceof Uint8Array
        ? parameters
        : String(new URLSearchParams(parameters)),
  })
  return send(request, { ...unlimited, ...bindings }, onAnswer)
}

/** Requests a token with Basic. */
export function requestToken(
  { clientId, secret }: Client,
  parameters: Record<string, string> = {},
  { headers, ...options }: Options = {},
): Promise<Reply> {
  const authorization = { Authorization: basic(clientId, secret) }
  return post(
    '/oauth2/token',
    { grant_type: 'client_credentials', ...parameters },
    { headers: { ...authorization, ...headers }, ...options },
  )
}

/** Requests a token with this Authorization header, or without one. */
export function requestTokenWith(
  authorization: string | undefined,
  parameters: Record<string, string> = {},
  bindings: Partial<Env> = {},
): Promise<Reply> {
  const headers = authorization === undefined ? {} : { Authorization: authorization }
  return post('/oauth2/token', { grant_type: 'client_credentials', ...parameters }, { headers, bindings })
}

/** Gets a token, or throws the error. */
export async function getToken(client: Client, options: Options = {}): Promise<string> {
  const { status, text, json } = await requestToken(client, {}, options)
  if (status !== 200) throw new Error(text)
  return json.access_token
}

/** Introspects a token with Basic. */
export function introspect(
  { clientId, secret }: Client,
  token: string,
  { headers, ...options }: Options = {},
): Promise<Reply> {
  return post(
    '/oauth2/introspection',
    { token },
    {
      headers: { Authorization: basic(clientId, secret), ...headers },
      ...options,
    },
  )
}

/** Bindings without these. */
export function without(...names: (keyof Env)[]): Partial<Env> {
  return Object.fromEntries(names.map((name) => [name, undefined]))
}

/** Headers that differ between two equal responses. */
const OF_ONE_REQUEST = ['x-request-id', 'server-timing']

/** Everything that a caller sees, except for these headers. */
export function seen({ status, headers, text }: Omit<Reply, 'json'>) {
  return { status, text, headers: [...headers].filter(([name]) => !OF_ONE_REQUEST.includes(name)) }
}
