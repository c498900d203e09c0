import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { vi } from 'vitest'
import { app } from '../src/app.ts'
import { checkRequest, checkResponse } from './contract.ts'
import * as operator from './operator.ts'
import { m2mApplication } from './requests.ts'

export { m2mApplication }

/** Calls the management API inside the runtime, over the real database. */

export interface Call {
  readonly body?: unknown
  readonly headers?: Record<string, string>
  /** Bindings in place of the real ones, such as a database that fails. */
  readonly bindings?: Partial<Env>
  /** Called when the response has arrived, before the work behind it has ended. */
  readonly onAnswer?: () => void
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  /** The bytes of the body, as text. */
  readonly text: string
  /** The JSON of the body; null when there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: its type depends on the route, and the contract is checked for each response.
  readonly json: any
}

/** As operator.ts has them, over the database of the tests. */
export const operatorDatabase = (binding = env.DB, region?: string) => operator.operatorDatabase(binding, region)
export const newApiKey = (options?: operator.KeyOptions) => operator.newApiKey(env.DB, options)

/** Makes an API key that has made too many calls: this isolate refuses it for an hour. */
export async function newLimitedApiKey(options: Parameters<typeof newApiKey>[0] = {}): Promise<string> {
  const { apiKey } = await newApiKey(options)
  vi.setSystemTime(Date.now() + 3_600_000)
  await call(apiKey, 'GET', '/events', { bindings: { MANAGEMENT_CALLS: { limit: async () => ({ success: false }) } } })
  vi.useRealTimers()
  return apiKey
}

/** Sends a request to the Worker, waits until its background work has ended, and checks the response. */
export async function send(request: Request, bindings: Partial<Env> = {}, onAnswer = () => {}): Promise<Reply> {
  const context = createExecutionContext()
  const { method, url } = request
  const response = await app.fetch(request, { ...env, ...bindings }, context)
  onAnswer()
  await waitOnExecutionContext(context)
  await checkResponse(method, url, response)
  const text = await response.text()
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json') && text !== ''
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : null }
}

/** Calls as the holder of an API key, with a JSON body if one is given. */
export async function call(
  apiKey: string,
  method: string,
  path: string,
  { body, headers, bindings, onAnswer }: Call = {},
): Promise<Reply> {
  const request = new Request(`https://oncekey.test${path}`, {
    method,
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json', ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const reply = await send(request, bindings, onAnswer)
  if (reply.status < 300 && body !== undefined) checkRequest(request, JSON.stringify(body))
  return reply
}

/** Creates an application, and returns it as the API does. */
export async function newApplication(apiKey: string, body: object = m2mApplication) {
  const { json } = await call(apiKey, 'POST', '/connect/applications', { body })
  return json as { id: string; client_id: string } & Record<string, unknown>
}
