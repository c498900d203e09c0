import type { Context } from 'hono'
import { eventToWire } from '../contract/wire.ts'
import type { HonoEnv } from '../http/context.ts'
import { Copyable, Snippet } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import type { Activity } from '../storage/activity.ts'
import { Actor, EVENTS_PATH, eventsPath } from './event-filter.tsx'
import { actorOf, differencesOf, labelOf, targetOf } from './event-words.ts'
import { applicationPath, page, secretPath } from './layout.tsx'

/** One event: what changed, who changed it, and the request that did it. */
export function eventPage(c: Context<HonoEnv>, activity: Activity) {
  const { event } = activity
  const differences = differencesOf(activity)
  return page(
    c,
    { title: labelOf(activity), section: EVENTS_PATH },
    <>
      <div>
        <p class="crumb">
          <a href={EVENTS_PATH}>Activity</a>
        </p>
        <h1>{labelOf(activity)}</h1>
      </div>
      <dl class="facts">
        <dt>Time</dt>
        <dd>
          <Time at={event.createdAt} now={Date.now()} />
        </dd>
        <TargetFacts activity={activity} />
        <dt>Actor</dt>
        <dd>
          {event.apiKey ? <Actor person={event.person} {...event.apiKey} /> : actorOf(event)}
          {event.sessionId && <span class="quiet"> · in the dashboard</span>}
        </dd>
        {facts(event).map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        ))}
      </dl>
      {differences.length > 0 && (
        <section aria-labelledby="changes">
          <h2 id="changes">Changes</h2>
          <dl class="facts">
            {differences.map(({ name, before, after }) => (
              <>
                <dt>{name}</dt>
                <dd>
                  <del>
                    <bdi>{before}</bdi>
                  </del>{' '}
                  →{' '}
                  <ins>
                    <bdi>{after}</bdi>
                  </ins>
                </dd>
              </>
            ))}
          </dl>
        </section>
      )}
      <Snippet
        id="json"
        title="JSON, as the API and webhooks send it"
        text={JSON.stringify(eventToWire(event), null, 2)}
      />
    </>,
  )
}

const TargetFacts = ({ activity: { event, applicationName } }: { activity: Activity }) => {
  const { name, id, hint, applicationId } = targetOf(event)
  const isApplication = id === applicationId
  return (
    <>
      {id !== null && (
        <>
          <dt>Target</dt>
          <dd>
            {hint === null ? (
              <bdi>{name}</bdi>
            ) : (
              <a href={secretPath(id)}>
                {name && <bdi>{name} </bdi>}…{hint}
              </a>
            )}{' '}
            <a href={eventsPath({ target: id })} class="quiet">
              all its events
            </a>
          </dd>
        </>
      )}
      {applicationId !== null && (
        <>
          <dt>Application</dt>
          <dd>
            <a href={applicationPath(applicationId)}>
              <bdi>{(isApplication ? name : applicationName) ?? applicationId}</bdi>
            </a>
          </dd>
        </>
      )}
    </>
  )
}

function facts({ id, origin, requestId }: Activity['event']) {
  const { address, country, userAgent, clientRequestId } = origin
  return [
    ...(address ? [['IP address', `${address}${country ? ` (${country})` : ''}`] as const] : []),
    ...(userAgent ? [['User agent', <bdi>{userAgent}</bdi>] as const] : []),
    ...(requestId ? [['Request ID', <Copyable id="request-id" what="Request ID" value={requestId} />] as const] : []),
    ...(clientRequestId ? [['Client’s request ID', <bdi>{clientRequestId}</bdi>] as const] : []),
    ['Event ID', <Copyable id="event-id" what="Event ID" value={id} />] as const,
  ]
}
