import type { Context } from 'hono'
import { Hono } from 'hono'
import { newWebhookUrlProblem, sampleEvent, webhookRequest, webhookUrlProblem } from '../contract/webhooks.ts'
import { issueCredential, SIGNING_SECRET_PREFIX } from '../credential/credential.ts'
import { newId } from '../credential/id.ts'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { ApiError, granted, keepIdentity } from '../http/errors.ts'
import { readSettings } from '../http/settings.ts'
import { Choice, Confirm, Field, type FieldErrors } from '../pages/forms.tsx'
import { TypeName } from '../pages/parts.tsx'
import { Problem } from '../pages/problem.tsx'
import { identify } from '../storage/batch.ts'
import { EVENT_TYPES, type EventType } from '../storage/events.ts'
import { createCallerEndpoint, deleteCallerEndpoint, findCallerEndpoint } from '../storage/webhook-endpoints.ts'
import { deliveryCount } from '../storage/webhooks.ts'
import { LABELS, OBJECTS } from './event-words.ts'
import { formPage, keyedForm, newFormToken, readChange, refuse, staleForm } from './form.tsx'
import { page, redirectWithNotice } from './layout.tsx'
import { sentBefore } from './new-key.tsx'
import { credentialPage } from './once-parts.tsx'
import { requireSession } from './session.ts'
import { withoutQuery } from './webhooks.tsx'

const PATH = '/dashboard/webhooks'

/** Creates, tests and deletes webhook endpoints. */
export const webhookForms = new Hono<HonoEnv>()

  .get('/webhooks/new', requireSession, async (c) => {
    granted(c, await identify(c.get('database'), c.get('session'), 'write'))
    return newEndpointPage(c)
  })

  .post('/webhooks/new', requireSession, async (c) => {
    const field = await readChange(c, 'write')
    const url = field('url').trim()
    const types = EVENT_TYPES.filter((type) => field(type) !== '')
    const problem = newWebhookUrlProblem(url, readSettings(c.env).WEBHOOKS_TO_LOCALHOST)
    if (problem) {
      granted(c, await identify(c.get('database'), c.get('session'), 'write'))
      return newEndpointPage(c, url, types, { url: `The URL ${problem}. Enter one like https://example.com/webhooks.` })
    }
    const request = (await keyedForm(c, field('token'))) ?? (await refuse(c, staleForm(c.req.path)))
    const { region } = c.get('session')
    const change = beginChange(c, c.get('session'))
    const { plaintext: secret } = await issueCredential(SIGNING_SECRET_PREFIX, region)
    const id = newId('we', change.now, region)
    const endpoint = { id, url, events: types, secret, createdAt: change.now }
    const outcome = await createCallerEndpoint(c.get('database'), change, endpoint, request)
    keepIdentity(c, outcome)
    if (outcome.refused === 'idempotency_key_reused') throw sentBefore(PATH, 'webhook endpoint')
    if (outcome.refused === 'endpoint_limit_reached')
      throw new Problem(
        422,
        'Limit reached',
        'This environment has 20 endpoints. Nothing was created. Delete one first.',
      )
    granted(c, outcome)
    return credentialPage(c, {
      section: PATH,
      title: 'Save your signing secret',
      label: 'Signing secret',
      name: new URL(url).host,
      plaintext: secret,
      env: `WEBHOOK_SECRET=${secret}`,
      help: 'Your receiver uses this signing secret to check the signature of each event. If you lose it, delete the endpoint and create another one.',
    })
  })

  .post('/webhooks/:id/test', requireSession, async (c) => {
    await readChange(c, 'write')
    const endpoint = granted(c, await findCallerEndpoint(c.get('database'), c.get('session'), c.req.param('id')))
    return testedPage(c, endpoint, await sendTest(c, endpoint))
  })

  .get('/webhooks/:id/delete', requireSession, async (c) => {
    const endpoint = granted(c, await findCallerEndpoint(c.get('database'), c.get('session'), c.req.param('id')))
    return deletePage(c, endpoint)
  })

  .post('/webhooks/:id/delete', requireSession, async (c) => {
    await readChange(c, 'write')
    granted(c, await deleteCallerEndpoint(c.get('database'), beginChange(c, c.get('session')), c.req.param('id')))
    return redirectWithNotice(c, PATH, 'endpoint-deleted')
  })

/** The event types, grouped by the object that they are about. */
const TYPES_BY_OBJECT = Map.groupBy(EVENT_TYPES, (type) => OBJECTS.get(type.split('.')[0] ?? '') ?? 'Other')

function newEndpointPage(
  c: Context<HonoEnv>,
  url = '',
  chosen: readonly EventType[] = [],
  errors: FieldErrors = {},
): Response {
  return formPage(
    c,
    {
      title: 'New webhook endpoint',
      intro: 'You’ll see the signing secret once, on the next page.',
      action: `${PATH}/new`,
      fields: { token: newFormToken() },
      verb: 'Create endpoint',
      back: { path: PATH, name: 'Webhooks' },
      section: PATH,
      errors,
    },
    <>
      <Field
        name="url"
        label="URL"
        type="url"
        value={url}
        errors={errors}
        isRequired
        isCode
        autofocus
        help="Oncekey POSTs signed events to this URL, over https."
      />
      <fieldset>
        <legend>Events</legend>
        <p class="quiet small">Choose none to receive every event, also types that later versions add.</p>
        {[...TYPES_BY_OBJECT].map(([name, types]) => (
          <fieldset>
            <legend class="small">{name}</legend>
            <div class="choices">
              {types.map((type) => (
                <Choice
                  name={type}
                  value="on"
                  type="checkbox"
                  isChosen={chosen.includes(type)}
                  help={<TypeName type={type} />}
                >
                  {LABELS[type]}
                </Choice>
              ))}
            </div>
          </fieldset>
        ))}
      </fieldset>
    </>,
  )
}

interface Sent {
  readonly isOk: boolean
  readonly outcome: string
  readonly milliseconds: number
}

/** Sends a sample event immediately, and records no delivery. */
async function sendTest(c: Context<HonoEnv>, { url, secret }: { url: string; secret: string }): Promise<Sent> {
  const { WEBHOOKS_TO_LOCALHOST, WEBHOOK_TIMEOUT_MS } = readSettings(c.env)
  if (webhookUrlProblem(url, WEBHOOKS_TO_LOCALHOST)) throw new ApiError('entity_not_found')
  const start = Date.now()
  const request = await webhookRequest(sampleEvent(start, 'Test from the dashboard'), secret, start, WEBHOOK_TIMEOUT_MS)
  try {
    const response = await fetch(url, request)
    await response.body?.cancel()
    return { isOk: response.ok, outcome: `The receiver answered ${response.status}.`, milliseconds: Date.now() - start }
  } catch (error) {
    const isTimeout = (error as Error).name === 'TimeoutError'
    const outcome = isTimeout
      ? `The receiver did not answer within ${WEBHOOK_TIMEOUT_MS / 1000} seconds.`
      : 'The receiver could not be reached.'
    return { isOk: false, outcome, milliseconds: Date.now() - start }
  }
}

function testedPage(c: Context<HonoEnv>, { url }: { url: string }, { isOk, outcome, milliseconds }: Sent) {
  return page(
    c,
    { title: isOk ? 'Test event delivered' : 'Test event failed', section: PATH },
    <section class="narrow">
      <div>
        <p class="crumb">
          <a href={PATH}>Webhooks</a>
        </p>
        <h1>{isOk ? 'Test event delivered' : 'Test event failed'}</h1>
      </div>
      <p class={isOk ? 'notice good' : 'notice bad'} role="status">
        <span>
          A signed <code>connect_application_secret.created</code> event was sent to <code>{withoutQuery(url)}</code>.{' '}
          {outcome} The request took {milliseconds} ms.
        </span>
      </p>
      <p class="quiet">
        {isOk
          ? 'The event is a sample: its client secret does not exist, and no list shows the event.'
          : 'A real event is retried for at least 72 hours, until the receiver answers with a status of 200 to 299.'}
      </p>
      <p>
        <a class="button" href={PATH}>
          All endpoints
        </a>
      </p>
    </section>,
  )
}

function deletePage(
  c: Context<HonoEnv>,
  { id, url, deliveries }: { id: string; url: string; deliveries: { pending: number } },
) {
  return page(
    c,
    { title: 'Delete webhook endpoint', section: PATH },
    <Confirm title="Delete webhook endpoint?" action={`${PATH}/${id}/delete`} verb="Delete endpoint" back={PATH}>
      <p>
        <code>{withoutQuery(url)}</code>
      </p>
      <p>
        It receives no more events
        {deliveries.pending > 0 &&
          `, and ${deliveryCount(deliveries.pending)} pending ${deliveries.pending === 1 ? 'delivery' : 'deliveries'} will not be sent`}
        . Its signing secret is deleted. This can’t be undone.
      </p>
    </Confirm>,
  )
}
