import type { Command } from '@commander-js/extra-typings'
import { webhookRequest, webhookUrlProblem } from '../contract/webhooks.ts'
import { timestamp } from '../contract/wire.ts'
import { DEFAULT_REGION, issueCredential } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import type { Database } from '../storage/database.ts'
import { EVENT_TYPES, type Event, type EventType } from '../storage/events.ts'
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  findWebhookEndpoint,
  listWebhookEndpointsOf,
  reviveDeliveries,
} from '../storage/operator/webhook-endpoints.ts'
import {
  type Context,
  codeOf,
  Failure,
  jsonOption,
  print,
  printOnce,
  requireReader,
  table,
  UsageError,
} from './command.ts'
import { readConfiguration } from './configuration.ts'
import { environmentNamed, environmentsNamed } from './environment.ts'
import { databaseOptions, withDatabase } from './operator-database.ts'

const SECRET_PREFIX = 'whsec'

export function addWebhookCommands(program: Command, context: Context): void {
  const group = program.command('webhook').description('Manage webhook endpoints.')

  databaseOptions(group.command('create'))
    .description(
      'Create a webhook endpoint of an environment, and show the secret that signs its events. Readers of the database can read this secret, and sign with it.',
    )
    .requiredOption('--environment <NAME>', 'Environment, by name.')
    .requiredOption('--url <URL>', 'Where events are sent, over https.')
    .option('--events <TYPES>', 'Event types, separated by commas. All of them by default.')
    .addOption(jsonOption())
    .action(async (options) => {
      const { environment: environmentName, url, remote, json } = options
      // The local database is that of `npm run dev`, which may send to this machine.
      const problem = webhookUrlProblem(url, !remote)
      if (problem) throw new UsageError(`--url ${problem}. Give one like https://example.com/hook.`)
      const events = eventTypesOf(options.events)
      requireReader(context, 'the signing secret')
      const { plaintext: secret } = await issueCredential(SECRET_PREFIX, DEFAULT_REGION)
      const now = Date.now()
      const id = newId('we', now)
      await withDatabase(context, options, async (database) => {
        const { id: environmentId } = await environmentNamed(database, environmentName)
        await createWebhookEndpoint(database, { id, environmentId, url, events, secret, createdAt: now })
        await printOnce(context, json ? { id, secret } : secret, {
          created: `Webhook endpoint ${id}`,
          undone: 'deleted, because its secret was not shown',
          undo: () => deleteWebhookEndpoint(database, id, Date.now()),
          byHand: `npm run webhook -- delete ${id}${remote ? ' --remote' : ''}`,
        })
      })
      if (json) return
      context.progress(
        `This secret signs the events of ${id}. It is not shown again. Try it: npm run webhook -- test ${id}`,
      )
    })

  databaseOptions(group.command('list'))
    .description(
      'List webhook endpoints of one environment or of all, with their pending, delivered and failed events.',
    )
    .option('--environment <NAME>', 'Environment, by name.')
    .addOption(jsonOption())
    .action(async (options) => {
      const rows = await withDatabase(context, options, async (database) => {
        const environments = await environmentsNamed(database, options.environment)
        const lists = await Promise.all(environments.map(({ id }) => listWebhookEndpointsOf(database, id)))
        return environments.flatMap(({ name }, i) => (lists[i] ?? []).map((endpoint) => ({ name, ...endpoint })))
      })
      if (options.json) {
        const result = rows.map(({ id, name, url, events, createdAt, deliveries }) => ({
          id,
          environment: name,
          url,
          events,
          created_at: timestamp(createdAt),
          deliveries,
        }))
        return print(context, result)
      }
      if (rows.length === 0) return print(context, 'No webhook endpoints yet: npm run webhook -- create --help')
      const lines = rows.map(({ id, name, url, events, deliveries: { pending, delivered, dead } }) => [
        ...[name, url, events.join(',') || 'all'],
        ...[pending, delivered, dead].map(String),
        id,
      ])
      await print(context, table(['ENVIRONMENT', 'URL', 'EVENTS', 'PENDING', 'DELIVERED', 'FAILED', 'ID'], lines))
    })

  databaseOptions(group.command('test'))
    .description('Send a signed sample event to a webhook endpoint from this machine, and show the answer.')
    .argument('<ID>', 'ID of the webhook endpoint.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const endpoint = await withDatabase(context, options, (database) => findEndpoint(database, id))
      const problem = webhookUrlProblem(endpoint.url, !options.remote)
      if (problem) throw new Failure(`Nothing was sent: the URL of ${id} ${problem}.`)
      context.progress(`Sending to ${endpoint.url}…`)
      const { vars } = await readConfiguration()
      const status = await sendSample(endpoint, Number(vars.WEBHOOK_TIMEOUT_MS))
      await print(context, options.json ? { id, status } : `The receiver answered ${status}.`)
    })

  databaseOptions(group.command('delete'))
    .description("Delete a webhook endpoint and its secret. Nothing more is sent there. This can't be undone.")
    .argument('<ID>', 'ID of the webhook endpoint.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const isFound = await withDatabase(context, options, (database) =>
        deleteWebhookEndpoint(database, id, Date.now()),
      )
      if (!isFound) throw notFound(id)
      await print(context, options.json ? { id } : `Deleted: ${id}.`)
    })

  databaseOptions(group.command('revive'))
    .description('Retry the events that a webhook endpoint has failed to take.')
    .argument('<ID>', 'ID of the webhook endpoint.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const revived = await withDatabase(context, options, async (database) => {
        const endpoint = await findEndpoint(database, id)
        return reviveDeliveries(database, endpoint.id, Date.now())
      })
      if (options.json) return print(context, { id, revived })
      await print(
        context,
        revived === 0 ? 'No failed deliveries.' : `Deliveries that will be retried within a minute: ${revived}.`,
      )
    })
}

function eventTypesOf(list: string | undefined): EventType[] {
  if (list === undefined) return []
  const types = list.split(',').map((type) => type.trim())
  const unknown = types.find((type) => !(EVENT_TYPES as readonly string[]).includes(type))
  if (unknown !== undefined) {
    throw new UsageError(`--events has '${unknown}', which is not an event type. They are: ${EVENT_TYPES.join(', ')}.`)
  }
  return [...new Set(types as EventType[])]
}

async function findEndpoint(database: Database, id: string) {
  const found = await findWebhookEndpoint(database, id)
  if (!found) throw notFound(id)
  return found
}

function notFound(id: string): Failure {
  return new Failure(`Webhook endpoint ${id} not found. Nothing was changed. See: npm run webhook -- list`)
}

/** Sends a sample, and gives the status. Throws Failure unless that is 2xx. */
export async function sendSample(
  { url, secret }: { readonly url: string; readonly secret: string },
  timeoutMs: number,
): Promise<number> {
  const now = Date.now()
  const request = await webhookRequest(sampleEvent(now), secret, now, timeoutMs)
  const response = await fetch(url, request).catch((error) => {
    throw new Failure(`The receiver did not answer: ${reasonOf(error, timeoutMs)}.`)
  })
  await response.body?.cancel()
  if (response.ok) return response.status
  throw new Failure(`The receiver answered ${response.status}. The Worker would retry until the answer is 2xx.`)
}

/** An event about a secret that does not exist. */
function sampleEvent(now: number): Event {
  return {
    id: newId('event', now),
    type: 'connect_application_secret.created',
    data: {
      id: newId('secret', now),
      application_id: newId('conn_app', now),
      secret_hint: 'sample',
      name: 'Sample of npm run webhook -- test',
      last_used_at: null,
      expires_at: null,
      disabled_at: null,
      created_at: now,
      updated_at: now,
    },
    actor: 'operator',
    apiKey: null,
    sessionId: null,
    requestId: null,
    origin: { address: null, country: null, userAgent: null, clientRequestId: null },
    createdAt: now,
  }
}

function reasonOf(error: Error, timeoutMs: number): string {
  if (error.name === 'TimeoutError') return `nothing within ${timeoutMs / 1000} seconds`
  return error.cause instanceof Error ? error.cause.message || codeOf(error.cause) : error.message
}
