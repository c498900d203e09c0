import { type Column, Hint, Name, short, Table } from '../pages/parts.tsx'
import { Time } from '../pages/time.tsx'
import type { Activity } from '../storage/activity.ts'
import { EVENTS_PATH } from './event-filter.tsx'
import { actorOf, differencesOf, labelOf, secretCount, targetOf } from './event-words.ts'
import { applicationPath, secretPath } from './layout.tsx'

/** Events with their targets and actors. */
export const EventTable = ({ activities, now }: { activities: readonly Activity[]; now: number }) => (
  <Table label="Events" columns={columnsAt(now)} rows={activities} />
)

const columnsAt = (now: number): Column<Activity>[] => [
  { label: 'Event', kind: 'wide', cell: (activity) => <What activity={activity} /> },
  { label: 'Target', cell: (activity) => <TargetCell activity={activity} /> },
  { label: 'Actor', cell: (activity) => <Who activity={activity} /> },
  { label: 'Time', cell: ({ event }) => <Time at={event.createdAt} now={now} /> },
]

const What = ({ activity }: { activity: Activity }) => {
  const differences = differencesOf(activity).map(({ name, before, after }) => `${name}: ${before} → ${after}`)
  const { reason } = activity.event.data
  const more = short(typeof reason === 'string' ? `It was ${reason.replaceAll('_', ' ')}` : differences.join('; '))
  return (
    <>
      <a class="line" href={`${EVENTS_PATH}/${activity.event.id}`}>
        <b>{labelOf(activity)}</b>
      </a>
      {more && (
        <span class="sub line" title={more}>
          <bdi>{more}</bdi>
        </span>
      )}
    </>
  )
}

/** The name and ID of the target come from the event, because the object may no longer exist. */
const TargetCell = ({ activity: { event, applicationName } }: { activity: Activity }) => {
  const { id, hint, applicationId, touched, ...target } = targetOf(event)
  const name = short(target.name)
  if (applicationId === null)
    return (
      <>
        <span class="line" title={name ?? undefined}>
          <Name>{name}</Name>
        </span>
        <code class="sub id">{id}</code>
      </>
    )
  if (id === applicationId)
    return (
      <>
        <a class="line" href={applicationPath(applicationId)} title={name ?? undefined}>
          <Name>{name ?? id}</Name>
        </a>
        {touched > 0 && <span class="sub">and {secretCount(touched)}</span>}
      </>
    )
  const application = short(applicationName) ?? 'a deleted application'
  return (
    <>
      {id === null ? (
        <a class="line" href={applicationPath(applicationId)}>
          {secretCount(touched)}
        </a>
      ) : (
        <a class="line" href={secretPath(id)} title={name ?? undefined}>
          {name && (
            <>
              <Name>{name}</Name>{' '}
            </>
          )}
          <Hint hint={hint ?? ''} />
        </a>
      )}
      <span class="sub line" title={application}>
        {id !== null && touched > 0 && `replaced ${secretCount(touched)} `}in <bdi>{application}</bdi>
      </span>
    </>
  )
}

const Who = ({ activity: { event } }: { activity: Activity }) => {
  const { address, country } = event.origin
  const actor = short(actorOf(event))
  return (
    <>
      <span class="line" title={actor}>
        <bdi>{actor}</bdi>
      </span>
      {address && (
        <span class="sub line">
          {address} {country}
        </span>
      )}
    </>
  )
}
