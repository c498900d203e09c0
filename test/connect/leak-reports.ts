import { env } from 'cloudflare:workers'
import { call, type Reply, send } from '../api.ts'
import { counted } from '../faults/wrapped.ts'

/** Reports of leaked credentials, as finders send them. */

export const SOURCE = 'https://paste.example/b7kq'
export const ACCEPTED = '{"status":"accepted"}'

interface Report extends Reply {
  /** D1 requests before the response, and all of them. */
  readonly trips: readonly [before: number, all: number]
  readonly counter: ReturnType<typeof counted>
}

export async function post(body: string, headers: Record<string, string> = {}, binding = env.DB): Promise<Report> {
  const counter = counted(binding)
  let before = 0
  const request = new Request('https://oncekey.test/leaks', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body,
  })
  const reply = await send(request, { DB: counter.database }, () => {
    before = counter.trips
  })
  return { ...reply, counter, trips: [before, counter.trips] }
}
export const report = (credential: unknown, source?: unknown, headers = {}) =>
  post(JSON.stringify({ credential, source }), headers)

export const eventsOf = async (apiKey: string, type: string) =>
  (await call(apiKey, 'GET', `/events?events=${type}`)).json.data
