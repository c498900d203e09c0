import { PostForm, Select } from '../pages/forms.tsx'
import { MAX_OPTION, Name, short } from '../pages/parts.tsx'
import { DAY_MS } from '../pages/time.tsx'
import { type ActivityFilter, eventTypeOf } from '../storage/activity.ts'
import type { CallerKey } from '../storage/api-keys.ts'
import { EVENT_TYPES } from '../storage/events.ts'
import { LABELS } from './event-words.ts'
import { secretsPath } from './inventory-filter.tsx'
import { emailIn, hintOfCredential } from './search.ts'

/** The fields of the form, which are also the parameters of the URL. An empty field does not filter the events. */
export type Filter = Readonly<Record<'type' | 'actor' | 'target' | 'from' | 'to', string>>

export const EVENTS_PATH = '/dashboard/events'

/** The maximum length of a name. */
const MAX_TARGET = 255
const ACTOR = /^(api_key_[0-9A-HJKMNP-TV-Z]{26}|operator|system)$/

/**
 * Reads the filter, and ignores invalid values. Of a pasted secret it keeps only the hint, because the filter becomes a
 * URL.
 */
export function readFilter(field: (name: string) => string): Filter {
  const target = field('target').trim().replace(/^…/, '')
  const actor = field('actor')
  return {
    type: eventTypeOf(field('type')) ?? '',
    actor: ACTOR.test(actor) ? actor : emailIn(actor),
    target: hintOfCredential(target) ?? target.slice(0, MAX_TARGET),
    from: startOf(field('from')) === null ? '' : field('from'),
    to: startOf(field('to')) === null ? '' : field('to'),
  }
}

/** The start of a day in UTC, in Unix ms. Null if the text is not a day. */
function startOf(day: string): number | null {
  const time = /^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(day) : Number.NaN
  return Number.isNaN(time) ? null : time
}

/** Converts the values for storage. The period includes the last day. */
export function activityFilterOf({ type, actor, target, from, to }: Filter): Omit<ActivityFilter, 'limit' | 'after'> {
  const lastDay = startOf(to)
  return {
    type: eventTypeOf(type),
    actor: actor || null,
    target: target || null,
    from: startOf(from),
    until: lastDay === null ? null : lastDay + DAY_MS,
  }
}

/** The URL of a filtered list, which users can share and bookmark. */
export function eventsPath(filter: Partial<Filter>, { path = EVENTS_PATH, after = '' } = {}): string {
  const parameters = Object.entries({ ...filter, after }).filter(([, value]) => value !== '')
  return parameters.length === 0 ? path : `${path}?${new URLSearchParams(parameters)}`
}

/** A person and the API key that the person acted with, or only the key, with links to their activity and secrets. */
export const Actor = ({ person, id, name }: { person: string | null; id: string; name: string }) => (
  <>
    {person !== null && (
      <>
        <a href={eventsPath({ actor: person })}>
          <bdi>{person}</bdi>
        </a>
        {' with the '}
      </>
    )}
    API key{' '}
    <a href={eventsPath({ actor: id })}>
      <Name>{name}</Name>
    </a>{' '}
    <a class="quiet" href={secretsPath({ creator: person ?? id })}>
      secrets by this {person === null ? 'key' : 'person'}
    </a>
  </>
)

export function isFiltered(filter: Filter): boolean {
  return Object.values(filter).some((value) => value !== '')
}

export const Filters = ({ filter, keys }: { filter: Filter; keys: readonly CallerKey[] }) => (
  <search>
    <PostForm class="filters" action={EVENTS_PATH}>
      <Select
        name="type"
        label="Event"
        chosen={filter.type}
        options={[['', 'All events'], ...EVENT_TYPES.map((type) => [type, LABELS[type]] as const)]}
      />
      <Select name="actor" label="Actor" chosen={filter.actor} options={actorsOf(filter, keys)} />
      <div class="field">
        <label for="target">Target</label>
        <input
          id="target"
          name="target"
          value={filter.target}
          placeholder="Name, ID or hint"
          autocomplete="off"
          maxlength={MAX_TARGET}
        />
      </div>
      <Day name="from" label="From (UTC)" value={filter.from} />
      <Day name="to" label="To (UTC)" value={filter.to} />
      <div class="row">
        <button type="submit">Apply</button>
        {isFiltered(filter) && (
          <a class="button plain" href={EVENTS_PATH}>
            Clear
          </a>
        )}
      </div>
    </PostForm>
  </search>
)

type Option = readonly [value: string, label: string]

/** The choices of actors. A chosen actor that is not among them, such as a person or a revoked key, is added. */
function actorsOf({ actor }: Filter, keys: readonly CallerKey[]): Option[] {
  const options: Option[] = [
    ['', 'Anyone'],
    ...keys.map(({ id, name }) => [id, `API key ${short(name, MAX_OPTION)}`] as const),
    ['operator', 'Operator'],
    ['system', 'System'],
  ]
  return options.some(([value]) => value === actor) ? options : [...options, [actor, actor]]
}

const Day = ({ name, label, value }: { name: string; label: string; value: string }) => (
  <div class="field">
    <label for={name}>{label}</label>
    <input id={name} name={name} type="date" value={value} />
  </div>
)
