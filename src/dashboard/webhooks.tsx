import type { Context } from 'hono'
import { Hono } from 'hono'
import type { HonoEnv } from '../http/context.ts'
import { granted } from '../http/errors.ts'
import { Act, Cell, Empty, Row, Snippet, Table } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import { type ListedDelivery, listWebhooks, reviveDelivery, type WebhookEndpoint } from '../storage/webhooks.ts'
import { readForm } from './form.ts'
import { page } from './layout.tsx'
import { mayWrite, requireSession } from './session.ts'

const LATEST = 50

/** Where events are sent, and whether they arrive. */
export const webhooks = new Hono<HonoEnv>()

  .get('/webhooks', requireSession('read'), async (c) => {
    const { endpoints, deliveries } = granted(c, await listWebhooks(c.var.database, c.var.session, LATEST))
    return webhooksPage(c, endpoints, deliveries)
  })

  .post('/webhooks/revive', requireSession('write'), async (c) => {
    const field = await readForm(c)
    const delivery = { endpointId: field('endpoint'), eventId: field('event') }
    granted(c, await reviveDelivery(c.var.database, c.var.session, delivery, Date.now()))
    return c.redirect('/dashboard/webhooks?notice=revived', 303)
  })

function webhooksPage(
  c: Context<HonoEnv>,
  endpoints: readonly WebhookEndpoint[],
  deliveries: readonly ListedDelivery[],
) {
  const now = Date.now()
  const urls = new Map(endpoints.map(({ id, url }) => [id, url]))
  const actions = mayWrite(c) ? [<span class="said">What can be done</span>] : []
  return page(
    c,
    { title: 'Webhooks', section: '/dashboard/webhooks' },
    <>
      <h1>Webhooks</h1>
      {endpoints.length === 0 ? (
        <NoEndpoints />
      ) : (
        <section aria-labelledby="endpoints">
          <h2 id="endpoints">Endpoints</h2>
          <Table label="Endpoints" columns={['URL', 'Events', 'Deliveries', 'Created']}>
            {endpoints.map((endpoint) => (
              <Row>
                <Cell kind="wide">
                  <code>{endpoint.url}</code>
                  <span class="sub">
                    <code>{endpoint.id}</code>
                  </span>
                </Cell>
                <Cell label="Events">
                  {endpoint.events.length === 0
                    ? 'all'
                    : endpoint.events.map((type) => <div class="small">{type}</div>)}
                </Cell>
                <Cell label="Deliveries">
                  <Counts {...endpoint.deliveries} />
                </Cell>
                <Cell label="Created">
                  <Time at={endpoint.createdAt} now={now} />
                </Cell>
              </Row>
            ))}
          </Table>
        </section>
      )}
      {deliveries.length > 0 && (
        <section aria-labelledby="deliveries">
          <h2 id="deliveries">Latest deliveries</h2>
          <Table
            label="Latest deliveries"
            columns={['Event', 'To', 'State', 'Attempts', 'Last answer', 'Made', ...actions]}
          >
            {deliveries.map((delivery) => (
              <Row>
                <Cell kind="wide">
                  <span class="name">{delivery.eventType ?? 'an event that is no longer kept'}</span>
                  <span class="sub">
                    <code>{delivery.eventId}</code>
                  </span>
                </Cell>
                <Cell label="To">{hostOf(urls.get(delivery.endpointId))}</Cell>
                <Cell label="State">
                  <State delivery={delivery} now={now} />
                </Cell>
                <Cell label="Attempts">{delivery.attempts}</Cell>
                <Cell label="Last answer">{delivery.lastOutcome ?? <span class="quiet">none yet</span>}</Cell>
                <Cell label="Made">
                  <Time at={delivery.createdAt} now={now} />
                </Cell>
                {mayWrite(c) && (
                  <Cell kind="actions">
                    {delivery.state === 'dead' && (
                      <Act to="/dashboard/webhooks/revive" endpoint={delivery.endpointId} event={delivery.eventId}>
                        Send again<span class="said"> {delivery.eventId}</span>
                      </Act>
                    )}
                  </Cell>
                )}
              </Row>
            ))}
          </Table>
        </section>
      )}
    </>,
  )
}

const STATES = { pending: ['wait', 'Pending'], delivered: ['good', 'Delivered'], dead: ['bad', 'Given up'] } as const

const State = ({ delivery: { state, nextAttemptAt }, now }: { delivery: ListedDelivery; now: number }) => (
  <>
    <span class={`state ${STATES[state][0]}`}>{STATES[state][1]}</span>
    {state === 'pending' && nextAttemptAt !== null && nextAttemptAt > now && (
      <span class="sub">
        next <Time at={nextAttemptAt} now={now} />
      </span>
    )}
  </>
)

const Counts = ({ delivered, pending, dead }: WebhookEndpoint['deliveries']) => (
  <>
    {delivered} delivered
    {pending > 0 && `, ${pending} pending`}
    {dead > 0 && `, ${dead} given up`}
  </>
)

/** Of an endpoint that is there no longer, nothing is known. */
function hostOf(url: string | undefined): string {
  return (url && URL.parse(url)?.host) || 'a former endpoint'
}

const NoEndpoints = () => (
  <Empty title="No webhooks yet">
    <p>
      A webhook is told of every change as it happens, signed, and again until it has answered. Whoever runs this
      Oncekey adds one; it takes an <code>https</code> URL:
    </p>
    <Snippet
      id="create-webhook"
      title="Add a webhook"
      text={'npm run webhook -- create --environment NAME \\\n  --url https://example.com/webhooks'}
    />
  </Empty>
)
