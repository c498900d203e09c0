import { Hint } from '../pages/parts.tsx'
import { ExactTime } from '../pages/time.tsx'
import type { Activity } from '../storage/activity.ts'
import { eventsPath } from './event-filter.tsx'
import { actorOf, differencesOf, LABELS, labelOf } from './event-words.ts'

interface HistoryProps {
  readonly id: string
  readonly history: readonly Activity[]
}

/** The changes of a secret, newest first, each with the values before and after it. */
export const SecretHistory = ({ id, history }: HistoryProps) => (
  <section aria-labelledby="history">
    <div class="title">
      <h2 id="history">History</h2>
      <a href={eventsPath({ target: id })}>All activity of this secret</a>
    </div>
    {history.length === 0 && <p class="quiet">The events of this secret are no longer kept.</p>}
    <ol class="history">
      {history.map((activity) => (
        <li>
          <div>
            <a href={`/dashboard/events/${activity.event.id}`}>{labelFor(id, activity)}</a>
            {' by '}
            <bdi>{actorOf(activity.event)}</bdi>
            <Replacement id={id} activity={activity} />
          </div>
          <span class="sub">
            <ExactTime at={activity.event.createdAt} />
            <Origin activity={activity} />
          </span>
          {differencesOf(activity).map(({ name, before, after }) => (
            <span class="sub">
              {name}:{' '}
              <del>
                <bdi>{before}</bdi>
              </del>{' '}
              →{' '}
              <ins>
                <bdi>{after}</bdi>
              </ins>
            </span>
          ))}
        </li>
      ))}
    </ol>
  </section>
)

/** Labels for events of the application or of another secret that also changed this secret. */
const MET = new Map([
  ['connect_application_secret.rotated', 'Replaced in a rotation'],
  ['connect_application_secret.deleted', 'Revoked with all secrets of the application'],
  ['connect_application.deleted', 'Revoked with its application'],
])

function labelFor(id: string, activity: Activity): string {
  const { type, data } = activity.event
  if (data.id === id) return type === 'connect_application_secret.rotated' ? 'Created in a rotation' : labelOf(activity)
  return MET.get(type) ?? LABELS[type]
}

/** The secret that replaced this secret. */
const Replacement = ({ id, activity: { event } }: { id: string; activity: Activity }) =>
  event.type === 'connect_application_secret.rotated' && event.data.id !== id ? (
    <>
      {', with '}
      <a href={`/dashboard/secrets/${String(event.data.id)}`}>
        <Hint hint={String(event.data.secret_hint)} />
      </a>
    </>
  ) : null

/** The IP address and country of a change. A refused use has no actor, so its user agent is shown, too. */
const Origin = ({ activity: { event } }: { activity: Activity }) => {
  const { address, country, userAgent } = event.origin
  const text = [address, country, event.type === 'connect_application_secret.refused' ? userAgent : null]
  return <>{text.filter(Boolean).map((part) => ` · ${part}`)}</>
}
