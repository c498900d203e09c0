import type { Context } from 'hono'
import { Hono } from 'hono'
import { beginChange } from '../http/caller.ts'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { ActionButton } from '../pages/forms.tsx'
import { type Column, Empty, Hidden, NameOverId, short, Table, TypeName } from '../pages/parts.tsx'
import { ExactTime, Time } from '../pages/time.tsx'
import { pauseCallerEndpoint } from '../storage/webhook-endpoints.ts'
import {
  deliveryCount,
  type ListedDelivery,
  listWebhooks,
  reviveDelivery,
  reviveEndpoint,
  type WebhookEndpoint,
} from '../storage/webhooks.ts'
import { LABELS } from './event-words.ts'
import { readChange } from './form.tsx'
import { page, redirectWithNotice } from './layout.tsx'
import { may, requireSession } from './session.ts'

const PATH = '/dashboard/webhooks'
const MAX_DELIVERIES = 10

/** The webhook endpoints of the environment, and the state of their deliveries. */
export const webhooks = new Hono<HonoEnv>()

  .get('/webhooks', requireSession, async (c) => {
    const { endpoints, deliveries } = granted(
      c,
      await listWebhooks(c.get('database'), c.get('session'), MAX_DELIVERIES),
    )
    return webhooksPage(c, endpoints, deliveries)
  })

  .post('/webhooks/resend', requireSession, async (c) => {
    const field = await readChange(c, 'write')
    const delivery = { endpointId: field('endpoint'), eventId: field('event') }
    granted(c, await reviveDelivery(c.get('database'), beginChange(c, c.get('session')), delivery))
    return redirectWithNotice(c, PATH, 'delivery-queued')
  })

  .post('/webhooks/:id/resend', requireSession, async (c) => {
    await readChange(c, 'write')
    granted(c, await reviveEndpoint(c.get('database'), beginChange(c, c.get('session')), c.req.param('id')))
    return redirectWithNotice(c, PATH, 'deliveries-queued')
  })

  .post('/webhooks/:id/pause', requireSession, (c) => setPaused(c, true))
  .post('/webhooks/:id/resume', requireSession, (c) => setPaused(c, false))

async function setPaused(c: Context<HonoEnv>, isPaused: boolean): Promise<Response> {
  await readChange(c, 'write')
  const id = c.req.param('id') ?? ''
  granted(c, await pauseCallerEndpoint(c.get('database'), beginChange(c, c.get('session')), id, isPaused))
  return redirectWithNotice(c, PATH, isPaused ? 'endpoint-paused' : 'endpoint-resumed')
}

function webhooksPage(
  c: Context<HonoEnv>,
  endpoints: readonly WebhookEndpoint[],
  deliveries: readonly ListedDelivery[],
) {
  const now = Date.now()
  return page(
    c,
    { title: 'Webhooks', section: '/dashboard/webhooks' },
    <>
      <div class="title">
        <h1>Webhooks</h1>
        {may(c, 'write') && (
          <a class="button primary" href="/dashboard/webhooks/new">
            New endpoint
          </a>
        )}
      </div>
      {endpoints.length === 0 ? (
        <NoEndpoints c={c} />
      ) : (
        <section aria-labelledby="endpoints">
          <h2 id="endpoints">Endpoints</h2>
          <Table
            label="Endpoints"
            columns={[...endpointColumns(now), ...(may(c, 'write') ? [endpointActions] : [])]}
            rows={endpoints}
          />
        </section>
      )}
      {deliveries.length > 0 && (
        <section aria-labelledby="deliveries">
          <h2 id="deliveries">Latest deliveries</h2>
          {deliveries.length === MAX_DELIVERIES && (
            <p class="quiet">Only the latest {MAX_DELIVERIES} are listed. The numbers above cover all deliveries.</p>
          )}
          <Table
            label="Latest deliveries"
            columns={[...deliveryColumns(now, endpoints), ...(may(c, 'write') ? [resendColumn] : [])]}
            rows={deliveries}
          />
        </section>
      )}
    </>,
  )
}

const endpointColumns = (now: number): Column<WebhookEndpoint>[] => [
  {
    label: 'URL',
    kind: 'wide',
    cell: ({ id, url, leakReportedAt }) => (
      <NameOverId name={short(withoutQuery(url))} id={id} what="endpoint ID" leakReportedAt={leakReportedAt}>
        <code>{short(withoutQuery(url))}</code>
      </NameOverId>
    ),
  },
  {
    label: 'Events',
    cell: ({ events: [first, ...others] }) =>
      first === undefined ? (
        'All'
      ) : (
        <>
          <span class="line">{LABELS[first]}</span>
          {others.length > 0 && (
            <span class="sub" title={others.join(', ')}>
              and {others.length} more
            </span>
          )}
        </>
      ),
  },
  {
    label: 'Deliveries',
    cell: ({ pausedAt, deliveries: { delivered, pending, dead } }) => (
      <>
        {pausedAt !== null && <span class="state wait">Paused</span>} {delivered.toLocaleString('en')} delivered
        {pending + dead > 0 && (
          <span class="sub">
            {pending > 0 && `${deliveryCount(pending)} pending`}
            {pending > 0 && dead > 0 && ', '}
            {dead > 0 && <b class="error">{deliveryCount(dead)} failed</b>}
          </span>
        )}
      </>
    ),
  },
  { label: 'Created', kind: 'extra', cell: ({ createdAt }) => <Time at={createdAt} now={now} /> },
]

const endpointActions: Column<WebhookEndpoint> = {
  label: 'Actions',
  kind: 'actions',
  cell: ({ id, url, pausedAt, deliveries: { dead } }) => (
    <>
      {dead > 0 && (
        <ActionButton action={`${PATH}/${id}/resend`}>
          Resend all failed<Hidden> to {short(withoutQuery(url))}</Hidden>
        </ActionButton>
      )}
      <ActionButton action={`${PATH}/${id}/${pausedAt === null ? 'pause' : 'resume'}`}>
        {pausedAt === null ? 'Pause' : 'Resume'}
        <Hidden> {short(withoutQuery(url))}</Hidden>
      </ActionButton>
      <ActionButton action={`${PATH}/${id}/test`}>
        Send test<Hidden> to {short(withoutQuery(url))}</Hidden>
      </ActionButton>
      <a class="button plain danger" href={`/dashboard/webhooks/${id}/delete`} data-dialog>
        Delete…<Hidden> {short(withoutQuery(url))}</Hidden>
      </a>
    </>
  ),
}

/** Hides the query of a URL. It may have a token of the receiver, and API keys with read-only access see this page. */
export function withoutQuery(url: string): string {
  const [base, query] = url.split('?', 2)
  return query === undefined ? url : `${base}?…`
}

const STATES = {
  pending: ['wait', 'Pending'],
  delivered: ['good', 'Delivered'],
  dead: ['bad', 'Failed'],
} as const

function deliveryColumns(now: number, endpoints: readonly WebhookEndpoint[]): Column<ListedDelivery>[] {
  const urls = new Map(endpoints.map(({ id, url }) => [id, url]))
  return [
    {
      label: 'Event',
      kind: 'wide',
      cell: ({ eventType, eventId }) => (
        <NameOverId id={eventId} what="event ID">
          {eventType ? <TypeName type={eventType} /> : <span class="quiet">(event deleted)</span>}
        </NameOverId>
      ),
    },
    {
      label: 'Endpoint',
      cell: ({ endpointId }) => {
        const url = URL.parse(urls.get(endpointId) ?? '')
        return url ? (
          <code class="line">{short(url.host + url.pathname)}</code>
        ) : (
          <span class="quiet">(deleted endpoint)</span>
        )
      },
    },
    { label: 'State', cell: (delivery) => <State delivery={delivery} now={now} /> },
    {
      label: 'Last response',
      cell: ({ lastOutcome, attempts }) => (
        <>
          {lastOutcome ?? <span class="quiet">None yet</span>}
          <span class="sub">{attempts === 1 ? '1 attempt' : `${attempts} attempts`}</span>
        </>
      ),
    },
    { label: 'Created', kind: 'extra', cell: ({ createdAt }) => <Time at={createdAt} now={now} /> },
  ]
}

const State = ({ delivery: { state, nextAttemptAt }, now }: { delivery: ListedDelivery; now: number }) => (
  <>
    <span class={`state ${STATES[state][0]}`}>{STATES[state][1]}</span>
    {state === 'pending' && nextAttemptAt !== null && (
      <span class="sub">
        {nextAttemptAt > now ? (
          <>
            next <ExactTime at={nextAttemptAt} />
          </>
        ) : (
          'due now'
        )}
      </span>
    )}
  </>
)

const resendColumn: Column<ListedDelivery> = {
  label: 'Actions',
  kind: 'actions',
  cell: ({ state, endpointId, eventId }) =>
    state === 'dead' && (
      <ActionButton action="/dashboard/webhooks/resend" fields={{ endpoint: endpointId, event: eventId }}>
        Resend<Hidden> {eventId}</Hidden>
      </ActionButton>
    ),
}

const NoEndpoints = ({ c }: { c: Context<HonoEnv> }) => (
  <Empty title="No webhooks yet">
    <p>
      Oncekey POSTs a signed event to your URL for every change, and retries for at least 72 hours.
      {may(c, 'write') && (
        <>
          {' '}
          <a href="/dashboard/webhooks/new">Create the first endpoint</a>
        </>
      )}
    </p>
  </Empty>
)
