import { PostForm, Select } from '../pages/forms.tsx'
import { Hidden, MAX_OPTION, short } from '../pages/parts.tsx'
import type { CallerKey } from '../storage/api-keys.ts'
import { MAX_READ, type SecretOrder } from '../storage/inventory.ts'
import {
  EXPIRING_DAYS,
  type SecretCounts,
  type SecretFilter,
  type SecretState,
  UNUSED_DAYS,
} from '../storage/listed-secrets.ts'
import { SECRETS_PATH } from './layout.tsx'
import { emailIn, hintOfCredential } from './search.ts'

/** The fields of the form, which are also the parameters of the URL. An empty field does not filter the secrets. */
export type Filter = Readonly<
  Record<'state' | 'unused' | 'expiry' | 'application' | 'organization' | 'creator' | 'sort', string>
>

const NO_FILTER: Filter = {
  state: '',
  unused: '',
  expiry: '',
  application: '',
  organization: '',
  creator: '',
  sort: '',
}

/** The states that each choice of the form stands for. */
const STATES = new Map<string, readonly [label: string, states: readonly SecretState[]]>([
  ['', ['Current', ['active', 'expiring', 'disabled']]],
  ['active', ['Active', ['active']]],
  ['expiring', ['Expiring', ['expiring']]],
  ['disabled', ['Disabled', ['disabled']]],
  ['ended', ['Expired or revoked', ['expired', 'revoked']]],
  ['expired', ['Expired', ['expired']]],
  ['revoked', ['Revoked', ['revoked']]],
  ['all', ['All states', []]],
  ['leaked', ['Leaked, in any state', []]],
])

const UNUSED = new Map([
  ['', 'Any use'],
  ['30', 'Unused for 30 days'],
  ['90', 'Unused for 90 days'],
  ['365', 'Unused for 1 year'],
])

const EXPIRIES = new Map([
  ['', 'Any expiry'],
  ['never', 'Never expires'],
  ['7', 'Within 7 days'],
  ['30', 'Within 30 days'],
  ['90', 'Within 90 days'],
])

const SORTS = new Map<string, readonly [label: string, order: SecretOrder]>([
  ['', ['Newest first', 'desc']],
  ['oldest', ['Oldest first', 'asc']],
  ['used', ['Longest unused', 'used']],
  ['expires', ['Expires soonest', 'expires']],
])

const IDENTIFIER = /^[A-Za-z_0-9]{1,70}$/

/**
 * Reads the filter, and ignores invalid values. It keeps no part of a pasted secret, because the filter becomes a URL.
 */
export function readFilter(field: (name: string) => string): Filter {
  const known = (name: string, values: ReadonlyMap<string, unknown>) => (values.has(field(name)) ? field(name) : '')
  const id = (name: string) => {
    const text = field(name).trim()
    return IDENTIFIER.test(text) && hintOfCredential(text) === null ? text : ''
  }
  return {
    state: known('state', STATES),
    unused: known('unused', UNUSED),
    expiry: known('expiry', EXPIRIES),
    application: id('application'),
    organization: id('organization'),
    creator: id('creator') || emailIn(field('creator')),
    sort: known('sort', SORTS),
  }
}

/** Converts the values for storage. */
export function storedFilter(filter: Filter): { readonly filter: SecretFilter; readonly order: SecretOrder } {
  const { state, unused, expiry, application, organization, creator, sort } = filter
  return {
    filter: {
      states: STATES.get(state)?.[1] ?? [],
      unusedForDays: unused === '' ? null : Number(unused),
      neverExpires: expiry === 'never' ? true : null,
      expiresWithinDays: expiry === '' || expiry === 'never' ? null : Number(expiry),
      applicationId: application || null,
      organizationId: organization || null,
      createdBy: creator || null,
      hint: null,
      isLeaked: state === 'leaked' || null,
    },
    order: SORTS.get(sort)?.[1] ?? 'desc',
  }
}

/** The URL of a filtered list, which users can share and bookmark. */
export function secretsPath(filter: Partial<Filter>, more: Record<string, string> = {}, path = SECRETS_PATH): string {
  const parameters = Object.entries({ ...filter, ...more }).filter(([, value]) => value !== '')
  return parameters.length === 0 ? path : `${path}?${new URLSearchParams(parameters)}`
}

const number = new Intl.NumberFormat('en')

/** A number of secrets, with a plus sign if not all secrets were counted. */
export function counted(count: number, { counted }: SecretCounts): string {
  return counted > MAX_READ ? `${number.format(Math.min(count, MAX_READ))}+` : number.format(count)
}

/** The order that a click on each column heading selects. The first click on Created shows the newest secrets first. */
export function sortsOf(filter: Filter) {
  const by = (sort: string, order?: 'ascending' | 'descending') => ({ href: secretsPath({ ...filter, sort }), order })
  return {
    used: by('used', filter.sort === 'used' ? 'ascending' : undefined),
    expires: by('expires', filter.sort === 'expires' ? 'ascending' : undefined),
    created:
      filter.sort === '' ? by('oldest', 'descending') : by('', filter.sort === 'oldest' ? 'ascending' : undefined),
  }
}

/** Numbers of secrets: the name of each count, its label, and the filter of its list. */
const TILES: readonly [count: keyof SecretCounts, label: string, filter: Partial<Filter>][] = [
  ['current', 'Current', {}],
  ['expiring', `Expire within ${EXPIRING_DAYS} days`, { expiry: String(EXPIRING_DAYS) }],
  ['unused', `Unused for ${UNUSED_DAYS} days`, { unused: String(UNUSED_DAYS) }],
  ['never', 'Never expire', { expiry: 'never' }],
  ['unusedNever', `Unused ${UNUSED_DAYS} days, never expire`, { unused: String(UNUSED_DAYS), expiry: 'never' }],
  ['ended', 'Expired or revoked', { state: 'ended' }],
]

/** True if the filter is that of a tile, in any order. The page then shows the form of the filter folded. */
export function isTile(filter: Filter): boolean {
  return TILES.some(([, , target]) => secretsPath(target) === secretsPath({ ...filter, sort: '' }))
}

/** Counts, each of which links to its list. */
export const Tiles = ({ filter, counts }: { filter: Filter; counts: SecretCounts }) => {
  const here = secretsPath({ ...filter, sort: '' })
  return (
    <nav aria-label="Numbers of secrets">
      <ul class="tiles">
        {TILES.map(([count, label, target]) => (
          <li>
            <a href={secretsPath(target)} aria-current={secretsPath(target) === here ? 'true' : undefined}>
              <b>{counted(counts[count], counts)}</b> <span>{label}</span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

interface FiltersProps {
  readonly filter: Filter
  readonly keys: readonly CallerKey[]
}

/** A POST, so that no URL contains a pasted credential. */
export const Filters = ({ filter, keys }: FiltersProps) => (
  <search>
    <PostForm class="filters" action={SECRETS_PATH}>
      <Select name="state" label="State" chosen={filter.state} options={labels(STATES)} />
      <Select name="unused" label="Use" chosen={filter.unused} options={[...UNUSED]} />
      <Select name="expiry" label="Expiry" chosen={filter.expiry} options={[...EXPIRIES]} />
      <Select
        name="creator"
        label="Created by"
        chosen={filter.creator}
        options={[['', 'Anyone'], ...creators(filter.creator, keys)]}
      />
      <Text name="application" label="Application ID" value={filter.application} />
      <Text name="organization" label="Organization ID" value={filter.organization} />
      <Select name="sort" label="Order" chosen={filter.sort} options={labels(SORTS)} />
      <div class="row">
        <button type="submit">
          Apply<Hidden> filter</Hidden>
        </button>
        {isFiltered(filter) && (
          <a class="button plain" href={SECRETS_PATH}>
            Clear
          </a>
        )}
      </div>
    </PostForm>
  </search>
)

const labels = (options: ReadonlyMap<string, readonly [label: string, ...unknown[]]>): [string, string][] =>
  [...options].map(([value, [label]]) => [value, label])

/**
 * The choices of creators. People and revoked keys are not among them, but a URL may choose one, which is then added.
 */
function creators(chosen: string, keys: readonly CallerKey[]): [string, string][] {
  const known = keys.map(({ id, name }): [string, string] => [id, `API key ${short(name, MAX_OPTION)}`])
  return chosen === '' || known.some(([id]) => id === chosen) ? known : [...known, [chosen, short(chosen, MAX_OPTION)]]
}

const Text = ({ name, label, value }: { name: string; label: string; value: string }) => (
  <div class="field">
    <label for={name}>{label}</label>
    <input id={name} name={name} value={value} autocomplete="off" class="code" />
  </div>
)

export function isFiltered(filter: Filter): boolean {
  return secretsPath({ ...filter, sort: '' }) !== secretsPath(NO_FILTER)
}
