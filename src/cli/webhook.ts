import { DEFAULT_REGION, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { refuseWebhookUrl, signWebhook, WEBHOOK_SIGNATURE_HEADER } from '../credential/webhook-signature.ts'
import type { Database } from '../storage/database.ts'
import { EVENT_TYPES, type EventType } from '../storage/events.ts'
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  findWebhookEndpoint,
  listWebhookEndpointsOf,
  reviveDeliveries,
} from '../storage/operator/webhook-endpoints.ts'
import { answer, command, Failure, json, main, misuse, progress, table } from './command.ts'
import { environmentName, environmentOf, environmentsOf } from './named-environment.ts'
import { target, withDatabase } from './target.ts'

const SECRET_PREFIX = 'whsec'

/** As long as the Worker gives a receiver. */
const TIMEOUT_MS = 10_000

const create = command({
  name: 'webhook -- create',
  says: 'Makes a webhook of an environment, and shows the secret that its events are signed with. The database keeps it readable: whoever reads the database can sign like you.',
  options: {
    environment: { ...environmentName, required: true },
    url: { type: 'string', value: 'URL', says: 'Where events are sent to, over https.', required: true },
    events: { type: 'string', value: 'TYPE,TYPE', says: 'Which events. All of them, unless you choose.' },
    ...target,
    json,
  },
  run: async (values) => {
    // The embedded database is that of `npm run dev`, which may send to this machine.
    const problem = refuseWebhookUrl(values.url, !values.remote)
    if (problem) misuse(`--url ${problem}. Give one like https://example.com/hook.`)
    const events = typesOf(values.events)
    const { plaintext: secret } = await issueCredential(SECRET_PREFIX, DEFAULT_REGION)
    const now = Date.now()
    const id = newId('we', now)
    await withDatabase(values, async (database) => {
      const { id: environmentId } = await environmentOf(database, values.environment)
      await createWebhookEndpoint(database, { id, environmentId, url: values.url, events, secret, createdAt: now })
    })
    if (values.json) return answer({ id, secret })
    answer(secret)
    progress(`This signs what is sent by ${id}, and is not shown again. Try it: npm run webhook -- test ${id}`)
  },
})

const list = command({
  name: 'webhook -- list',
  says: 'Shows webhooks, of one environment or of all, and how many of their events are under way, delivered, and given up after three days.',
  options: { environment: environmentName, ...target, json },
  run: async (values) => {
    const rows = await withDatabase(values, async (database) => {
      const environments = await environmentsOf(database, values.environment)
      const lists = await Promise.all(environments.map(({ id }) => listWebhookEndpointsOf(database, id)))
      return environments.flatMap(({ name }, i) => (lists[i] ?? []).map((endpoint) => ({ name, ...endpoint })))
    })
    if (values.json) {
      return answer(
        rows.map(({ id, name, url, events, createdAt, deliveries }) => ({
          id,
          environment: name,
          url,
          events,
          created_at: new Date(createdAt).toISOString(),
          deliveries,
        })),
      )
    }
    if (rows.length === 0) return answer('There is none yet: npm run webhook -- create')
    answer(
      table(
        ['ENVIRONMENT', 'URL', 'EVENTS', 'PENDING', 'DELIVERED', 'DEAD', 'ID'],
        rows.map(({ id, name, url, events, deliveries: { pending, delivered, dead } }) => [
          name,
          url,
          events.join(',') || 'all',
          ...[pending, delivered, dead].map(String),
          id,
        ]),
      ),
    )
  },
})

const test = command({
  name: 'webhook -- test',
  says: 'Sends a sample event to a webhook from this machine, signed like any other, and says what the receiver answered.',
  options: { ...target, json },
  operand: 'ID',
  run: async (values, operand) => {
    const id = needed(operand)
    const endpoint = await withDatabase(values, (database) => endpointOf(database, id))
    const problem = refuseWebhookUrl(endpoint.url, !values.remote)
    if (problem) throw new Failure(`Nothing was sent: its URL ${problem}.`)
    progress(`Sending to ${endpoint.url}…`)
    const now = Date.now()
    const body = JSON.stringify(sampleEvent(now))
    const headers = {
      'Content-Type': 'application/json',
      'User-Agent': 'Oncekey-Webhooks',
      [WEBHOOK_SIGNATURE_HEADER]: await signWebhook(body, endpoint.secret, now),
    }
    const init = { method: 'POST', headers, body, redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) } as const
    const response = await fetch(endpoint.url, init).catch((error: Error) => {
      throw new Failure(`The receiver did not answer: ${reasonOf(error)}.`)
    })
    await response.body?.cancel()
    if (!response.ok) throw new Failure(`The receiver answered with ${response.status}, and should with 2xx.`)
    answer(
      values.json ? { id: endpoint.id, status: response.status } : `The receiver answered with ${response.status}.`,
    )
  },
})

const remove = command({
  name: 'webhook -- delete',
  says: 'Ends a webhook, for good: nothing more is sent there, and its secret is forgotten.',
  options: { ...target, json },
  operand: 'ID',
  run: async (values, operand) => {
    const id = needed(operand)
    if (!(await withDatabase(values, (database) => deleteWebhookEndpoint(database, id, Date.now())))) throw unknown(id)
    answer(values.json ? { id } : `Deleted: ${id}.`)
  },
})

const revive = command({
  name: 'webhook -- revive',
  says: 'Puts the events that a webhook’s receiver did not take within three days on their way again.',
  options: { ...target, json },
  operand: 'ID',
  run: async (values, operand) => {
    const id = needed(operand)
    const revived = await withDatabase(values, async (database) => {
      const endpoint = await endpointOf(database, id)
      return reviveDeliveries(database, endpoint.id, Date.now())
    })
    if (values.json) return answer({ id, revived })
    answer(revived === 0 ? 'None is dead.' : `On their way again, within a minute: ${revived}.`)
  },
})

function typesOf(list: string | undefined): EventType[] {
  if (list === undefined) return []
  const types = list.split(',').map((type) => type.trim() as EventType)
  const foreign = types.find((type) => !EVENT_TYPES.includes(type))
  if (foreign !== undefined) misuse(`--events has '${foreign}', which is not of ${EVENT_TYPES.join(', ')}.`)
  return [...new Set(types)]
}

async function endpointOf(database: Database, id: string) {
  const found = await findWebhookEndpoint(database, id)
  if (!found) throw unknown(id)
  return found
}

function needed(id: string | undefined): string {
  return id ?? misuse('Name the webhook by its id.')
}

function unknown(id: string): Failure {
  return new Failure(`There is no webhook ${id}. See: npm run webhook -- list`)
}

/** An event as the Worker sends it, of a secret that nobody has. */
function sampleEvent(now: number) {
  const time = new Date(now).toISOString()
  return {
    object: 'event',
    id: newId('event', now),
    event: 'connect_application_secret.created',
    data: {
      object: 'connect_application_secret',
      id: newId('secret', now),
      secret_hint: 'sample',
      last_used_at: null,
      created_at: time,
      updated_at: time,
      name: 'Sample of npm run webhook -- test',
      application_id: newId('conn_app', now),
    },
    created_at: time,
    context: { api_key: null, request_id: null },
  } as const
}

/** In few words why a request came to nothing. */
function reasonOf({ name, message, cause }: Error): string {
  if (name === 'TimeoutError') return `nothing within ${TIMEOUT_MS / 1000} seconds`
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message
}

await main([create, list, test, remove, revive])
