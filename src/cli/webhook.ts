import type { Command } from '@commander-js/extra-typings'
import { newWebhookUrlProblem, sampleEvent, webhookRequest, webhookUrlProblem } from '../contract/webhooks.ts'
import { timestamp } from '../contract/wire.ts'
import { issueCredential, SIGNING_SECRET_PREFIX } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { EVENT_TYPES, type EventType } from '../storage/events.ts'
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  findWebhookEndpoint,
  listWebhookEndpointsOf,
  pauseWebhookEndpoint,
  reviveDeliveries,
} from '../storage/operator/webhook-endpoints.ts'
import { deliveryCount } from '../storage/webhooks.ts'
import {
  type Context,
  codeOf,
  Failure,
  jsonOption,
  type OpenRegions,
  print,
  printOnce,
  requireReader,
  table,
  UsageError,
} from './command.ts'
import { readConfiguration } from './configuration.ts'
import { choiceWords, databaseOptions, withRegions } from './operator-database.ts'
import {
  databaseOfId,
  environmentNamed,
  listInEnvironments,
  regionCell,
  regionHeading,
  regionMember,
  requireAllAnswered,
} from './regions.ts'

export function addWebhookCommands(program: Command, context: Context): void {
  const group = program.command('webhook').description('Manage webhook endpoints.')

  databaseOptions(group.command('create'))
    .description(
      'Create a webhook endpoint of an environment, and show the secret that signs its events. The database stores this secret in plain text, so everyone with access to the database can sign with it.',
    )
    .requiredOption('--environment <NAME>', 'Environment, by name or ID.')
    .requiredOption('--url <URL>', 'Where events are sent, over https.')
    .option('--events <TYPES>', 'Event types, separated by commas. Default: all.')
    .addOption(jsonOption())
    .action(async (options) => {
      const { environment: environmentName, url, remote, json } = options
      // `npm run dev`, which uses the local database, may send to this machine.
      const problem = newWebhookUrlProblem(url, !remote)
      if (problem) throw new UsageError(`--url ${problem}. Give one like https://example.com/hook.`)
      const events = eventTypesOf(options.events)
      requireReader(context, 'the signing secret')
      const id = await withRegions(context, options, async (open) => {
        const { id: environmentId, database } = await environmentNamed(open, environmentName)
        const { plaintext: secret } = await issueCredential(SIGNING_SECRET_PREFIX, database.region)
        const now = Date.now()
        const id = newId('we', now, database.region)
        await createWebhookEndpoint(database, { id, environmentId, url, events, secret, createdAt: now })
        await printOnce(context, json ? { id, secret } : secret, {
          created: `Webhook endpoint ${id}`,
          undone: 'deleted, because its secret was not shown',
          undo: () => deleteWebhookEndpoint(database, id, Date.now()),
          byHand: `npm run webhook -- delete ${id}${open.choice ?? ''}`,
        })
        return id
      })
      if (json) return
      context.progress(
        `This secret signs the events of ${id}. It is not shown again. To send a sample event: npm run webhook -- test ${id}${choiceWords(options)}`,
      )
    })

  databaseOptions(group.command('list'))
    .description(
      'List webhook endpoints of one environment or of all, with the numbers of their pending, delivered and failed events.',
    )
    .option('--environment <NAME>', 'Environment, by name or ID.')
    .addOption(jsonOption())
    .action(async (options) => {
      const found = await withRegions(context, options, (open) =>
        listInEnvironments(open, options.environment, listWebhookEndpointsOf),
      )
      const environments = found.answers.map(([environment]) => environment)
      if (options.json) {
        const result = found.answers.map(([environment, { id, url, events, createdAt, pausedAt, deliveries }]) => ({
          id,
          environment: environment.name,
          url,
          events,
          created_at: timestamp(createdAt),
          paused_at: pausedAt === null ? null : timestamp(pausedAt),
          deliveries,
          ...regionMember(environment),
        }))
        await print(context, result)
      } else if (found.answers.length > 0) {
        const rows = found.answers.map(([environment, { id, url, events, deliveries }]) => [
          ...[environment.name, url, events.join(',') || 'all'],
          deliveryCount(deliveries.pending),
          String(deliveries.delivered),
          deliveryCount(deliveries.dead),
          id,
          ...regionCell(environment),
        ])
        const headings = ['ENVIRONMENT', 'URL', 'EVENTS', 'PENDING', 'DELIVERED', 'FAILED', 'ID']
        await print(context, table([...headings, ...regionHeading(environments)], rows))
      } else if (found.problems.length === 0) {
        await print(context, 'No webhook endpoints yet: npm run webhook -- create --help')
      }
      requireAllAnswered(found)
    })

  databaseOptions(group.command('test'))
    .description(
      'Send a signed sample event to a webhook endpoint from this machine, and show the HTTP status of the answer.',
    )
    .argument('<ID>', 'ID of the webhook endpoint.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const { endpoint } = await withRegions(context, options, (open) => findEndpoint(open, id))
      const problem = webhookUrlProblem(endpoint.url, !options.remote)
      if (problem) throw new Failure(`Nothing was sent: the URL of ${id} ${problem}.`)
      context.progress(`Sending to ${endpoint.url}…`)
      const { vars } = await readConfiguration()
      const status = await sendSample(endpoint, Number(vars.WEBHOOK_TIMEOUT_MS))
      await print(context, options.json ? { id, status } : `The receiver answered ${status}.`)
    })

  for (const verb of ['pause', 'resume'] as const) {
    databaseOptions(group.command(verb))
      .description(
        verb === 'pause'
          ? 'Pause a webhook endpoint: its events wait, in their order, until it is resumed.'
          : 'Resume a webhook endpoint: the events that waited are sent within a minute.',
      )
      .argument('<ID>', 'ID of the webhook endpoint.')
      .addOption(jsonOption())
      .action(async (id, options) => {
        await withRegions(context, options, async (open) => {
          const place = await databaseOfId(open, id)
          const isFound = place && (await pauseWebhookEndpoint(place.database, id, verb === 'pause', Date.now()))
          if (!isFound) throw notFound(open, id)
        })
        await print(context, options.json ? { id } : `${verb === 'pause' ? 'Paused' : 'Resumed'}: ${id}.`)
      })
  }

  databaseOptions(group.command('delete'))
    .description("Delete a webhook endpoint and its secret. Nothing more is sent there. This can't be undone.")
    .argument('<ID>', 'ID of the webhook endpoint.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      await withRegions(context, options, async (open) => {
        const place = await databaseOfId(open, id)
        if (!place || !(await deleteWebhookEndpoint(place.database, id, Date.now()))) throw notFound(open, id)
      })
      await print(context, options.json ? { id } : `Deleted: ${id}.`)
    })

  databaseOptions(group.command('revive'))
    .description('Retry the failed deliveries of a webhook endpoint.')
    .argument('<ID>', 'ID of the webhook endpoint.')
    .addOption(jsonOption())
    .action(async (id, options) => {
      const revived = await withRegions(context, options, async (open) => {
        const { endpoint, database } = await findEndpoint(open, id)
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
    throw new UsageError(
      `--events has '${unknown}', which is not an event type. The event types are: ${EVENT_TYPES.join(', ')}.`,
    )
  }
  return [...new Set(types as EventType[])]
}

async function findEndpoint(open: OpenRegions, id: string) {
  const place = await databaseOfId(open, id)
  const endpoint = place && (await findWebhookEndpoint(place.database, id))
  if (!endpoint) throw notFound(open, id)
  return { endpoint, ...place }
}

function notFound({ choice = '' }: OpenRegions, id: string): Failure {
  return new Failure(`Webhook endpoint ${id} was not found. Nothing was changed. See: npm run webhook -- list${choice}`)
}

/** Sends a sample, and returns the HTTP status. Throws Failure for any status but 2xx. */
export async function sendSample(
  { url, secret }: { readonly url: string; readonly secret: string },
  timeoutMs: number,
): Promise<number> {
  const now = Date.now()
  const request = await webhookRequest(sampleEvent(now, 'Sample of npm run webhook -- test'), secret, now, timeoutMs)
  const response = await fetch(url, request).catch((error) => {
    throw new Failure(`The receiver did not answer: ${reasonOf(error, timeoutMs)}.`)
  })
  await response.body?.cancel()
  if (response.ok) return response.status
  throw new Failure(`The receiver answered ${response.status}. The Worker would retry until the answer is 2xx.`)
}

function reasonOf(error: Error, timeoutMs: number): string {
  if (error.name === 'TimeoutError') return `nothing within ${timeoutMs / 1000} seconds`
  return error.cause instanceof Error ? error.cause.message || codeOf(error.cause) : error.message
}
