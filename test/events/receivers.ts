import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, vi } from 'vitest'
import { issueCredential } from '../../src/credential/credential.ts'
import { newId } from '../../src/credential/id.ts'
import worker from '../../src/index.ts'
import type { EventType } from '../../src/storage/events.ts'
import { createWebhookEndpoint } from '../../src/storage/operator/webhook-endpoints.ts'
import { operatorDatabase } from '../api.ts'
import { forgetOperatorEvents } from '../operator.ts'
import { type Digit, databaseIn } from '../regions.ts'

/** Receivers of webhooks, in place of the network, and the clock by which they are sent to. */

interface Arrival {
  readonly url: string
  readonly init: RequestInit
  readonly headers: Headers
  readonly body: string
  // biome-ignore lint/suspicious/noExplicitAny: its type depends on the type of the event.
  readonly event: any
}

export interface Receiver {
  readonly id: string
  readonly url: string
  readonly secret: string
  readonly arrivals: Arrival[]
  /** May be replaced at any time. */
  answer: (arrival: Arrival) => Response | Promise<Response>
}

interface Endpoint {
  readonly environmentId: string
  /** The region of the environment, if there are several. */
  readonly region?: Digit
  readonly events?: EventType[]
  readonly url?: string
  readonly answer?: Receiver['answer']
}

const receivers = new Map<string, Receiver>()

/** Also those of other test files: the schedule would send to them. */
async function removeEndpoints(): Promise<void> {
  await env.DB.exec('DELETE FROM webhook_deliveries')
  await env.DB.exec('DELETE FROM webhook_endpoints')
}

/** Lets receivers listen during each test of a file, in place of the network. */
export function listenToWebhooks(): void {
  beforeEach(async () => {
    await removeEndpoints()
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init = {}) => {
      const url = String(input)
      const receiver = receivers.get(url)
      if (!receiver) throw new TypeError(`no receiver listens at ${url}`)
      const body = String(init.body)
      const arrival = { url, init, headers: new Headers(init.headers), body, event: JSON.parse(body) }
      receiver.arrivals.push(arrival)
      return receiver.answer(arrival)
    })
  })

  afterEach(async () => {
    vi.restoreAllMocks()
    vi.useRealTimers()
    receivers.clear()
    await removeEndpoints()
  })
}

/** Makes an endpoint, and listens there. */
export async function newReceiver({ environmentId, region, ...options }: Endpoint): Promise<Receiver> {
  const { events = [], url, answer } = options
  const database = operatorDatabase(region ? databaseIn(region) : env.DB, region)
  const now = Date.now()
  const { plaintext: secret } = await issueCredential('whsec', database.region)
  const receiver: Receiver = {
    id: newId('we', now, database.region),
    url: url ?? `https://${crypto.randomUUID()}.example.com/hook`,
    secret,
    arrivals: [],
    answer: answer ?? (() => new Response()),
  }
  receivers.set(receiver.url, receiver)
  const { id } = receiver
  const endpoint = { id, environmentId, url: receiver.url, events, secret, createdAt: now }
  await createWebhookEndpoint(database, endpoint)
  // Without the event of its creation, which other receivers would get.
  await forgetOperatorEvents(database.binding)
  await database.binding
    .prepare('UPDATE webhook_endpoints SET cursor = (SELECT coalesce(max(seq), 0) FROM events) WHERE id = ?')
    .bind(id)
    .run()
  return receiver
}

/** Runs the scheduled job, as the platform does once a minute. */
export async function runSchedule(bindings: Partial<Env> = {}): Promise<void> {
  const context = createExecutionContext()
  await worker.scheduled(createScheduledController(), { ...env, ...bindings }, context)
  await waitOnExecutionContext(context)
}

/** Sets the clock of the Worker; timers go on as they are. */
export function setClock(unixMs: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: unixMs })
}

export interface DeliveryRow {
  readonly endpoint_id: string
  readonly event_id: string
  readonly state: string
  readonly attempts: number
  readonly next_attempt_at: number
  readonly lease: string | null
  readonly last_outcome: string | null
  readonly settled_at: number | null
}

/** The rows of one endpoint, or of all. */
export async function deliveries(receiver?: Receiver): Promise<DeliveryRow[]> {
  const { results } = await env.DB.prepare(
    'SELECT * FROM webhook_deliveries WHERE ?1 IS NULL OR endpoint_id = ?1 ORDER BY event_id',
  )
    .bind(receiver?.id ?? null)
    .all<DeliveryRow & Record<string, unknown>>()
  return results
}

/** A promise, and what settles it. */
export function gate() {
  return Promise.withResolvers<Response>()
}
